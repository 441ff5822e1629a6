/**
 * The parts of a node's market that have to be there: how each is made anew after it failed.
 *
 * Takes who failed; gives the pause before the next one is started in its place. The first one
 * is started at once; one that fails again and again waits longer each time.
 *
 * Source: the supervisors of Erlang/OTP, one for one.
 */
import { RESTART_CALM_MS, RESTART_MS } from "../../limits.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { Address } from "./address.ts";
import type { Process } from "./process.ts";

interface Kept {
  readonly make: () => Process;
  /** Runs once another one was started. */
  readonly restarted: () => void;
  timer: Timer | null;
  failures: number;
  failedAt: number;
}

export class Restarts {
  readonly #kept = new Map<Address, Kept>();

  keep(address: Address, make: () => Process, restarted: () => void): void {
    this.#kept.set(address, { make, restarted, timer: null, failures: 0, failedAt: -Infinity });
  }

  /** It came to its own end. */
  forget(address: Address): void {
    this.#kept.get(address)?.timer?.cancel();
    this.#kept.delete(address);
  }

  /** None is started any more. */
  stop(): void {
    for (const address of [...this.#kept.keys()]) this.forget(address);
  }

  has(address: Address): boolean {
    return this.#kept.has(address);
  }

  /** How another one is made, unless it is to be gone by now. */
  get(address: Address): Pick<Kept, "make" | "restarted"> | undefined {
    return this.#kept.get(address);
  }

  /** It failed: `start` is to make another one, once that may be. */
  failed(address: Address, clock: Clock, start: () => void): void {
    const kept = this.#kept.get(address);
    if (!kept) return;
    const now = clock.now();
    if (now - kept.failedAt > RESTART_CALM_MS) kept.failures = 0;
    kept.failedAt = now;
    const [least, most] = RESTART_MS;
    const failures = kept.failures++;
    if (failures === 0) return start();
    const ms = Math.min(most, least * 2 ** Math.min(failures - 1, 16));
    kept.timer = clock.after(ms, start);
  }
}
