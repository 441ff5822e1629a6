/**
 * Programs that a test starts as processes of their own: what they write, how they end, and signals
 * to them by their ids. Those that are left end with the test.
 */
import type { ChildProcess } from "node:child_process";
import process from "node:process";

export interface Program {
  readonly pid: number;
  /** All that it wrote so far. */
  readonly output: { stdout: string; stderr: string };
  /** Its exit status, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** Sends a signal; one that has ended gets none. */
  signal(name: NodeJS.Signals): void;
}

/** What runs, by what `SIGKILL` goes to. */
const running: Map<ChildProcess, number> = new Map();

/** @param leads whether it has a group of its own, which ends with it. */
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
    // Not child.kill: on Deno it reports the signal as the end, whatever the process does. An id
    // whose process has ended may be another's by now.
    signal: (name) => void (over || process.kill(pid, name)),
  };
}

/** Ends whatever a test left running, frozen ones too. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map(([child, target]) =>
    new Promise<void>((resolve) => {
      child.on("close", () => resolve());
      // One that has ended may not have closed its output yet; its group may go on without it.
      const isOver = child.exitCode !== null || child.signalCode !== null;
      if (isOver && target > 0) return;
      try {
        process.kill(target, "SIGKILL");
      } catch {
        // It has ended; that its output has is told next.
      }
    })
  ));
}
