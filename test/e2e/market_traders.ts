/**
 * Nodes in processes of their own that sell and buy modules as a test tells them.
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
import type { CalcOptions, Till } from "./apps/market.ts";
import { type NodeProcess, type RuntimeName, startNode } from "./process.ts";
import { until } from "../support/until.ts";

const SCRIPT = `${ROOT}test/e2e/fixtures/market_node.ts`;

/** An error as a trader tells it. */
export interface ToldError {
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
  readonly error?: ToldError;
}

export interface PublishWords {
  /** Default `calc`. */
  name?: string;
  code?: CalcOptions;
  capacity?: number;
  version?: string;
  lowWatermark?: number;
}

export type DiscoverWords = DiscoverOptions & { name?: string; via?: string | readonly string[] };

export interface CallWords {
  /** Default: the number of the call. */
  args?: readonly unknown[];
  /** Default 1. */
  times?: number;
  /** Callers who each call again when they are answered. Default: as many as calls. */
  callers?: number;
  options?: Omit<ModuleCallOptions, "signal">;
}

/** How often callers call who go on until they are told to finish. */
export const ON_AND_ON = 1_000_000;

/** How long is waited here, by calls and purchases that name no time too, in ms: none ends by chance. */
export const PATIENCE_MS = 60_000;

/** Calls that were begun. */
export interface Batch {
  /** How those ended that have ended. */
  outcomes(): Promise<Outcome[]>;
  /** The outcomes of all, once all have ended. */
  all(): Promise<Outcome[]>;
  /** Callers begin no further call; the outcomes of all that were made, once they have ended. */
  finish(): Promise<Outcome[]>;
  giveUp(): Promise<void>;
}

/** A proxy that a trader holds. */
export interface Buyer {
  /** Names of the proxy's functions, and `$plb` is not among them. */
  readonly exports: readonly string[];
  plb(): Promise<PlbStats & { capacity: number; exports: readonly string[] }>;
  /** One call. Rejects with what it was told. */
  call(name: string, args?: readonly unknown[], options?: ModuleCallOptions): Promise<Outcome>;
  /** A call with an argument that can't be encoded. */
  callWithFunction(name: string): Promise<Outcome>;
  begin(name: string, words?: CallWords): Promise<Batch>;
  /** Begins calls and waits for all. */
  many(name: string, words?: CallWords): Promise<Outcome[]>;
  /** Waits until so much is bought, and the credit for it is here. */
  granted(capacity: number): Promise<void>;
  close(): Promise<void>;
}

export interface Shop {
  update(code: CalcOptions): Promise<void>;
  close(options?: { drainMs?: number }): Promise<void>;
}

export interface Trader extends NodeProcess {
  publish(words: PublishWords): Promise<Shop>;
  /** Buys on its node, or, with `via`, as a client of the node at that URL or those. */
  discover(options?: DiscoverWords): Promise<Buyer>;
  listeners(): Promise<ListenerStats[]>;
  count(): Promise<Till>;
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
  const { telephone } = process.line as unknown as { telephone: string };
  const say = <T>(op: string, args: object = {}): Promise<T> => dial<T>(telephone, op, args);
  return {
    ...process,
    async publish(words) {
      const listener = await say<number>("publish", words);
      return {
        update: (code) => say("update", { listener, code }),
        close: (options) => say("unpublish", { listener, ...options }),
      };
    },
    async discover(options = {}) {
      const { proxy, exports } = await say<{ proxy: number; exports: string[] }>(
        "discover",
        { timeoutMs: PATIENCE_MS, ...options },
      );
      return buyerOf(say, proxy, exports);
    },
    listeners: () => say("listeners"),
    count: () => say("count"),
    release: (count) => say("release", { count }),
    modules: () => say("modules"),
    exchange: (name) => say("exchange", { name }),
    authorities: () => say("authorities"),
    stats: () => say("stats"),
    events: () => say("events"),
  };
}

type Say = <T>(op: string, args?: object) => Promise<T>;

function buyerOf(say: Say, proxy: number, exports: readonly string[]): Buyer {
  const plb: Buyer["plb"] = () => say("plb", { proxy });
  const begin: Buyer["begin"] = async (name, words = {}) => {
    const options = { timeoutMs: PATIENCE_MS, ...words.options };
    const batch = await say<number>("begin", { proxy, name, ...words, options });
    const outcomes: Batch["outcomes"] = () => say("outcomes", { batch });
    const all: Batch["all"] = async () => {
      const isOver = async () => (await outcomes()).length >= (words.times ?? 1);
      await until(isOver, `all calls of ${name} end`, PATIENCE_MS);
      return await outcomes();
    };
    const finish: Batch["finish"] = () => say("finish", { batch });
    return { outcomes, all, finish, giveUp: () => say("giveUp", { batch }) };
  };
  return {
    exports,
    plb,
    begin,
    call: (name, args = [], options = {}) =>
      say("call", { proxy, name, args, options: { timeoutMs: PATIENCE_MS, ...options } }),
    callWithFunction: (name) => say("callWithFunction", { proxy, name }),
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
    close: () => say("close", { proxy }),
  };
}

async function dial<T>(telephone: string, op: string, args: object): Promise<T> {
  const response = await fetch(telephone, { method: "POST", body: JSON.stringify({ op, args }) });
  const { value, error } = await response.json() as { value: T; error?: ToldError };
  if (error) throw Object.assign(new Error(error.message), error);
  return value;
}

/** How many outcomes there are of each kind; answers by `of`, errors by their code. */
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
