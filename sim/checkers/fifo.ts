/**
 * Rule: calls of one caller to one key are executed in the order in which they were made, as long
 * as its node knows the key's owner and the owner stays the same.
 *
 * A call in flight when the key changes owner is returned and sent again; later calls may overtake
 * it. Calls with idempotency keys are excluded, because they are resent when their answer was lost.
 */
import type { CallRecord } from "../engine/history.ts";
import type { HistoryChecker, Report } from "./checker.ts";

export const fifo: HistoryChecker = {
  name: "fifo",
  check({ calls, lost }, report) {
    const lanes = new Map<string, CallRecord[]>();
    const byProcess = Map.groupBy(calls, ({ process, key }) => `${process} ${key}`);
    for (const ofProcess of byProcess.values()) {
      for (const call of settled(ofProcess)) {
        const lane = `${call.process} ${call.caller} ${call.key}`;
        const before = lanes.get(lane);
        if (before) before.push(call);
        else lanes.set(lane, [call]);
      }
    }
    const isLost = ({ key, value }: CallRecord): boolean => lost?.get(key)?.has(value) ?? false;
    for (const lane of lanes.values()) {
      // What a failover took out of the journal has left its place to others.
      checkCallOrder(lane.filter((call) => !isLost(call)), report);
    }
  },
};

/** One process's appends that were answered by the owner it had known before, as asked. */
function settled(calls: readonly CallRecord[]): CallRecord[] {
  const answered = calls.filter(({ outcome, what, via = [] }) =>
    // What went through other journals took its turn among their calls.
    outcome === "ok" && what !== "lookup" && via.length === 0
  );
  const byReturn = [...answered].sort((a, b) => a.returnedAt - b.returnedAt);
  let at = 0;
  let known = 0;
  return answered.sort((a, b) => a.id - b.id).filter((call) => {
    for (; (byReturn[at]?.returnedAt ?? Infinity) < call.invokedAt; at++) {
      known = Math.max(known, (byReturn[at] as CallRecord).epoch);
    }
    return call.what === "append" && call.idempotencyKey === null && call.epoch === known;
  });
}

function checkCallOrder(calls: readonly CallRecord[], report: Report): void {
  calls.forEach((call, i) => {
    const before = calls[i - 1];
    if (!before || before.seq < call.seq) return;
    report(
      `${call.key}: ${call.caller} asked for ${before.value} (call ${before.id}) and then ` +
        `${call.value} (call ${call.id}), which got places ${before.seq} and ${call.seq}`,
    );
  });
}
