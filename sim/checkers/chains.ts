/**
 * A chain of calls that comes back to a busy resource fails at once with
 * `reentrant_call`, unless its type allows it; and no other chain is told so.
 *
 * Keyed chains are left out of the first half: a repeat may be answered with what a
 * journal on the way had answered before.
 *
 * Source: design §4.
 */
import type { HistoryChecker } from "./checker.ts";

export const chains: HistoryChecker = {
  name: "chains",
  check({ calls }, report) {
    for (const call of calls) {
      const { via = [], mayReenter = false } = call;
      const isRefused = !mayReenter && new Set([...via, call.key]).size <= via.length;
      const path = [...via, call.key].join(" → ");
      if (isRefused && call.outcome === "ok" && call.idempotencyKey === null) {
        report(`call ${call.id} went ${path} and was answered`);
      }
      if (!isRefused && call.code === "reentrant_call") {
        report(`call ${call.id} went ${path} and was refused as coming back`);
      }
    }
  },
};
