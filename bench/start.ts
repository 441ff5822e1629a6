/**
 * Bench: the time from starting a process until the node says that it is ready, with the default
 * registry, a SQLite file. On Node also from the compiled package, as it is installed from npm. Peer: a
 * script that prints one line.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ROOT } from "../scripts/runtimes.ts";
import { type BenchOptions, type Figure, figure, type Goal, inTurns } from "./kit.ts";

/** The most milliseconds, by runtime. */
const MOST = { bun: 100, node: 200, deno: 120 };

export async function runStart(options: BenchOptions): Promise<Figure[]> {
  const { runtime, runtimeName, runs, log } = options;
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-"));
  try {
    const side = (...script: string[]) => () => untilLine([...runtime.run, ...script], folder);
    const own = (script: string) => side(fileURLToPath(new URL(script, import.meta.url)));
    const built = runtime.name === "node" && isBuilt(runtime.run[0] as string, log);
    const entry = new URL("../dist/adapters/server/run_node.js", import.meta.url);
    const compiled = `(await import(${JSON.stringify(entry)})).runNode()`;
    const sides = [
      own("../node.ts"),
      own("peers/empty.ts"),
      ...built ? [side("--input-type=module", "--eval", compiled)] : [],
    ];
    // The first start fills the system's cache of files, and the runtime's of compiled code.
    for (const run of sides) await run();
    log("starts");
    const [ours = [], theirs = [], installed = []] = await inTurns(2 * runs + 1, sides);
    const about = {
      bench: "start",
      unit: "ms",
      peer: "a script that prints one line",
      runtime: runtimeName,
      better: "less" as const,
      goal: { of: "value", most: MOST[runtime.name] } satisfies Goal,
    };
    const metric = "start until ready, SQLite file";
    const figures = [figure({ ...about, metric }, ours, theirs)];
    if (!built) return figures;
    return [...figures, figure({ ...about, metric: `${metric}, compiled` }, installed, theirs)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Compiles the package as it is now. */
function isBuilt(node: string, log: (line: string) => void): boolean {
  const { status, stderr } = spawnSync(node, ["scripts/build.ts"], { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) log(`without the compiled package: ${stderr}`);
  return status === 0;
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
