/**
 * Memory that names take, in the node that owns them and in a node that calls them. Counts the live
 * bytes of the heap after a forced collection, because resident memory varies by some MB at the
 * small sizes. `npm run bench -- memory` measures resident memory.
 */
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type AtlasNode,
  createNode,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
} from "../../mod.ts";
import app from "../apps/echo.ts";
import { LoopYield, rateOf } from "../kit.ts";
import type { GrowthLine } from "./line.ts";

/** Live bytes of the heap. */
async function live(): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, heapUsed + external);
  }
  return least;
}

function collect(): void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun) return Bun.gc(true);
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** Calls the names from number `from` to before `to`. */
async function call(node: AtlasNode<typeof app>, from: number, to: number): Promise<void> {
  const make = (n: number) => node.resource("echo", `project_${from + n}:wall`).echo("hello");
  await rateOf(to - from, 16, make, new LoopYield());
}

/** Bytes that each further name takes between a quarter of `size` and `size` names. */
async function slope(
  size: number,
  fill: (from: number, to: number) => Promise<void>,
): Promise<number> {
  const few = size / 4;
  await fill(0, few);
  const before = await live();
  await fill(few, size);
  return (await live() - before) / (size - few);
}

const names: GrowthLine = {
  name: "memory of a name",
  size: "names",
  cost: "bytes a name, awake and idle, in its owner",
  sizes: [10_000, 100_000, 1_000_000],
  exponent: 0.1,
  how: "one process",
  async measure(size) {
    const node = await createNode(app, {
      region: "bench",
      node: "owner",
      store: memoryStore(),
      transport: inProcessTransport(),
    });
    const bytes = await slope(size, (from, to) => call(node, from, to));
    if (node.stats().resources !== size) throw new Error("some names were released meanwhile");
    await node.close();
    return bytes;
  },
};

const cached: GrowthLine = {
  name: "memory of a cached location",
  size: "names",
  cost: "bytes a name that a node has called at another node",
  sizes: [1_000, 10_000, 100_000],
  exponent: 0.1,
  how: "one process",
  async measure(size) {
    const store = memoryStore();
    const network = inProcessNetwork();
    const open = (node: string) =>
      createNode(app, { region: "bench", node, store, transport: inProcessTransport(network) });
    const owner = await open("owner");
    await call(owner, 0, size);
    const caller = await open("caller");
    const bytes = await slope(size, (from, to) => call(caller, from, to));
    if (caller.stats().cachedLocations !== size) throw new Error("not all locations are cached");
    await caller.close();
    await owner.close();
    return bytes;
  },
};

export const lines: readonly GrowthLine[] = [names, cached];
