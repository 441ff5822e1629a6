/**
 * Mutants of operating without the store: answers that lack the offline mark, and lost writes.
 * Source: docs/design.md, Continuing without the store.
 */
import type { Mutant } from "./mutant.ts";

const OFFLINE_LOG = "src/resource/offline_log.ts";
const RECONCILIATION = "src/resource/reconciliation.ts";

const RECONCILIATION_EDITS: readonly Omit<Mutant, "world">[] = [
  {
    name: "no_offline_mark",
    about: "Answers that were given without the store lack the offline mark.",
    edits: [{
      file: "src/resource/activation.ts",
      find: "call.succeed(encoded, this, this.offline?.answered() ?? null);",
      replace: "call.succeed(encoded, this, this.offline?.answered() ? null : null);",
    }],
  },
  {
    name: "offline_mark_lost",
    about: "The offline mark doesn't travel from the owner's node to the caller's.",
    edits: [{
      file: "src/routing/router.ts",
      find: "call.answered(reply.body, owner as Ownership, path, reply.mark);",
      replace: "call.answered(reply.body, owner as Ownership, path, null);",
    }],
  },
  {
    name: "blind_reconciliation",
    about: "Logged turns are committed without checking that the state has not changed.",
    edits: [{
      file: OFFLINE_LOG,
      find: "if (isSame(left, found)) return true;",
      replace: "if (isSame(left, found) || found.epoch >= 0) return true;",
    }],
  },
  {
    name: "no_conflict",
    about: "The loser of a conflict stops without `onConflict`.",
    edits: [{
      file: RECONCILIATION,
      find: "const finalHooks = activation.abandon(Promise.resolve(winner));",
      replace: "const finalHooks = activation.abandon(winner ? null : null);",
    }],
  },
  {
    name: "offline_log_dropped",
    about: "A node that owns the key again drops its offline log.",
    edits: [{
      file: RECONCILIATION,
      find: "const turns = offline.turns;",
      replace: "const turns = offline.clear();",
    }],
  },
  {
    name: "silent_conflict",
    about: "No loser of a conflict is considered to have given answers.",
    edits: [{
      file: OFFLINE_LOG,
      find: "return this.#hasAnswered || this.#turns.length > 0;",
      replace: "return this.#hasAnswered && this.#turns.length > 1e6;",
    }],
  },
  {
    name: "claims_from_the_living",
    about: "A node without the store claims a name whose owner it could dial.",
    edits: [{
      file: "src/routing/locator.ts",
      find: "return { session: await this.#dial(member, key), relay: false, owner };\n    } catch",
      replace: "return null;\n    } catch",
    }],
  },
  {
    name: "closes_links_of_the_dead",
    about: "Links of a member that the registry reports dead are closed though it answers.",
    edits: [{
      file: "src/links/link_monitor.ts",
      find: "const DEAD_PING_TIMEOUT_MS = 1_000;",
      replace: "const DEAD_PING_TIMEOUT_MS = 0;",
    }],
  },
  {
    name: "late_reconciliation",
    scenario: "late_reconciliation",
    about: "An incarnation whose lease lapsed becomes the owner when the last of its logged " +
      "turns is committed.",
    edits: [{
      file: RECONCILIATION,
      find: "    if (!this.#isDue(activation, life)) return;\n    this.#remove(activation.key);",
      replace: "    this.#remove(activation.key);",
    }],
  },
  {
    name: "no_reconciliation",
    about: "A resource that is offline stays so when the store is back.",
    edits: [{
      file: RECONCILIATION,
      find: "for (const activation of waiting) await this.#reconcile(activation, life);",
      replace: "for (const activation of waiting) await this.#isDue(activation, life);",
    }],
  },
];

export const OFFLINE_MUTANTS: readonly Mutant[] = RECONCILIATION_EDITS.map((mutant) => ({
  ...mutant,
  world: "offline",
}));
