/**
 * Rule: an acknowledged call is in the state exactly once, at the position that it was told; a call
 * that failed as not executed is not there; any other is there at most once; and nothing else is
 * there. Losses of a store failover are another checker's.
 */
import type { CallRecord } from "../engine/history.ts";
import type { HistoryChecker } from "./checker.ts";

export const once: HistoryChecker = {
  name: "once",
  check({ calls, journals, lost }, report) {
    const appended = new Set(calls.filter(({ what }) => what === "append").map((it) => it.value));
    const places = new Map<string, Map<string, number[]>>();
    for (const [key, entries] of journals) {
      const ofKey = new Map<string, number[]>();
      entries.forEach(({ value }, seq) => {
        const seqs = ofKey.get(value);
        if (seqs) seqs.push(seq);
        else ofKey.set(value, [seq]);
      });
      places.set(key, ofKey);
      for (const [value, seqs] of ofKey) {
        if (!appended.has(value)) report(`${value} is in ${key} at ${seqs}: no call appended it`);
        if (seqs.length > 1) report(`${value} is in ${key} ${seqs.length} times: at ${seqs}`);
      }
    }
    const executed = new Set(calls.filter(mayBeExecuted).map(({ value }) => value));
    for (const call of calls) {
      if (call.what !== "append") continue;
      const seqs = places.get(call.key)?.get(call.value) ?? [];
      const wasLost = lost?.get(call.key)?.has(call.value) ?? false;
      if (call.outcome === "ok" && !seqs.includes(call.seq) && !wasLost) {
        report(`${describe(call)} was acknowledged at place ${call.seq}, and is at ${seqs}`);
      }
      if (seqs.length > 0 && !executed.has(call.value)) {
        report(`${describe(call)} was said not to be executed (${call.code}), and is at ${seqs}`);
      }
    }
  },
};

function mayBeExecuted(call: CallRecord): boolean {
  return call.outcome !== "fail";
}

function describe(call: CallRecord): string {
  return `call ${call.id}, ${call.value} to ${call.key} through ${call.process},`;
}
