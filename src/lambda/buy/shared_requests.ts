/**
 * Calls that buy nothing for themselves: all those of one module and range share one balancer.
 *
 * Takes calls; gives answers. Each balancer wants as much as calls are under way, is made
 * smaller when a review finds that a good part of it went unused since the last, and is closed
 * when all of it did.
 */
import { AtlasError, isAtlasError } from "../../errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_REQUEST_CAPACITY, REQUEST_REVIEW_MS } from "../../limits.ts";
import { isCallable } from "../../model/internal_methods.ts";
import { checkToken } from "../../model/rrp.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { ModuleCallResult, ModuleRequestOptions } from "../../api/modules.ts";
import { checkRange } from "../../api/module.ts";
import { noFunction } from "./module_call.ts";
import type { ProcessRef } from "../bus/process.ts";
import type { PlbProcess } from "./plb.ts";

/** Part of what is wanted that must have been unused before it is given back. */
const SLACK = 0.25;

/** A balancer that calls share. */
interface Window {
  readonly holder: ProcessRef<PlbProcess>;
  inFlight: number;
  /** The most that were in flight at once since the last review. */
  peak: number;
  wanted: number;
}

export class SharedRequests {
  readonly #clock: Clock;
  readonly #open: (module: string, range: string | null) => ProcessRef<PlbProcess>;
  /** By module and range. */
  readonly #windows = new Map<string, Window>();
  #review: Timer | null = null;

  /** @param open opens a balancer that wants 1. */
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
    if (!isCallable(name) || name.startsWith("$")) throw noFunction(module, null, name);
    const key = `${module} ${range ?? ""}`;
    const window = this.#window(key, module, range);
    want(window, ++window.inFlight);
    window.peak = Math.max(window.peak, window.inFlight);
    try {
      return await window.holder.part.call(name, args, { timeoutMs, ...signal && { signal } });
    } catch (error) {
      const plb = window.holder.part;
      throw isAtlasError(error) && !signal?.aborted && plb.granted === 0
        ? noSeller(error, plb, timeoutMs)
        : error;
    } finally {
      window.inFlight--;
      // Nobody is to buy what nobody waits for.
      if (window.inFlight === 0 && window.holder.part.granted === 0) this.#close(key, window);
    }
  }

  /** Ends the reviews; the balancers end with the market. */
  stop(): void {
    this.#review?.cancel();
    this.#windows.clear();
  }

  #window(key: string, module: string, range: string | null): Window {
    const known = this.#windows.get(key);
    if (known && !known.holder.part.hasEnded) return known;
    known?.holder.part.close();
    const window: Window = { holder: this.#open(module, range), inFlight: 0, peak: 0, wanted: 1 };
    this.#windows.set(key, window);
    this.#reviewLater();
    return window;
  }

  #reviewLater(): void {
    this.#review ??= this.#clock.after(REQUEST_REVIEW_MS, () => {
      this.#review = null;
      for (const [key, window] of this.#windows) this.#look(key, window);
      if (this.#windows.size > 0) this.#reviewLater();
    });
  }

  #look(key: string, window: Window): void {
    const { holder: { part: plb }, peak, wanted } = window;
    window.peak = window.inFlight;
    if (peak === 0 || plb.hasEnded) {
      this.#close(key, window);
    } else if (peak <= wanted * (1 - SLACK)) {
      window.wanted = peak;
      plb.resize(peak);
    }
  }

  #close(key: string, window: Window): void {
    if (this.#windows.get(key) === window) this.#windows.delete(key);
    window.holder.part.close();
  }
}

/** Wants capacity for `calls` at least. */
function want(window: Window, calls: number): void {
  const wanted = Math.min(calls, MAX_REQUEST_CAPACITY);
  if (wanted <= window.wanted) return;
  window.wanted = wanted;
  window.holder.part.resize(wanted);
}

/** A call that waited in vain, where nothing at all is bought, found nobody who sells. */
function noSeller(error: AtlasError, plb: PlbProcess, timeoutMs: number): AtlasError {
  if (error.code !== "timeout" || error.maybeExecuted) return error;
  const message = `nobody sold any within ${Math.round(timeoutMs)} ms: ${plb.asked}`;
  return new AtlasError("unavailable", message, { cause: error });
}
