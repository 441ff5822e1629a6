/**
 * Measures the memory of one process: empty, then filled.
 *
 * Takes `atlas|bare COUNT`; prints `{"bytesEach"}`. Measures resident memory after forced
 * collections, as the system reports it.
 */
import process from "node:process";
import { createNode, inProcessTransport, memoryStore } from "../mod.ts";
import app from "./apps/echo.ts";
import { LoopYield, rateOf } from "./kit.ts";
import { collect, settled } from "./resident.ts";
import { serveQuestions } from "./worker.ts";

const [what, countText] = process.argv.slice(2);
const count = Number(countText);
const name = (n: number) => `project_${n}:wall`;

/** The user's own part of a resource, without Atlas. */
class Bare {
  echo(text: string): string {
    return text;
  }
}

const turn = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Makes `n` objects by `make` in batches, and collects garbage after each, as if idle objects had
 * accumulated over hours. In one burst the garbage would grow the heap as well, and no runtime
 * gives that memory back at once.
 */
async function fill(n: number, make: (n: number) => Promise<unknown>): Promise<void> {
  const batch = 2_000;
  for (let done = 0; done < n; done += batch) {
    await rateOf(Math.min(batch, n - done), 16, (i) => make(done + i), new LoopYield());
    collect();
    await turn(0);
  }
}

async function bare(): Promise<number> {
  const objects = new Map<string, Bare>();
  const make = (id: string) => Promise.resolve(objects.set(id, new Bare()));
  return await measure(make, () => objects.size);
}

async function atlas(): Promise<number> {
  const node = await createNode(app, {
    region: "bench",
    node: "scale",
    store: memoryStore(),
    transport: inProcessTransport(),
  });
  const make = (id: string) => node.resource("echo", id).echo("hello");
  return await measure(make, () => node.stats().resources);
}

/** Bytes per object for `count` objects, in a process that has created some before. */
async function measure(
  make: (id: string) => Promise<unknown>,
  held: () => number,
): Promise<number> {
  await fill(10_000, (n) => make(`warm_${n}`));
  const [heldBefore, before] = [held(), await settled()];
  await fill(count, (n) => make(name(n)));
  const after = await settled();
  if (held() - heldBefore !== count) throw new Error("some were released during the measurement");
  return (after - before) / count;
}

const bytesEach = what === "bare" ? await bare() : await atlas();
serveQuestions({ bytesEach }, () => Promise.resolve(null));
