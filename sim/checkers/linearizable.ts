/**
 * Rule: the appends and reads of each key are linearizable.
 *
 * No search is needed, because each answer names a position in the journal: entry n takes effect
 * before entry n + 1, so entry n can't have returned before entry n − 1 was called. A read of n
 * entries lies after entry n − 1 and before entry n.
 *
 * Source: Herlihy and Wing, "Linearizability" (1990); Gibbons and Korach, "Testing Shared Memories"
 * (1997), for why unique positions make it linear in time.
 */
import type { CallRecord } from "../engine/history.ts";
import type { HistoryChecker, Report } from "./checker.ts";

export const linearizable: HistoryChecker = {
  name: "linearizable",
  check(history, report) {
    for (const [key, entries] of history.journals) {
      // A journal that lost entries has two histories, and can't be ordered as one.
      if (history.lost?.has(key)) continue;
      const calls = history.calls.filter((call) => call.key === key && call.what !== "lookup");
      checkKey(key, entries.map(({ value }) => value), calls, report);
    }
  },
};

function checkKey(
  key: string,
  values: readonly string[],
  calls: readonly CallRecord[],
  report: Report,
): void {
  const { invoked, returned } = intervals(values, calls);
  // The latest time by which entry n and all before it were present.
  const latest = returned.slice();
  for (let n = latest.length - 2; n >= 0; n--) {
    latest[n] = Math.min(latest[n] as number, latest[n + 1] as number);
  }
  for (let n = 1; n < values.length; n++) {
    const later = latest[n] as number;
    if (later < (invoked[n - 1] as number)) {
      report(`${key}: entry ${n - 1}, ${values[n - 1]}, was called after a later one had returned`);
    }
  }
  // The earliest time at which entry n can have been present.
  const earliest = invoked.slice();
  for (let n = 1; n < earliest.length; n++) {
    earliest[n] = Math.max(earliest[n] as number, earliest[n - 1] as number);
  }
  for (const read of calls) {
    if (read.what !== "read" || read.outcome !== "ok") continue;
    const after = read.seq === 0 ? -Infinity : earliest[read.seq - 1];
    if (after === undefined || after > read.returnedAt) {
      report(`${key}: read ${read.id} saw ${read.seq} entries before there were as many`);
    }
    const before = latest[read.seq] ?? Infinity;
    if (before < read.invokedAt) {
      report(
        `${key}: read ${read.id} through ${read.process} saw ${read.seq} entries, but entry ` +
          `${read.seq}, ${values[read.seq]}, was acknowledged before it was called`,
      );
    }
  }
  checkReadOrder(key, calls, report);
}

/** A read that began after another had returned sees no less. */
function checkReadOrder(key: string, calls: readonly CallRecord[], report: Report): void {
  const reads = calls.filter((call): boolean => call.what === "read" && call.outcome === "ok");
  const byReturn = [...reads].sort((a, b) => a.returnedAt - b.returnedAt);
  let at = 0;
  let most = 0;
  for (const read of reads.sort((a, b) => a.invokedAt - b.invokedAt)) {
    for (; (byReturn[at]?.returnedAt ?? Infinity) < read.invokedAt; at++) {
      most = Math.max(most, (byReturn[at] as CallRecord).seq);
    }
    if (read.seq < most) report(`${key}: read ${read.id} saw ${read.seq} entries, after ${most}`);
  }
}

/** When each entry's first call was made, and when one first returned with it. */
function intervals(
  values: readonly string[],
  calls: readonly CallRecord[],
): { invoked: number[]; returned: number[] } {
  const places = new Map(values.map((value, n) => [value, n]));
  const invoked = values.map(() => Infinity);
  const returned = values.map(() => Infinity);
  for (const call of calls) {
    const n = call.what === "append" ? places.get(call.value) : undefined;
    if (n === undefined) continue;
    invoked[n] = Math.min(invoked[n] as number, call.invokedAt);
    if (call.outcome === "ok") returned[n] = Math.min(returned[n] as number, call.returnedAt);
  }
  return { invoked, returned };
}
