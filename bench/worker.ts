/**
 * Runs each side of a bench in its own process and talks to it.
 *
 * A worker script prints one JSON line when it is ready, then answers each JSON line with one line:
 * `{"result": …}` or `{"error": …}`. It ends with its parent. Each one also answers
 * `{"do":"cpu"}`, its CPU time in µs, and `{"do":"resident"}`, its bytes after garbage collections.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type RuntimeCommand, RUNTIMES } from "../scripts/runtimes.ts";
import { cpuTime } from "./kit.ts";
import { settled } from "./resident.ts";

/** A worker process, as the bench uses it. */
export interface Worker {
  /** The line that it printed when it was ready. */
  readonly ready: Record<string, unknown>;
  /** Sends it a request; resolves to the answer. */
  ask<T = unknown>(question: Record<string, unknown>): Promise<T>;
  /** Stops it; resolves when it has ended. */
  stop(): Promise<void>;
}

/** How long a worker may take until it is ready, or for one answer, in ms. */
const PATIENCE_MS = 120_000;

/** Starts `[binary, ...arguments]` and waits until it is ready. */
export async function startWorker(command: readonly string[]): Promise<Worker> {
  const [binary, ...args] = command as [string, ...string[]];
  const child = spawn(binary, args, { stdio: ["pipe", "pipe", "inherit"] });
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
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
      const late = setTimeout(() => {
        fail(new Error(`${command.join(" ")} said nothing for ${PATIENCE_MS} ms`));
        end();
      }, PATIENCE_MS);
      const settle = <T>(then: (value: T) => void) => (value: T) => {
        clearTimeout(late);
        then(value);
      };
      waiting.push({ resolve: settle(resolve), reject: settle(reject) });
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
      process.off("exit", end);
      end();
      await gone;
    },
  };
}

const EXPOSE_GC = { bun: [], node: ["--expose-gc"], deno: ["--v8-flags=--expose-gc"] };

/** Starts a script of this folder on a runtime. */
export function startOn(
  { name, run }: RuntimeCommand,
  script: string,
  ...args: (string | number)[]
): Promise<Worker> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return startWorker([...run, ...EXPOSE_GC[name], path, ...args.map(String)]);
}

/** Starts a load generator of this folder: on Bun, whatever runtime is measured. */
export function startLoad(script: string, ...args: (string | number)[]): Promise<Worker> {
  return startOn(RUNTIMES.find(({ name }) => name === "bun") as RuntimeCommand, script, ...args);
}

/** Workers that are stopped together. */
export class Workers {
  readonly #started: Worker[] = [];

  async add(worker: Promise<Worker>): Promise<Worker> {
    const it = await worker;
    this.#started.push(it);
    return it;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#started.splice(0).map((worker) => worker.stop()));
  }
}

/** The worker's side: prints its ready line and answers requests until its parent has ended. */
export function serveQuestions(
  ready: Record<string, unknown>,
  answer: (question: Record<string, unknown>) => Promise<unknown>,
): void {
  const say = (line: unknown) => process.stdout.write(JSON.stringify(line) + "\n");
  const answerTo = (question: Record<string, unknown>): unknown => {
    if (question["do"] === "cpu") return cpuTime();
    return question["do"] === "resident" ? settled() : answer(question);
  };
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    try {
      say({ result: await answerTo(JSON.parse(line)) ?? null });
    } catch (error) {
      say({ error: error instanceof Error ? error.stack ?? error.message : String(error) });
    }
  });
  lines.on("close", () => process.exit(0));
  say(ready);
}
