/**
 * Nodes in separate processes that sell and buy modules by a test's commands.
 *
 * Takes runtimes, regions and variables; gives handles that publish, discover and call, and report
 * figures. All processes of a test file share one registry.
 */
import type {
  AuthorityView,
  DiscoverOptions,
  ExchangeView,
  ListenerStats,
  ModuleCallOptions,
  ModuleView,
  NodeEvent,
  NodeStats,
  PlbStats,
} from "../../mod.ts";
import { ROOT } from "../../scripts/runtimes.ts";
import type { CalcOptions, CallCounts } from "./apps/market.ts";
import { type NodeProcess, type RuntimeName, startNode } from "./process.ts";
import { until } from "../support/until.ts";

const SCRIPT = `${ROOT}test/e2e/fixtures/market_node.ts`;

/** An error as a trader reports it. */
export interface TraderError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly maybeExecuted: boolean;
}

/** How a call ended: its answer, or its error. */
export interface Outcome {
  readonly result?: unknown;
  readonly node?: string;
  readonly version?: string;
  readonly error?: TraderError;
}

export interface PublishOptions {
  /** Default `calc`. */
  name?: string;
  code?: CalcOptions;
  capacity?: number;
  version?: string;
  lowWatermark?: number;
}

export type FindOptions = DiscoverOptions & { name?: string; via?: string | readonly string[] };

export interface CallOptions {
  /** Default: the number of the call. */
  args?: readonly unknown[];
  /** Default 1. */
  times?: number;
  /**
   * The number of callers, each of which calls again when it is answered. Default: one for each
   * call.
   */
  callers?: number;
  options?: Omit<ModuleCallOptions, "signal">;
}

/** The number of calls for callers that go on until `finish`. */
export const UNTIL_FINISHED = 1_000_000;

/**
 * The time limit of steps, and of calls and purchases that set none, in ms: long enough for a busy
 * machine.
 */
export const PATIENCE_MS = 60_000;

/** Calls that were begun. */
export interface Batch {
  /** The outcomes of those that have ended. */
  outcomes(): Promise<Outcome[]>;
  /** The outcomes of all, once all have ended. */
  all(): Promise<Outcome[]>;
  /** Callers make no further call; gives the outcomes of all calls once they have ended. */
  finish(): Promise<Outcome[]>;
  giveUp(): Promise<void>;
}

/** A proxy that a trader holds. */
export interface Buyer {
  /** Names of the proxy's functions, without `$plb`. */
  readonly exports: readonly string[];
  plb(): Promise<PlbStats & { capacity: number; exports: readonly string[] }>;
  /** One call. Rejects with the trader's error. */
  call(name: string, args?: readonly unknown[], options?: ModuleCallOptions): Promise<Outcome>;
  /** A call with an argument that can't be encoded. */
  callWithFunction(name: string): Promise<Outcome>;
  begin(name: string, words?: CallOptions): Promise<Batch>;
  /** Begins calls and waits for all. */
  many(name: string, words?: CallOptions): Promise<Outcome[]>;
  /** Waits until this much capacity is bought, and its credit has arrived. */
  granted(capacity: number): Promise<void>;
  close(): Promise<void>;
}

export interface Seller {
  update(code: CalcOptions): Promise<void>;
  close(options?: { drainMs?: number }): Promise<void>;
}

export interface Trader extends NodeProcess {
  publish(words: PublishOptions): Promise<Seller>;
  /** Buys on its node, or, with `via`, as a client of the nodes at these URLs. */
  discover(options?: FindOptions): Promise<Buyer>;
  listeners(): Promise<ListenerStats[]>;
  count(): Promise<CallCounts>;
  release(count?: number): Promise<void>;
  modules(): Promise<ModuleView[]>;
  exchange(name?: string): Promise<ExchangeView[]>;
  authorities(): Promise<AuthorityView[]>;
  stats(): Promise<NodeStats>;
  events(): Promise<NodeEvent[]>;
}

