/**
 * Marks members dead whose heartbeat has not changed for the takeover time, measured on this node's
 * own clock, so that others may take over what they own. Only a node whose own lease holds marks
 * members dead.
 *
 * Source: `docs/design.md`, Membership and leases.
 */
import { detailOf } from "../errors.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { HeartbeatMonitor } from "./heartbeat_monitor.ts";
import type { NodeLife, Timing } from "./lease.ts";

export interface FailureDetectorParts {
  readonly clock: Clock;
  readonly timing: Timing;
  readonly store: Pick<Store, "kill">;
  readonly monitor: HeartbeatMonitor;
  /** The node's current life; null while it isn't a member. */
  readonly life: () => NodeLife | null;
  /** Reads the members again. */
  readonly refresh: () => Promise<void>;
  /** A member is dead. */
  readonly killed: (incarnation: string, seq: number) => void;
  /** The store could not be asked to mark one dead. */
  readonly failed: (incarnation: string, reason: string) => void;
}

export class FailureDetector {
  readonly #parts: FailureDetectorParts;
  #timer: Timer | null = null;

  constructor(parts: FailureDetectorParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Checks again when the takeover time of the member with the oldest heartbeat has passed. */
  schedule(): void {
    this.stop();
    const { clock, timing, monitor, life } = this.#parts;
    const oldest = monitor.oldest();
    if (!life() || oldest === Infinity) return;
    const wait = oldest + timing.takeoverMs - clock.now();
    this.#timer = clock.after(Math.max(1, wait), () => this.#killStalled());
  }

  async #killStalled(): Promise<void> {
    const { clock, timing, store, monitor, refresh, killed, failed } = this.#parts;
    const life = this.#parts.life();
    const due = clock.now() - timing.takeoverMs;
    for (const [incarnation, seq] of monitor.stalledSince(due)) {
      if (life === null || !life.lease.holds()) continue;
      try {
        const state = await store.kill(incarnation, seq);
        if (state === "dead") killed(incarnation, seq);
        // The member is not dead: its seq has risen, which the next renewal reports.
        monitor.drop(incarnation);
        await refresh();
      } catch (error) {
        monitor.putOff(incarnation, seq, clock.now() - timing.takeoverMs + timing.heartbeatMs);
        failed(incarnation, detailOf(error));
      }
    }
    this.schedule();
  }
}
