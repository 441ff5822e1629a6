/**
 * Rules on losses of the store:
 *
 * - `losses`: losses of a failover are reported by the processes that knew of the lost entries.
 * - `parts`: the loss of one part of a resource is reported, and `list` agrees with `get`.
 */
import type { StoreState } from "../../adapters/store/store_state.ts";
import type { CommitReply } from "../../src/ports/store.ts";
import { JOURNALS, readJournal, valueIn } from "../engine/journal_app.ts";
import type { LiveChecker } from "./checker.ts";

/** An entry that a failover lost. */
interface Loss {
  readonly key: string;
  readonly value: string;
  readonly at: number;
}

/**
 * Rule: losses of a failover are reported. If a promoted replica lacks acknowledged entries, every
 * process that knew of their commits and still runs at the end reports it, whether it owns the key,
 * has released it, or its lease has lapsed.
 *
 * Source: docs/design.md, Store failover.
 */
export const losses: LiveChecker = {
  name: "losses",
  watch({ plan: { shape: { store: { isConfirmed } } }, keys }, report) {
    // With confirmation by replicas no acknowledged entry may be missing.
    if (isConfirmed) return {};
    const living = new Set<string>();
    const acknowledged = new Set<string>();
    /** Processes that received the reply for an entry's commit, by its value. */
    const heardBy = new Map<string, Set<string>>();
    /** When a process last reported a loss, by process and key. */
    const toldAt = new Map<string, number>();
    let lost: Loss[] = [];
    let present: StoreState | null = null;
    // A commit whose reply was lost is repeated, and then applied by the copy.
    const leaveOutRepeated = (): void => {
      const copy = present;
      if (!copy) return;
      lost = lost.filter(({ key, value }) =>
        readJournal(copy, key).every((entry) => entry.value !== value)
      );
    };
    return {
      failedOver(former, promoted, at) {
        leaveOutRepeated();
        present = promoted;
        for (const key of keys().filter((key) => key.startsWith(`${JOURNALS}/`))) {
          const kept = new Set(readJournal(promoted, key).map(({ value }) => value));
          for (const { value } of readJournal(former, key)) {
            if (!kept.has(value)) lost.push({ key, value, at });
          }
        }
      },
      replyReceived(step, reply) {
        if (step.name !== "commit" || reply as CommitReply !== "committed") return;
        for (const put of step.args[0].puts) {
          const value = valueIn(put);
          if (value === null) continue;
          const processes = heardBy.get(value) ?? new Set();
          heardBy.set(value, processes.add(step.process));
        }
      },
      eventLogged(process, { event, fields }, at) {
        if (event === "state lost") toldAt.set(`${process} ${fields["key"]}`, at);
      },
      process(id, isAlive) {
        if (isAlive) living.add(id);
        else living.delete(id);
      },
      returned({ what, outcome, value }) {
        if (what === "append" && outcome === "ok") acknowledged.add(value);
      },
      finished() {
        leaveOutRepeated();
        for (const { key, value, at } of lost) {
          if (!acknowledged.has(value)) continue;
          for (const process of heardBy.get(value) ?? []) {
            if (!living.has(process) || (toldAt.get(`${process} ${key}`) ?? 0) >= at) continue;
            report(`${key} lost ${value} at ${at.toFixed(3)}, and ${process} never said so`);
          }
        }
      },
    };
  },
};

/**
 * Rule: if one part of a resource is lost while its others exist, `list` names what `get` gives,
 * and a lost state is reported by its owner or by the key's next owner.
 *
 * Source: the port `Store`; docs/design.md, State.
 */
export const parts: LiveChecker = {
  name: "parts",
  watch(_context, report) {
    const acknowledged = new Set<string>();
    const lost: {
      readonly key: string;
      readonly values: readonly string[];
      readonly at: number;
    }[] = [];
    /** When the loss of each key's state was last reported. */
    const toldAt = new Map<string, number>();
    return {
      failedOver() {
        // The lost registry also held the data that would have shown the loss.
        lost.length = 0;
      },
      stateLost(key, fields, at) {
        const values = fields.map(valueIn).filter((value) => value !== null);
        lost.push({ key, values, at });
      },
      eventLogged(_process, { event, fields }, at) {
        if (event === "state lost") toldAt.set(String(fields["key"]), at);
      },
      returned({ what, outcome, value, key, seq }) {
        if (what === "append" && outcome === "ok") acknowledged.add(value);
        if (what === "read" && outcome === "ok" && seq < 0) {
          report(`${key} has another number of entries by list than by get`);
        }
      },
      finished() {
        for (const { key, values, at } of lost) {
          const isMissed = values.some((value) => acknowledged.has(value));
          if (!isMissed || (toldAt.get(key) ?? -Infinity) >= at) continue;
          report(`${key} lost its state at ${at.toFixed(3)}, and nobody ever said so`);
        }
      },
    };
  },
};
