/**
 * Keeps client sockets alive and finds dead ones. Pings each peer three times in the time that it
 * may be silent, and closes its socket when that time has passed.
 *
 * All sockets of a server share one timer, because a timer for each would take more memory than
 * the rest of an idle socket.
 */
import { Expiring } from "../../src/model/expiring.ts";
import { TimerWheel } from "../../src/time/timer_wheel.ts";
import { systemClock } from "../system/clock.ts";

/** The heartbeats of the sockets of one server. */
export class Heartbeats {
  readonly #wheel: TimerWheel = new TimerWheel(systemClock);

  /** Runs `expire` of a socket after `ms`. */
  schedule(socket: BeatingSocket, ms: number): void {
    this.#wheel.add(socket, systemClock.now() + ms);
  }

  cancel(socket: BeatingSocket): void {
    this.#wheel.remove(socket);
  }

  /** Stops the timer. */
  close(): void {
    this.#wheel.close();
  }
}

/** Pings that may stay unanswered before the socket is closed. */
const MAX_UNANSWERED = 2;

/** A socket whose peer may have a heartbeat. */
export abstract class BeatingSocket extends Expiring {
  #heartbeats: Heartbeats | null = null;
  #everyMs = 0;
  #unanswered = 0;

  /** Sends a ping. */
  protected abstract ping(): void;
  /** Ends it at once. */
  abstract cut(): void;

  /** Starts the heartbeat of a peer that may be silent for `idleMs`. */
  startHeartbeat(heartbeats: Heartbeats, idleMs: number): void {
    this.#heartbeats = heartbeats;
    this.#everyMs = idleMs / (MAX_UNANSWERED + 1);
    heartbeats.schedule(this, this.#everyMs);
  }

  /** The peer sent something. */
  heard(): void {
    this.#unanswered = 0;
  }

  protected stopHeartbeat(): void {
    this.#heartbeats?.cancel(this);
    this.#heartbeats = null;
  }

  override expire(): void {
    if (this.#unanswered >= MAX_UNANSWERED) return this.cut();
    this.#unanswered++;
    this.ping();
    this.#heartbeats?.schedule(this, this.#everyMs);
  }

  override onWheelClosed(): void {}
}
