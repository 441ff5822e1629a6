/**
 * Waiting for capacity: the customer at the counter until the first of an order is there.
 *
 * Takes word that a balancer's capacity changed; resolves once enough of it is bought, or
 * rejects with what was asked for.
 */
import { AtlasError } from "../errors.ts";
import type { Clock, Timer } from "../ports/clock.ts";

/** How long the rest of an order may take before the first of it is made do with, ms. */
const SETTLE_MS = 100;

/** A balancer, as far as it is waited for. */
export interface Bought {
  readonly tokens: number;
  readonly isSatisfied: boolean;
  /** What was asked for, in words. */
  readonly asked: string;
}

export class Capacity {
  readonly #clock: Clock;
  readonly #bought: () => Bought;
  readonly #waitFor: "some" | "all";
  readonly #done = Promise.withResolvers<void>();
  #settle: Timer | null = null;

  constructor(clock: Clock, bought: () => Bought, waitFor: "some" | "all") {
    this.#clock = clock;
    this.#bought = bought;
    this.#waitFor = waitFor;
    // It may fail before anybody waits.
    this.#done.promise.catch(() => {});
  }

  changed(): void {
    const { tokens, isSatisfied } = this.#bought();
    if (isSatisfied) return this.#done.resolve();
    if (this.#waitFor === "all" || tokens === 0) return;
    this.#settle ??= this.#clock.after(SETTLE_MS, () => this.#done.resolve());
  }

  closed(): void {
    this.#settle?.cancel();
    this.#done.reject(new AtlasError("unavailable", "the node was closed"));
  }

  /** @throws AtlasError `unavailable` after `timeoutMs`, or `timeout` where `signal` aborts. */
  async wait(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const late = this.#clock.after(timeoutMs, () => this.#reject("unavailable", timeoutMs));
    const onAbort = (): void => {
      const message = "the caller gave up waiting for capacity";
      this.#done.reject(new AtlasError("timeout", message, { cause: signal?.reason }));
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#done.promise;
    } finally {
      late.cancel();
      this.#settle?.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #reject(code: "unavailable", timeoutMs: number): void {
    const all = this.#waitFor === "all" ? "all of it " : "";
    const message = `nobody sold ${all}within ${Math.round(timeoutMs)} ms: ${this.#bought().asked}`;
    this.#done.reject(new AtlasError(code, message));
  }
}
