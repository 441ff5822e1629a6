/**
 * Real node processes that tests can stop, resume and kill.
 *
 * Takes a runtime and environment variables; gives a running `node.ts` with its ready line, its
 * output and the signals that a test sends it. Signals go to that process by its id; processes that
 * still run end with the test.
 */
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import process from "node:process";
import { ROOT, RUNTIMES } from "../../scripts/runtimes.ts";
import { until } from "../support/until.ts";
import { type Program, programOf } from "../support/program.ts";

export { endAll, type Program } from "../support/program.ts";

export type RuntimeName = "bun" | "deno" | "node";

/** The line that a node prints once it serves. */
export interface ReadyLine {
  readonly event: "ready";
  readonly url: string;
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
}

export interface NodeProcess extends Program {
  readonly runtime: RuntimeName;
  readonly url: string;
  readonly line: ReadyLine;
  /** Kills it, and waits for its end. */
  kill(): Promise<void>;
}

export interface StartOptions {
  runtime: RuntimeName;
  env: Record<string, string>;
  /** Default: the root of the checkout. */
  cwd?: string;
  /** Default: `node.ts` of the checkout. */
  script?: string;
}

/** How long a node may take to serve, in ms, when several start on a busy machine. */
const START_MS = 40_000;

/** Starts `command` with nothing of this environment but PATH and HOME. */
export function run(
  command: readonly string[],
  env: Record<string, string> = {},
  cwd: string = ROOT,
): Program {
  return programOf(spawn(command[0] as string, command.slice(1), {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  }));
}

/**
 * Starts `script` on a runtime: a file of the checkout, or another one that imports the checkout's
 * files.
 */
export function runScript(
  runtime: RuntimeName,
  script: string,
  env: Record<string, string> = {},
  words: readonly string[] = [],
): Program {
  return run([...commandOf(runtime, script), script, ...words], env);
}

/** Starts a node on any free port and waits until it serves. */
export async function startNode(options: StartOptions): Promise<NodeProcess> {
  const { runtime, env, cwd, script = `${ROOT}node.ts` } = options;
  const program = run([...commandOf(runtime, script), script], { PORT: "0", ...env }, cwd);
  const line = await readyLine(program, START_MS);
  return {
    ...program,
    runtime,
    line,
    url: line.url,
    async kill() {
      program.signal("SIGKILL");
      await program.ended;
    },
  };
}

/** The ready line of a node, within `ms`. Rejects with its log if it ends before that. */
export async function readyLine(program: Program, ms?: number): Promise<ReadyLine> {
  let status: number | string | null = null;
  program.ended.then((ended) => status = ended);
  const found = () => /^\{"event":"ready".*\}$/m.exec(program.output.stdout)?.[0];
  await until(() => found() !== undefined || status !== null, "the ready line", ms);
  const line = found();
  if (line === undefined) throw new Error(`the node ended (${status}): ${program.output.stderr}`);
  return JSON.parse(line);
}

/**
 * Deno looks for its configuration in the script's folder and its parents, not in those of its
 * imports.
 */
function commandOf(runtime: RuntimeName, script: string): readonly string[] {
  const command = RUNTIMES.find(({ name }) => name === runtime)?.run as readonly string[];
  const isElsewhere = !resolve(ROOT, script).startsWith(ROOT);
  return runtime === "deno" && isElsewhere ? [...command, "--config", `${ROOT}deno.json`] : command;
}
