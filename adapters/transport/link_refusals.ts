/** Logs refused links at a bounded rate, since anyone who reaches the port can cause them. */
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { HandshakeFailure } from "./link_sessions.ts";

/**
 * The number of refusals within {@link WINDOW_MS} that are logged one by one; later ones are only
 * counted.
 */
export const MAX_LOGGED = 20;
const WINDOW_MS = 10_000;

export class LinkRefusals {
  readonly #clock: Clock;
  readonly #onEvent: (event: NodeEvent) => void;
  #since = -Infinity;
  #logged = 0;
  /** The number of refusals that were not logged. */
  #unlogged = 0;

  constructor(clock: Clock, onEvent: (event: NodeEvent) => void) {
    this.#clock = clock;
    this.#onEvent = onEvent;
  }

  log({ code, why, claimed, address }: HandshakeFailure): void {
    const now = this.#clock.now();
    if (now - this.#since >= WINDOW_MS) {
      this.#since = now;
      this.#logged = 0;
    }
    if (this.#logged >= MAX_LOGGED) {
      this.#unlogged++;
      return;
    }
    this.#logged++;
    const unlogged = this.#unlogged;
    this.#unlogged = 0;
    this.#onEvent({
      level: "warning",
      event: "link refused",
      fields: {
        code,
        why,
        claims: claimed && `${claimed.region}/${claimed.node}`,
        ...address !== undefined && { dialled: address },
        ...unlogged > 0 && { unlogged },
      },
    });
  }
}
