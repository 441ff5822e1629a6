/**
 * Sends `ping` to client sockets that have been sent nothing for a while, so that clients can
 * notice a dead connection.
 */
import { SOCKET_PING_MS } from "../limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { Expiring } from "../model/expiring.ts";

/** A socket that is pinged. */
export interface Pinged {
  readonly isClosed: boolean;
  /** When a frame was last sent to it, monotonic ms. */
  readonly sentAt: number;
  /** Sends `ping`, if hello was sent. */
  ping(): void;
}

export interface PingParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
}

/** The pings of one socket, until it is closed. */
export class Ping extends Expiring {
  readonly #parts: PingParts;
  readonly #of: Pinged;

  constructor(parts: PingParts, of: Pinged) {
    super();
    this.#parts = parts;
    this.#of = of;
    parts.deadlines.add(this, parts.clock.now() + SOCKET_PING_MS);
  }

  stop(): void {
    this.#parts.deadlines.remove(this);
  }

  override expire(): void {
    const { clock, deadlines } = this.#parts;
    if (this.#of.isClosed) return;
    const now = clock.now();
    if (now - this.#of.sentAt >= SOCKET_PING_MS) this.#of.ping();
    const due = this.#of.sentAt + SOCKET_PING_MS;
    // Before hello nothing is sent.
    deadlines.add(this, due > now ? due : now + SOCKET_PING_MS / 3);
  }

  override onWheelClosed(): void {}
}
