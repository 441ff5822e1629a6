/**
 * Verifies a round: compares the answers that clients got with the final state of the resources, by
 * the simulator's rules for histories and by some rules that need the stored epochs.
 */
import { HISTORY_CHECKERS } from "../sim/checkers/all.ts";
import type { HistoryChecker } from "../sim/checkers/checker.ts";
import type { CallRecord, Entry, History } from "../sim/engine/history.ts";
import { parseKey } from "../src/model/rrp.ts";
import type { EntryRow } from "./app.ts";
import type { NodeRun } from "./managed_node.ts";
import type { Report } from "./report.ts";

/** The number of entries that one call reads. */
const PAGE = 2_000;
const TIMEOUT_MS = 10_000;

/**
 * Reads the journals of `keys` and checks the calls against them.
 *
 * @param reported keys for which a node reported that acknowledged turns are lost: entries missing
 * there break no rule, and are given as `lost`.
 */
export async function verify(
  calls: readonly CallRecord[],
  keys: readonly string[],
  run: NodeRun,
  reported: ReadonlySet<string>,
  report: Report,
): Promise<History> {
  const journals = new Map<string, readonly Entry[]>();
  for (const key of keys) journals.set(key, await readJournal(run, key, report));
  const history: History = { calls, journals, lost: lostOf(calls, journals, reported) };
  for (const { name, check } of [...HISTORY_CHECKERS, written]) {
    check(history, (message) => report(name, message));
  }
  return history;
}

/** Acknowledged appends that are missing from keys for which a node reported losses, by key. */
function lostOf(
  calls: readonly CallRecord[],
  journals: ReadonlyMap<string, readonly Entry[]>,
  reported: ReadonlySet<string>,
): Map<string, Set<string>> {
  const lost = new Map<string, Set<string>>();
  for (const key of reported) {
    const there = new Set(journals.get(key)?.map(({ value }) => value));
    const gone = calls.filter((call) =>
      call.key === key && call.what === "append" && call.outcome === "ok" && !there.has(call.value)
    );
    // An entry that a read saw may be lost too, although its append was never acknowledged.
    lost.set(key, new Set(gone.map(({ value }) => value)));
  }
  return lost;
}

async function readJournal(run: NodeRun, key: string, report: Report): Promise<Entry[]> {
  const { type, id } = parseKey(key);
  const entries: Entry[] = [];
  for (;;) {
    const args = [entries.length, PAGE];
    const { result } = await run.atlas.call(type, id, "entries", args, {
      timeoutMs: TIMEOUT_MS,
    });
    const rows = result as EntryRow[];
    for (const [place, epoch, value] of rows) {
      if (place !== entries.length) {
        report("gapless", `${key} has ${value} at place ${place} after ${entries.length} entries`);
      }
      entries.push({ value, epoch });
    }
    if (rows.length < PAGE) return entries;
  }
}

/**
 * Epochs of a journal's entries never fall, and an entry was written under the epoch that
 * acknowledged it; or under an earlier one if its idempotency key was used again.
 */
const written: HistoryChecker = {
  name: "written",
  check({ calls, journals }, report) {
    for (const [key, entries] of journals) {
      entries.forEach(({ epoch, value }, n) => {
        const before = entries[n - 1]?.epoch ?? 0;
        if (epoch < before) {
          report(`${key}: entry ${n}, ${value}, is of epoch ${epoch}, after one of ${before}`);
        }
      });
    }
    for (const call of calls) {
      if (call.what !== "append" || call.outcome !== "ok") continue;
      const entry = journals.get(call.key)?.[call.seq];
      if (entry?.value !== call.value) continue;
      const isRight = call.idempotencyKey === null
        ? entry.epoch === call.epoch
        : entry.epoch <= call.epoch;
      if (!isRight) {
        report(`call ${call.id} was answered under epoch ${call.epoch}, kept under ${entry.epoch}`);
      }
    }
  },
};
