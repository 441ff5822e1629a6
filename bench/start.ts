/**
 * Bench: the time from starting a process until the node says that it is ready, with the default
 * registry, a SQLite file. Peer: a script that prints one line.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type BenchOptions, type Figure, figure, inTurns } from "./kit.ts";

/** The most milliseconds, by runtime. */
const MOST = { bun: 100, node: 200, deno: 120 };

export async function runStart(options: BenchOptions): Promise<Figure[]> {
  const { runtime, runtimeName, runs, log } = options;
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-"));
  try {
    const side = (script: string) => () =>
      untilLine([...runtime.run, fileURLToPath(new URL(script, import.meta.url))], folder);
    const sides = [side("../node.ts"), side("peers/empty.ts")] as const;
    // The first start fills the system's cache of files, and the runtime's of compiled code.
    for (const run of sides) await run();
    log("starts");
    const [ours, theirs] = await inTurns(2 * runs + 1, sides);
    return [figure(
      {
        bench: "start",
        metric: "start until ready, SQLite file",
        unit: "ms",
        peer: "a script that prints one line",
        runtime: runtimeName,
        better: "less",
        goal: { of: "value", most: MOST[runtime.name] },
      },
      ours,
      theirs,
    )];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds until a process prints its first line; ends the process. */
function untilLine([binary, ...args]: readonly string[], cwd: string): Promise<number> {
  const env = { ...process.env, PORT: "0", ATLAS_LOG: "error" };
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(binary as string, args, { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
    let took: number | undefined;
    const end = () => child.kill("SIGKILL");
    process.once("exit", end);
    const late = setTimeout(end, 30_000);
    child.once("error", reject);
    child.stdout.once("data", () => {
      took = performance.now() - start;
      end();
    });
    child.once("exit", (code) => {
      clearTimeout(late);
      process.off("exit", end);
      if (took !== undefined) resolve(took);
      else reject(new Error(`${args.join(" ")} ended with ${code} and printed nothing`));
    });
  });
}
