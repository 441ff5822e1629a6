/** Logs refused links at a bounded rate, since anyone who reaches the port can cause them. */
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { HandshakeFailure } from "./link_sessions.ts";

/** Refusals that are logged one by one within {@link WINDOW_MS}; later ones are only counted. */
export const MAX_LOGGED = 20;
const WINDOW_MS = 10_000;

export class LinkRefusals {
  readonly #clock: Clock;
  readonly #onEvent: (event: NodeEvent) => void;
  #since = -Infinity;
  #told = 0;
  /** The refusals that were not logged. */
  #untold = 0;

  constructor(clock: Clock, onEvent: (event: NodeEvent) => void) {
    this.#clock = clock;
    this.#onEvent = onEvent;
  }

  tell({ code, why, claimed, address }: HandshakeFailure): void {
    const now = this.#clock.now();
    if (now - this.#since >= WINDOW_MS) {
      this.#since = now;
      this.#told = 0;
    }
    if (this.#told >= MAX_LOGGED) {
      this.#untold++;
      return;
    }
    this.#told++;
    const untold = this.#untold;
    this.#untold = 0;
    this.#onEvent({
      level: "warning",
      event: "link refused",
      fields: {
        code,
        why,
        claims: claimed && `${claimed.region}/${claimed.node}`,
        ...address !== undefined && { dialled: address },
        ...untold > 0 && { untold },
      },
    });
  }
}
