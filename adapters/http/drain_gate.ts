/**
 * Counts the requests under way, and refuses new ones once it is closed. Its `close` resolves when
 * the last request has ended.
 */
import { AtlasError } from "../../src/errors.ts";
import { errorResponse } from "../http_wire/errors.ts";

export interface DrainGate {
  /** Runs a request's work, or refuses it as `unavailable` where the gate is closed. */
  pass(run: () => Promise<Response>): Promise<Response>;
  /** Refuses further requests. Resolves when those under way have ended, or after `ms`. */
  close(ms: number): Promise<void>;
}

/** An open gate. */
export function createDrainGate(): DrainGate {
  let inside = 0;
  let closed = false;
  let emptied = () => {};
  return {
    async pass(run) {
      if (closed) {
        const error = new AtlasError("unavailable", "the node is stopping");
        return errorResponse(error, { connection: "close" });
      }
      inside++;
      try {
        return await run();
      } finally {
        if (--inside === 0) emptied();
      }
    },
    async close(ms) {
      closed = true;
      if (inside === 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        emptied = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    },
  };
}
