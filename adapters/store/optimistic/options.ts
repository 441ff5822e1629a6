/**
 * The options of the strategy `optimistic`, given by a program or in a URL. Checks them, refuses
 * those that can't work, and opens a store over one master.
 */
import { AtlasError } from "../../../src/errors.ts";
import type { Store } from "../../../src/ports/store.ts";
import type { Master } from "./master.ts";
import { OptimisticStore } from "./store.ts";

/** Where the strategy of a Redis or Upstash store is set; without `strategy`, compare-and-set. */
export interface StrategyOptions {
  /** For masters that copy each other without one write order. Default: compare-and-set. */
  strategy?: "optimistic";
  /** The name of the master that the URL leads to: one of `masters`. */
  master?: string;
  /** All masters' names, the same on every node: 1 to 16, of letters, digits, `_`, `.`, `-`. */
  masters?: readonly string[];
  /**
   * Longest time that a write at one master takes to be seen at any other, in ms, up to
   * 60,000; at least this store's own round trip. A claim waits twice as long, so it MUST
   * be well below a lease. Default 500.
   */
  boundMs?: number;
  /** How often owners look for greater claims, in ms. Default twice the bound, at least 1,000. */
  recheckMs?: number;
}

/** The masters of a registry, as one of them sees it. */
export interface Masters {
  /** Sorted. */
  readonly names: readonly string[];
  /** This one's place among them, from 0. */
  readonly own: number;
}

const MAX_MASTERS = 16;
const MAX_BOUND_MS = 60_000;
const DEFAULT_BOUND_MS = 500;
const LEAST_RECHECK_MS = 1_000;
/** Round trips that are measured when a store opens, at most. */
const PROBES = 8;

/** The name of a setting in the place where it was given, and the form of its value there. */
type Naming = (option: keyof StrategyOptions) => readonly [name: string, value: unknown];

/**
 * Refuses options of the strategy that can't work; null if it isn't set.
 *
 * @param naming how errors name them. Default: by the options' own names.
 */
export function checkStrategy(
  options: StrategyOptions,
  naming: Naming = (option) => [option, options[option]],
): Masters | null {
  const { strategy, master, masters } = options;
  if (strategy === undefined) {
    for (const option of ["master", "masters", "boundMs", "recheckMs"] as const) {
      if (options[option] === undefined) continue;
      throw wrong(naming(option), "absent without strategy optimistic");
    }
    return null;
  }
  if (strategy !== "optimistic") throw wrong(naming("strategy"), "optimistic, or absent");
  const names = [...new Set(Array.isArray(masters) ? masters : [])].sort();
  const isFine = names.length > 0 && names.length <= MAX_MASTERS &&
    names.every((name) => typeof name === "string" && /^[\w.-]{1,64}$/.test(name));
  if (!isFine) {
    throw wrong(naming("masters"), `1 to ${MAX_MASTERS} names of letters, digits, _, . and -`);
  }
  const own = names.indexOf(master as string);
  if (own < 0) throw wrong(naming("master"), `one of masters: ${names.join(", ")}`);
  for (const option of ["boundMs", "recheckMs"] as const) {
    const ms = options[option];
    if (ms === undefined || (typeof ms === "number" && ms >= 1 && ms <= MAX_BOUND_MS)) continue;
    throw wrong(naming(option), `1 to ${MAX_BOUND_MS} ms`);
  }
  return { names, own };
}

/**
 * A store over one master, once its round trip was measured.
 *
 * @throws AtlasError `bad_request` if the bound is below the round trip: it then is certainly below
 * the time that copying takes.
 */
export async function openOptimistic(
  master: Master,
  { names, own }: Masters,
  options: StrategyOptions,
): Promise<Store> {
  const { boundMs = DEFAULT_BOUND_MS } = options;
  try {
    await checkBound(master, boundMs);
  } catch (error) {
    await master.close();
    throw error;
  }
  return new OptimisticStore({
    master,
    masterName: names[own] as string,
    hasRivals: names.length > 1,
    boundMs,
    recheckMs: options.recheckMs ?? Math.max(LEAST_RECHECK_MS, 2 * boundMs),
    now: () => performance.now(),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  });
}

/**
 * Refuses a bound below the fastest of some round trips, in ms: a slower round trip may only show
 * that the machine is busy.
 */
async function checkBound(master: Master, boundMs: number): Promise<void> {
  let fastest = Infinity;
  for (let probe = 0; probe < PROBES; probe++) {
    const started = performance.now();
    await master.claims("probe/round-trip");
    fastest = Math.min(fastest, performance.now() - started);
    if (boundMs >= fastest) return;
  }
  const now = `${fastest.toFixed(1)} ms now`;
  throw wrong(
    ["boundMs", boundMs],
    `at least the store's own round trip, ${now}, and more than copying takes`,
  );
}

/** A URL with a query and no fragment. */
const QUERY = /^([^?#]*)\?([^#]*)$/;
/** What the options are called in a registry's URL. */
const PARAMETERS: { readonly [option in keyof Required<StrategyOptions>]: string } = {
  strategy: "strategy",
  master: "master",
  masters: "masters",
  boundMs: "bound",
  recheckMs: "recheck",
};

/**
 * Splits `?strategy=optimistic&master=a&masters=a,b&bound=500`, in any order, off a registry's URL;
 * a URL without any of these settings is returned unchanged.
 *
 * @throws AtlasError `bad_request` for a part of it that can't work, isn't known, or comes twice.
 */
export function splitStrategy(url: string): { url: string; options: StrategyOptions } {
  const [, address, query] = QUERY.exec(url) ?? [];
  const params = new URLSearchParams(query);
  const known = Object.values(PARAMETERS);
  if (address === undefined || !known.some((name) => params.has(name))) {
    return { url, options: {} };
  }
  for (const name of new Set(params.keys())) {
    const isKnown = known.includes(name) || name === "replicas" || name === "eviction";
    if (isKnown && params.getAll(name).length === 1) continue;
    throw wrong(["the registry URL's query", `${name}=…`], `${known.join(", ")}, each once`);
  }
  const options = optionsOf((name) => params.get(name) ?? undefined);
  checkStrategy(options, (option) => {
    const name = PARAMETERS[option];
    return [`the registry URL's ${name}`, params.get(name) ?? undefined];
  });
  if (params.has("replicas")) {
    const replicas = ["the registry URL's replicas", params.get("replicas")] as const;
    throw wrong(replicas, "absent: replicas and strategy don't go together");
  }
  const eviction = params.get("eviction");
  return { url: eviction === null ? address : `${address}?eviction=${eviction}`, options };
}

function optionsOf(text: (name: string) => string | undefined): StrategyOptions {
  const ms = (name: string): number | undefined => {
    const written = text(name);
    if (written === undefined) return undefined;
    return /^\d{1,9}(?:\.\d{1,9})?$/.test(written) ? Number(written) : NaN;
  };
  return {
    strategy: text("strategy") as "optimistic",
    master: text("master"),
    masters: text("masters")?.split(","),
    boundMs: ms("bound"),
    recheckMs: ms("recheck"),
  };
}

function wrong([name, value]: readonly [name: string, value: unknown], allowed: string) {
  const text = typeof value === "number" ? String(value) : JSON.stringify(value);
  const shown = text?.slice(0, 200) ?? "not set";
  return new AtlasError("bad_request", `${name} is ${shown}, it must be ${allowed}`);
}