export interface TraderOptions {
  runtime: RuntimeName;
  name: string;
  registry: string;
  region?: string;
  /** Default `fast`. */
  lease?: string;
  /** Whether it serves the app that offers `calc` with capacity 2. */
  sells?: boolean;
  env?: Record<string, string>;
}

/** Starts a trader, and waits until it serves. */
export async function startTrader(options: TraderOptions): Promise<Trader> {
  const { runtime, name, registry, region = "local", lease = "fast", sells, env } = options;
  const process = await startNode({
    runtime,
    script: SCRIPT,
    env: {
      ATLAS_NODE: name,
      ATLAS_REGION: region,
      ATLAS_REGISTRY_URL: registry,
      ATLAS_LEASE: lease,
      ...sells && { SELLS: "app" },
      ...env,
    },
  });
  const { commands } = process.line as unknown as { commands: string };
  const command = <T>(op: string, args: object = {}): Promise<T> => post<T>(commands, op, args);
  return {
    ...process,
    async publish(words) {
      const listener = await command<number>("publish", words);
      return {
        update: (code) => command("update", { listener, code }),
        close: (options) => command("unpublish", { listener, ...options }),
      };
    },
    async discover(options = {}) {
      const { proxy, exports } = await command<{ proxy: number; exports: string[] }>(
        "discover",
        { timeoutMs: PATIENCE_MS, ...options },
      );
      return buyerOf(command, proxy, exports);
    },
    listeners: () => command("listeners"),
    count: () => command("count"),
    release: (count) => command("release", { count }),
    modules: () => command("modules"),
    exchange: (name) => command("exchange", { name }),
    authorities: () => command("authorities"),
    stats: () => command("stats"),
    events: () => command("events"),
  };
}

type Command = <T>(op: string, args?: object) => Promise<T>;

function buyerOf(command: Command, proxy: number, exports: readonly string[]): Buyer {
  const plb: Buyer["plb"] = () => command("plb", { proxy });
  const begin: Buyer["begin"] = async (name, words = {}) => {
    const options = { timeoutMs: PATIENCE_MS, ...words.options };
    const batch = await command<number>("begin", { proxy, name, ...words, options });
    const outcomes: Batch["outcomes"] = () => command("outcomes", { batch });
    const all: Batch["all"] = async () => {
      const isOver = async () => (await outcomes()).length >= (words.times ?? 1);
      await until(isOver, `all calls of ${name} end`, PATIENCE_MS);
      return await outcomes();
    };
    const finish: Batch["finish"] = () => command("finish", { batch });
    return { outcomes, all, finish, giveUp: () => command("giveUp", { batch }) };
  };
  return {
    exports,
    plb,
    begin,
    call: (name, args = [], options = {}) =>
      command("call", { proxy, name, args, options: { timeoutMs: PATIENCE_MS, ...options } }),
    callWithFunction: (name) => command("callWithFunction", { proxy, name }),
    many: async (name, words) => await (await begin(name, words)).all(),
    granted: (capacity) =>
      until(
        async () => {
          const { granted, capacity: tokens, running } = await plb();
          return granted === capacity && tokens + running >= capacity;
        },
        `capacity ${capacity} is bought`,
        PATIENCE_MS,
      ),
    close: () => command("close", { proxy }),
  };
}

async function post<T>(commands: string, op: string, args: object): Promise<T> {
  const response = await fetch(commands, { method: "POST", body: JSON.stringify({ op, args }) });
  const { value, error } = await response.json() as { value: T; error?: TraderError };
  if (error) throw Object.assign(new Error(error.message), error);
  return value;
}

/** The number of outcomes of each kind: answers by `of`, errors by their code. */
export function tally(
  outcomes: readonly Outcome[],
  of: (outcome: Outcome) => unknown = () => "ok",
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const { error } = outcome;
    const kind = error
      ? `${error.code}${error.maybeExecuted ? ", maybe executed" : ""}`
      : of(outcome);
    counts[String(kind)] = (counts[String(kind)] ?? 0) + 1;
  }
  return counts;
}
