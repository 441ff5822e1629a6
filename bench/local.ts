/**
 * Bench: an echo call to a resource of the same node, on Bun, 64 in flight. Peer: Moleculer's call
 * of a local action. Each side runs in its own process.
 */
import { type BenchOptions, byTurns, type Figure, figure } from "./kit.ts";
import { startBunWorker } from "./worker.ts";

const IDS: string[] = Array.from({ length: 64 }, (_, i) => `wall_${i}`);

export async function runLocal({ quick, log }: BenchOptions): Promise<Figure[]> {
  const atlas = await startBunWorker("atlas_node.ts", "local", "memory:");
  const moleculer = await startBunWorker("peers/moleculer.ts", "local");
  try {
    const load = { do: "throughput", inFlight: 64, ids: IDS };
    await atlas.ask({ ...load, seconds: 0.5 });
    await moleculer.ask({ ...load, seconds: 0.5 });
    log("local calls, 64 in flight");
    const seconds = quick ? 1 : 4;
    const { ours, theirs } = await byTurns(
      quick ? 3 : 5,
      () => atlas.ask<number>({ ...load, seconds }),
      () => moleculer.ask<number>({ ...load, seconds }),
    );
    const about = {
      bench: "local",
      metric: "local calls, 64 in flight",
      unit: "calls/s",
      peer: "Moleculer 0.15, local action",
    };
    return [figure(about, ours, theirs)];
  } finally {
    await Promise.all([atlas.stop(), moleculer.stop()]);
  }
}
