/**
 * Mutants of operating without the store: answers that lack the offline mark, and lost writes.
 * Source: docs/design.md, Going on without the store.
 */
import type { Mutant } from "./mutant.ts";

const OFFLINE_LOG = "src/resource/offline_log.ts";
const RECONCILIATION = "src/resource/reconciliation.ts";

const RECONCILIATION_EDITS: readonly Omit<Mutant, "world">[] = [
  {
    name: "no_mark",
    about: "Answers that were given without the store look like any other.",
    edits: [{
      file: "src/resource/activation.ts",
      find: "call.succeed(encoded, this.owner, this.offline?.answered() ?? null);",
      replace: "call.succeed(encoded, this.owner, this.offline?.answered() ? null : null);",
    }],
  },
  {
    name: "mark_lost_on_the_way",
    about: "A mark doesn't get from the owner's node to the caller's.",
    edits: [{
      file: "src/routing/router.ts",
      find: "call.answered(reply.body, owner, path, reply.mark ?? null);",
      replace: "call.answered(reply.body, owner, path, null);",
    }],
  },
  {
    name: "blind_landing",
    about: "Kept turns are committed without asking whether the state is where it was left.",
    edits: [{
      file: OFFLINE_LOG,
      find: "if (isSame(left, found)) return true;",
      replace: "if (isSame(left, found) || found.epoch >= 0) return true;",
    }],
  },
  {
    name: "no_conflict",
    about: "A loser stops without hearing of its winner.",
    edits: [{
      file: RECONCILIATION,
      find: "const finalHooks = activation.abandon(Promise.resolve(winner));",
      replace: "const finalHooks = activation.abandon(winner ? null : null);",
    }],
  },
  {
    name: "kept_forgotten",
    about: "Who is an owner again throws away what it had kept.",
    edits: [{
      file: RECONCILIATION,
      find: "const turns = offline.turns;",
      replace: "const turns = offline.clear();",
    }],
  },
  {
    name: "silent_conflict",
    about: "No loser is taken for one that had told anybody anything.",
    edits: [{
      file: OFFLINE_LOG,
      find: "return this.#hasAnswered || this.#turns.length > 0;",
      replace: "return this.#hasAnswered && this.#turns.length > 1e6;",
    }],
  },
  {
    name: "forks_from_the_living",
    about: "A node without the store takes a name whose owner it could dial.",
    edits: [{
      file: "src/routing/locator.ts",
      find: "return { session: await this.#dial(member, key), relay: false, owner };\n    } catch",
      replace: "return null;\n    } catch",
    }],
  },
  {
    name: "closes_links_of_the_dead",
    about: "Links of a member that is dead by the registry's word are closed though it answers.",
    edits: [{
      file: "src/links/link_monitor.ts",
      find: "const DEAD_PING_TIMEOUT_MS = 1_000;",
      replace: "const DEAD_PING_TIMEOUT_MS = 0;",
    }],
  },
  {
    name: "late_landing",
    scenario: "late_landing",
    about: "Kept turns whose last commit is answered after the lease lapsed make an owner of a " +
      "life that is over.",
    edits: [{
      file: RECONCILIATION,
      find: "    if (!this.#isDue(activation, life)) return;\n    this.#remove(activation.key);",
      replace: "    this.#remove(activation.key);",
    }],
  },
  {
    name: "no_landing",
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
