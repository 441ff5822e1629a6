/**
 * What a failover lost is reported: where a promoted replica lacks entries that had been
 * acknowledged, the owner that knew of them says so, unless it died, was fenced, or let
 * go of the key before it could know. One that never heard that it is the owner knows of
 * nothing.
 *
 * Source: design §3, what can honestly be promised.
 */
import type { Ownership } from "../../src/model/ownership.ts";
import type { ClaimReply } from "../../src/ports/store.ts";
import { JOURNALS, readJournal } from "../journal.ts";
import type { LiveChecker } from "./checker.ts";

/** A report that is owed. */
interface Debt {
  readonly key: string;
  readonly values: ReadonlySet<string>;
  readonly owner: Ownership;
  readonly at: number;
}

export const losses: LiveChecker = {
  name: "losses",
  watch({ plan: { shape: { store: { lagMs, isConfirmed } } }, ground, keys }, report) {
    // With confirmation nothing that was acknowledged may be missing at all.
    if (lagMs === undefined || isConfirmed) return {};
    const lives = new Map<string, string>();
    /** Processes and incarnations that are over: they can't say anything any more. */
    const over = new Set<string>();
    const isOver = (incarnation: string): boolean =>
      over.has(incarnation) || over.has(lives.get(incarnation) ?? "");
    /** Claims whose owners heard that they had won. */
    const heard = new Set<string>();
    const tenure = (key: string, { incarnation, epoch }: Ownership): string =>
      `${key} ${incarnation} ${epoch}`;
    const acknowledged = new Set<string>();
    let debts: Debt[] = [];
    const settle = (is: (debt: Debt) => boolean): void => {
      debts = debts.filter((debt) => !is(debt));
    };
    return {
      failedOver(former, promoted, at) {
        for (const key of keys().filter((key) => key.startsWith(`${JOURNALS}/`))) {
          const owner = ground.owner(key);
          const kept = new Set(readJournal(promoted, key).map(({ value }) => value));
          const gone = readJournal(former, key).filter(({ value }) => !kept.has(value));
          if (owner === null || isOver(owner.incarnation) || gone.length === 0) continue;
          const values = new Set(gone.map(({ value }) => value));
          debts.push({ key, values, owner, at });
        }
      },
      asked(step) {
        if (step.name === "register") lives.set(step.args[0].incarnation, step.process);
        else if (step.name === "release") {
          const [key, incarnation] = step.args;
          settle((debt) => debt.key === key && debt.owner.incarnation === incarnation);
        }
      },
      heard(step, reply) {
        if (step.name !== "claim") return;
        const { won, owner } = reply as ClaimReply;
        if (won && owner !== null) heard.add(tenure(step.args[0].key, owner));
      },
      told(_process, { event, fields }) {
        if (event === "state lost") settle(({ key }) => key === fields["key"]);
        else if (event === "lease lapsed") {
          over.add(String(fields["incarnation"]));
          settle(({ owner }) => isOver(owner.incarnation));
        }
      },
      process(id, isAlive) {
        if (isAlive) return;
        over.add(id);
        settle(({ owner }) => isOver(owner.incarnation));
      },
      returned({ what, outcome, value }) {
        if (what === "append" && outcome === "ok") acknowledged.add(value);
      },
      finished() {
        for (const { key, values, owner, at } of debts) {
          if (!heard.has(tenure(key, owner))) continue;
          const missing = [...values].filter((value) => acknowledged.has(value));
          if (missing.length === 0) continue;
          report(
            `${key} lost ${missing} at ${at.toFixed(3)}, and ${owner.incarnation} never said so`,
          );
        }
      },
    };
  },
};
