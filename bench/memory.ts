/**
 * Bench: the memory of an idle resource.
 *
 * Calls resources once, and measures what each of them adds to the resident memory between 75,000
 * and 300,000 of them, after forced collections. Peer: bare objects in a Map by name.
 */
import { type BenchOptions, type Figure, figure, inTurns } from "./kit.ts";
import { startOn } from "./worker.ts";

const COUNT = 300_000;

export async function runMemory(options: BenchOptions): Promise<Figure[]> {
  const { runtime, runtimeName, runs, log } = options;
  const measure = async (what: "atlas" | "bare") => {
    const worker = await startOn(runtime, "memory_probe.ts", what, COUNT);
    try {
      return Number(worker.ready["bytesEach"]);
    } finally {
      await worker.stop();
    }
  };
  log(`${COUNT} resources`);
  // Sizes vary little between runs.
  const [ours, theirs] = await inTurns(Math.ceil(runs / 3), [
    () => measure("atlas"),
    () => measure("bare"),
  ]);
  return [figure(
    {
      bench: "memory",
      metric: "idle resource, resident",
      unit: "bytes",
      peer: "the user's bare object in a Map",
      runtime: runtimeName,
      better: "less",
      goal: { of: "difference", most: 512 },
    },
    ours,
    theirs,
  )];
}
