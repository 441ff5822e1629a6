/**
 * Bench: the memory of an idle resource, on Bun, Node and Deno.
 *
 * Calls 100,000 resources once; after a forced collection, measures the process and subtracts an
 * empty node's memory. Peer: the same number of bare objects in a Map by name.
 */
import { fileURLToPath } from "node:url";
import { type BenchOptions, byTurns, type Figure, figure } from "./kit.ts";
import { type RuntimeCommand, RUNTIMES, versionOf } from "../scripts/runtimes.ts";
import { startWorker } from "./worker.ts";

const COUNT = 100_000;
/** The memory that an idle resource may use beyond the user's own objects, in bytes. */
const LIMIT = 1_536;

export async function runMemory({ quick, log }: BenchOptions): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const runtime of RUNTIMES) {
    const version = versionOf(runtime);
    if (version === null) {
      log(`skipped on ${runtime.name}: it can't be started`);
      continue;
    }
    log(`${COUNT} resources on ${runtime.name}`);
    const { ours, theirs } = await byTurns(
      quick ? 1 : 3,
      () => measure(runtime, "atlas"),
      () => measure(runtime, "bare"),
    );
    const it = figure(
      {
        bench: "memory",
        metric: "idle resource",
        unit: "bytes",
        peer: "bare object in a Map",
        runtime: `${runtime.name} ${version}`,
      },
      ours,
      theirs,
    );
    const beyond = Math.round(it.value - it.peerValue);
    const verdict = beyond <= LIMIT ? "within" : "OVER";
    log(`${beyond} bytes beyond the user's own object: ${verdict} the limit of ${LIMIT}`);
    figures.push(it);
  }
  return figures;
}

async function measure(runtime: RuntimeCommand, what: "atlas" | "bare"): Promise<number> {
  const [binary, ...args] = runtime.run as [string, ...string[]];
  const probe = fileURLToPath(new URL("memory_probe.ts", import.meta.url));
  const expose = { bun: [], node: ["--expose-gc"], deno: ["--v8-flags=--expose-gc"] }[runtime.name];
  const worker = await startWorker([binary, ...args, ...expose, probe, what, String(COUNT)]);
  try {
    return Number(worker.ready["bytesEach"]);
  } finally {
    await worker.stop();
  }
}
