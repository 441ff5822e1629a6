/**
 * Restarts processes that must exist after they failed.
 *
 * The first restart is immediate; a process that keeps failing waits longer each time.
 * Source: Erlang/OTP's one-for-one supervisors.
 */
import { RESTART_CALM_MS, RESTART_MS } from "../../limits.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { Address } from "./address.ts";
import type { Process } from "./process.ts";

interface Kept {
  readonly make: () => Process;
  /** Runs after each restart. */
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

  /** The process was stopped on purpose. */
  forget(address: Address): void {
    this.#kept.get(address)?.timer?.cancel();
    this.#kept.delete(address);
  }

  /** Stops restarting processes. */
  stop(): void {
    for (const address of [...this.#kept.keys()]) this.forget(address);
  }

  has(address: Address): boolean {
    return this.#kept.has(address);
  }

  /** How the process is made; undefined once it was stopped. */
  get(address: Address): Pick<Kept, "make" | "restarted"> | undefined {
    return this.#kept.get(address);
  }

  /** A process failed: runs `start` after the backoff. */
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
