/**
 * What one caller asks of one key without waiting is done in the order in which it asked,
 * as long as the key keeps its owner.
 *
 * A call that is under way to an owner when the key gets another one is sent back and
 * goes out again; what was asked later may have overtaken it. Calls with idempotency keys
 * are left out, because one whose answer was lost is sent again as well.
 */
import type { CallRecord } from "../history.ts";
import type { LiveChecker } from "./checker.ts";

export const fifo: LiveChecker = {
  name: "fifo",
  watch({ ground }, report) {
    /** Answered calls of each caller to each key, in the order in which they were made. */
    const lanes = new Map<string, CallRecord[]>();
    const epochs = new Map<CallRecord, number>();
    return {
      called: (call) => void epochs.set(call, ground.owner(call.key)?.epoch ?? 0),
      returned(call) {
        const wasSettled = epochs.get(call) === call.epoch;
        epochs.delete(call);
        if (call.what !== "append" || call.outcome !== "ok" || !wasSettled) return;
        if (call.idempotencyKey !== null) return;
        const lane = `${call.process} ${call.caller} ${call.key}`;
        const calls = lanes.get(lane);
        if (calls) calls.push(call);
        else lanes.set(lane, [call]);
      },
      finished() {
        for (const calls of lanes.values()) {
          calls.sort((a, b) => a.id - b.id);
          calls.forEach((call, i) => {
            const before = calls[i - 1];
            if (!before || before.seq < call.seq) return;
            report(
              `${call.key}: ${call.caller} asked for ${before.value} (call ${before.id}) and ` +
                `then ${call.value} (call ${call.id}), which got ${before.seq} and ${call.seq}`,
            );
          });
        }
      },
    };
  },
};
