/**
 * Programs that a test starts as processes of their own: their output, their end, and signals to
 * them by their ids. Those that still run end with the test.
 */
import type { ChildProcess } from "node:child_process";
import process from "node:process";

export interface Program {
  readonly pid: number;
  /** Its output so far. */
  readonly output: { stdout: string; stderr: string };
  /** Its exit status, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** Sends a signal, unless it has ended. */
  signal(name: NodeJS.Signals): void;
}

/** Running programs, by the id that gets `SIGKILL`. */
const running: Map<ChildProcess, number> = new Map();

/** @param leads whether it has its own process group, which ends with it. */
export function programOf(child: ChildProcess, leads = false): Program {
  const pid = child.pid as number;
  running.set(child, leads ? -pid : pid);
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (data) => output.stdout += data);
  child.stderr?.on("data", (data) => output.stderr += data);
  let over = false;
  const ended = new Promise<number | string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("exit", () => over = true);
    child.on("close", (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? "unknown");
    });
  });
  return {
    pid,
    output,
    ended,
    // Not child.kill: on Deno it reports the signal as the end, whatever the process does. The id
    // of a process that has ended may belong to another one by now.
    signal: (name) => void (over || process.kill(pid, name)),
  };
}

/** Ends all programs that a test left running, also frozen ones. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map(([child, target]) =>
    new Promise<void>((resolve) => {
      child.on("close", () => resolve());
      // A program that has ended may not have closed its output yet, and its group may still run.
      const isOver = child.exitCode !== null || child.signalCode !== null;
      if (isOver && target > 0) return;
      try {
        process.kill(target, "SIGKILL");
      } catch {
        // The program has ended; the event for the end of its output comes next.
      }
    })
  ));
}
