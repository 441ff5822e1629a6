/**
 * Handles calls by `request`, which have no load balancer of their own: all calls of one module and
 * range share one.
 *
 * Each load balancer wants as much capacity as calls are in flight. A periodic review lowers that
 * capacity if a quarter or more of it was unused since the last review, and closes the load
 * balancer if all of it was unused.
 */
import { checkRange } from "../../api/module.ts";
import type { ModuleCallResult, ModuleRequestOptions } from "../../api/modules.ts";
import { AtlasError, isAtlasError } from "../../errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_REQUEST_CAPACITY, REQUEST_REVIEW_MS } from "../../limits.ts";
import { isCallable } from "../../model/internal_methods.ts";
import { checkToken } from "../../model/rrp.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { ProcessRef } from "../bus/process.ts";
import { noFunctionError } from "./module_call.ts";
import type { PlbProcess } from "./plb.ts";

/** The fraction of the wanted capacity that must be unused before it is lowered. */
const SLACK = 0.25;

/** A load balancer that calls share. */
interface SharedBalancer {
  readonly ref: ProcessRef<PlbProcess>;
  inFlight: number;
  /** The most calls in flight at once since the last review. */
  peak: number;
  wanted: number;
}

export class SharedRequests {
  readonly #clock: Clock;
  readonly #open: (module: string, range: string | null) => ProcessRef<PlbProcess>;
  /** By module and range. */
  readonly #balancers = new Map<string, SharedBalancer>();
  #review: Timer | null = null;

  /** @param open starts a load balancer that wants capacity 1. */
  constructor(
    clock: Clock,
    open: (module: string, range: string | null) => ProcessRef<PlbProcess>,
  ) {
    this.#clock = clock;
    this.#open = open;
  }

  /** See `ModuleAtlas.request`. */
  async request(
    module: string,
    name: string,
    args: readonly unknown[],
    { version, timeoutMs = DEFAULT_TIMEOUT_MS, signal }: ModuleRequestOptions,
  ): Promise<ModuleCallResult> {
    checkToken("module", module);
    const range = version === undefined ? null : checkRange(version);
    if (!isCallable(name) || name.startsWith("$")) throw noFunctionError(module, null, name);
    const key = `${module} ${range ?? ""}`;
    const shared = this.#shared(key, module, range);
    ensureWanted(shared, ++shared.inFlight);
    shared.peak = Math.max(shared.peak, shared.inFlight);
    try {
      return await shared.ref.current.call(name, args, { timeoutMs, ...signal && { signal } });
    } catch (error) {
      const plb = shared.ref.current;
      throw isAtlasError(error) && !signal?.aborted && plb.granted === 0
        ? noSeller(error, plb, timeoutMs)
        : error;
    } finally {
      shared.inFlight--;
      // A load balancer without capacity and without waiting calls must not continue to buy.
      if (shared.inFlight === 0 && shared.ref.current.granted === 0) this.#close(key, shared);
    }
  }

  /** Stops the reviews; the load balancers stop with the market. */
  stop(): void {
    this.#review?.cancel();
    this.#balancers.clear();
  }

  #shared(key: string, module: string, range: string | null): SharedBalancer {
    const known = this.#balancers.get(key);
    if (known && !known.ref.current.hasStopped) return known;
    known?.ref.current.close();
    const shared: SharedBalancer = {
      ref: this.#open(module, range),
      inFlight: 0,
      peak: 0,
      wanted: 1,
    };
    this.#balancers.set(key, shared);
    this.#reviewLater();
    return shared;
  }

  #reviewLater(): void {
    this.#review ??= this.#clock.after(REQUEST_REVIEW_MS, () => {
      this.#review = null;
      for (const [key, shared] of this.#balancers) this.#reviewOne(key, shared);
      if (this.#balancers.size > 0) this.#reviewLater();
    });
  }

  #reviewOne(key: string, shared: SharedBalancer): void {
    const { ref: { current: plb }, peak, wanted } = shared;
    shared.peak = shared.inFlight;
    if (peak === 0 || plb.hasStopped) {
      this.#close(key, shared);
    } else if (peak <= wanted * (1 - SLACK)) {
      shared.wanted = peak;
      plb.resize(peak);
    }
  }

  #close(key: string, shared: SharedBalancer): void {
    if (this.#balancers.get(key) === shared) this.#balancers.delete(key);
    shared.ref.current.close();
  }
}

/** Raises the wanted capacity to at least `calls`. */
function ensureWanted(shared: SharedBalancer, calls: number): void {
  const wanted = Math.min(calls, MAX_REQUEST_CAPACITY);
  if (wanted <= shared.wanted) return;
  shared.wanted = wanted;
  shared.ref.current.resize(wanted);
}

/** The error of a call that timed out while its load balancer held no capacity. */
function noSeller(error: AtlasError, plb: PlbProcess, timeoutMs: number): AtlasError {
  if (error.code !== "timeout" || error.maybeExecuted) return error;
  const message = `nobody sold any within ${Math.round(timeoutMs)} ms: ${plb.asked}`;
  return new AtlasError("unavailable", message, { cause: error });
}
