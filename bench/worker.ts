/**
 * Runs each side of a bench in its own process and talks to it.
 *
 * A worker script prints one JSON line when it is ready, then answers each JSON line with one line:
 * `{"result": …}` or `{"error": …}`. It ends with its parent.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A worker process, as the bench uses it. */
export interface Worker {
  /** The line that it printed when it was ready. */
  readonly ready: Record<string, unknown>;
  /** Sends it a request; resolves to the answer. */
  ask<T = unknown>(question: Record<string, unknown>): Promise<T>;
  /** Stops it; resolves when it has ended. */
  stop(): Promise<void>;
}

/** Starts `[binary, ...arguments]` and waits until it is ready. */
export async function startWorker(command: readonly string[]): Promise<Worker> {
  const [binary, ...args] = command as [string, ...string[]];
  const child = spawn(binary, args, { stdio: ["pipe", "pipe", "inherit"] });
  const waiting: { resolve(line: string): void; reject(error: Error): void }[] = [];
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const fail = (error: Error) => waiting.splice(0).forEach((it) => it.reject(error));
  child.once("error", fail);
  child.once("exit", (code) => fail(new Error(`${command.join(" ")} ended with ${code}`)));
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line.startsWith("{")) waiting.shift()?.resolve(line);
  });
  const nextLine = () =>
    new Promise<string>((resolve, reject) => {
      if (child.exitCode !== null) reject(new Error(`${command.join(" ")} has ended`));
      else waiting.push({ resolve, reject });
    });
  const ready = JSON.parse(await nextLine()) as Record<string, unknown>;
  return {
    ready,
    async ask<T>(question: Record<string, unknown>): Promise<T> {
      const line = nextLine();
      child.stdin.write(JSON.stringify(question) + "\n");
      const answer = JSON.parse(await line) as { result: T; error?: string };
      if (answer.error !== undefined) throw new Error(`${command.join(" ")}: ${answer.error}`);
      return answer.result;
    },
    async stop(): Promise<void> {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** A Bun worker of this folder. */
export function startBunWorker(script: string, ...args: string[]): Promise<Worker> {
  return startWorker([
    process.execPath,
    "run",
    fileURLToPath(new URL(script, import.meta.url)),
    ...args,
  ]);
}

/** The worker's side: prints its ready line and answers requests until its parent has ended. */
export function serveQuestions(
  ready: Record<string, unknown>,
  answer: (question: Record<string, unknown>) => Promise<unknown>,
): void {
  const say = (line: unknown) => process.stdout.write(JSON.stringify(line) + "\n");
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    try {
      say({ result: await answer(JSON.parse(line)) ?? null });
    } catch (error) {
      say({ error: error instanceof Error ? error.stack ?? error.message : String(error) });
    }
  });
  lines.on("close", () => process.exit(0));
  say(ready);
}
