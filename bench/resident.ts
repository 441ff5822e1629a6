/** Resident memory of this process after forced garbage collections, as the system reports it. */
import process from "node:process";

/** Collects garbage now. Node and Deno need `--expose-gc` for it. */
export function collect(): void {
  const runtime = globalThis as { Bun?: { gc(force: boolean): void }; gc?: () => void };
  for (let i = 0; i < 2; i++) {
    runtime.Bun?.gc(true);
    runtime.gc?.();
  }
}

/** Resident bytes after garbage collection: the least of a few. */
export async function settled(): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 5; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 100));
    least = Math.min(least, process.memoryUsage().rss);
  }
  return least;
}
