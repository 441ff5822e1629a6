/**
 * An app that sells a module, for tests of modules: it counts running calls and can hold them.
 *
 * Takes calls of `calc`; gives answers that name the code that ran, and counters of this process.
 * `hold` keeps its callers until the test releases them, so that concurrency is counted, not timed.
 */
import { type App, defineApp, defineModule, type Module, Resource } from "../../../mod.ts";

/** The part of a call's context that `calc` reads. */
interface Context {
  readonly signal: AbortSignal;
  readonly version: string;
}

export type Calc = {
  /** π, after a turn of the event loop. */
  pi: (digits: number) => Promise<string>;
  /** Answers `n` once the test releases it, or its caller aborts. */
  hold: (n: number) => Promise<number>;
  /** Answers after `ms`. */
  slow: (ms: number) => Promise<number>;
  /** The code that runs it. */
  mark: () => string;
  fail: (message: string) => Promise<never>;
  /** A result that can't be encoded. */
  unencodable: () => unknown;
};

/** Counters of this process. */
export interface CallCounts {
  /**
   * Calls that run now; the most at once; all that were served; and those of them that their caller
   * aborted.
   */
  running: number;
  most: number;
  served: number;
  aborted: number;
}

const counts: CallCounts = { running: 0, most: 0, served: 0, aborted: 0 };
const held: (() => void)[] = [];

/** The counters of this process. */
export function count(): CallCounts {
  return { ...counts };
}

/** Releases `count` of the held calls. */
export function release(count: number = Infinity): void {
  for (const go of held.splice(0, count)) go();
}

async function inside<T>(work: () => Promise<T>): Promise<T> {
  counts.most = Math.max(counts.most, ++counts.running);
  try {
    return await work();
  } finally {
    counts.running--;
    counts.served++;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function untilReleased(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    held.push(resolve);
    signal.addEventListener("abort", () => {
      counts.aborted++;
      resolve();
    }, { once: true });
  });
}

export interface CalcOptions {
  version?: string;
  capacity?: number;
  /** The answer of `mark`, by which two codes of one version differ. */
  mark?: string;
  /** Its functions. Default: all. */
  functions?: readonly string[];
}

/** The module, as a test wants it. */
export function calc(options: CalcOptions = {}): Module<Calc> {
  const { version = "1.0.0", capacity, mark = version, functions } = options;
  const all: Calc = {
    pi: (digits) => inside(async () => (await pause(0), "3.14159265358979".slice(0, digits + 2))),
    async hold(this: Context, n) {
      return await inside(async () => (await untilReleased(this.signal), n));
    },
    slow: (ms) => inside(async () => (await pause(ms), ms)),
    mark: () => mark,
    fail: (message) =>
      inside(async () => {
        await pause(0);
        throw new Error(message);
      }),
    unencodable: () => Symbol("s"),
  };
  const chosen = Object.entries(all).filter(([name]) => functions?.includes(name) ?? true);
  return defineModule({
    version,
    ...capacity !== undefined && { capacity },
    attributes: { mark },
    functions: Object.fromEntries(chosen) as Calc,
  });
}

/** Calls `calc` from inside a resource. */
export class Caller extends Resource {
  async pi(digits: number): Promise<string> {
    const proxy = await this.node.discover("calc");
    try {
      return await proxy["pi"]?.(digits) as string;
    } finally {
      await proxy.$plb.close();
    }
  }
}

const app: App<{ callers: typeof Caller }, { calc: Module<Calc> }> = defineApp({
  resources: { callers: Caller },
  modules: { calc: calc({ capacity: 2 }) },
});
export default app;
