/**
 * What one caller asks of one key without waiting is done in the order in which it asked.
 *
 * Calls with idempotency keys are left out: one whose answer was lost is sent again, and
 * may have been overtaken meanwhile by what was asked after it.
 */
import type { CallRecord } from "../history.ts";
import type { HistoryChecker } from "./checker.ts";

export const fifo: HistoryChecker = {
  name: "fifo",
  check({ calls }, report) {
    const last = new Map<string, CallRecord>();
    for (const call of calls) {
      if (call.what !== "append" || call.outcome !== "ok") continue;
      if (call.idempotencyKey !== null) continue;
      const lane = `${call.process} ${call.caller} ${call.key}`;
      const before = last.get(lane);
      if (before && before.seq > call.seq) {
        report(
          `${call.key}: ${call.caller} asked for ${before.value} (call ${before.id}) and then ` +
            `${call.value} (call ${call.id}), which got places ${before.seq} and ${call.seq}`,
        );
      }
      last.set(lane, call);
    }
  },
};
