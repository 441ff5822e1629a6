/**
 * Rule: a chain of calls that returns to a busy resource fails at once with `reentrant_call`,
 * unless its type allows it; no other chain gets that error.
 *
 * Chains with idempotency keys are excluded from the first half: a repeat may get an earlier answer
 * of a journal on the way. Source: docs/design.md, Calls.
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
