/** Starts this package's programs as processes of the runtime that runs the test. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

export interface Program {
  /** All that it wrote so far. */
  readonly output: { stdout: string; stderr: string };
  signal(name: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL"): void;
  /** The exit status, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
}

export interface ReadyLine {
  event: "ready";
  url: string;
  region: string;
  node: string;
  incarnation: string;
}

/** What runs, and how to end it without warning. */
const running: Map<ChildProcess, () => void> = new Map();

/**
 * Starts `file` of the package's root with nothing of this environment but the path. One that
 * `leads` others has a group of its own, so that what it started ends with it. `descriptors`:
 * how many it may have open.
 */
export function start(
  file: string,
  words: readonly string[],
  env: Record<string, string> = {},
  { leads = false, descriptors }: { leads?: boolean; descriptors?: number } = {},
): Program {
  const program = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  const first = "Deno" in globalThis ? ["run", "-A", program] : [program];
  const command = [process.execPath, ...first, ...words];
  const limited = ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...command];
  const [binary, ...rest] = (descriptors === undefined ? command : limited) as [string];
  const child = spawn(binary, rest, {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: leads,
  });
  const pid = child.pid as number;
  // Not child.kill: on Deno it reports the signal as the end, whatever the process does.
  const signal = (name: NodeJS.Signals) => void process.kill(pid, name);
  running.set(child, () => void process.kill(leads ? -pid : pid, "SIGKILL"));
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (data) => output.stdout += data);
  child.stderr?.on("data", (data) => output.stderr += data);
  const ended = new Promise<number | string>((resolve) =>
    child.on("close", (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? "unknown");
    })
  );
  return { output, signal, ended };
}

/** The line that a node prints once it serves. Rejects with its output where it ends before. */
export async function ready(program: Program): Promise<ReadyLine> {
  let over = false;
  program.ended.then(() => over = true);
  while (!program.output.stdout.includes("\n")) {
    if (over) throw new Error(`the node ended: ${program.output.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return JSON.parse(program.output.stdout.split("\n")[0] as string);
}

/** Ends whatever a test left running. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map(([child, kill]) =>
    new Promise<void>((resolve) => {
      child.on("close", () => resolve());
      try {
        kill();
      } catch {
        // It has ended; its output ends next.
      }
    })
  ));
}
