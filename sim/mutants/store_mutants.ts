/** Mutants of the store's steps: comparisons that a script leaves out. */
import type { Mutant } from "./mutant.ts";

const STATE = "adapters/store/store_state.ts";
const STORE = "sim/engine/store.ts";

export const STORE_MUTANTS: readonly Mutant[] = [
  {
    name: "no_compare_and_set",
    about: "A claim takes the key from any owner.",
    edits: [{
      file: STATE,
      find: "if (!isExpected) return",
      replace: "if (isExpected === null) return",
    }],
  },
  {
    name: "epoch_reused",
    about: "Epochs are counted in the key's entry, and restart after a release.",
    edits: [{
      file: STATE,
      find: "const epoch = nextEpoch(drawn, lineage?.term ?? 0, above);",
      replace: "const epoch = (present?.epoch ?? 0) + 1;",
    }],
  },
  {
    name: "kill_without_seq",
    about: "A member is killed although its heartbeat has moved since it was watched.",
    edits: [{
      file: STATE,
      find: "if (hasEnded(member.state) || member.seq !== seq) return member.state;",
      replace: "if (hasEnded(member.state)) return member.state;",
    }],
    scenario: "blind_kill",
  },
  {
    name: "restart_kills",
    about:
      "A node that starts ends the older incarnation of its name at once, though it may be alive.",
    edits: [{
      file: STATE,
      find: `for (const rival of rivals) this.#set({ ...rival, state: "superseded" });`,
      replace: `for (const rival of rivals) this.#end(rival, "dead");`,
    }],
  },
  {
    name: "no_superseded_mark",
    about: "A node that starts leaves the older incarnation of its name live: both continue.",
    edits: [{
      file: STATE,
      find: `for (const rival of rivals) this.#set({ ...rival, state: "superseded" });`,
      replace: "",
    }],
  },
  {
    name: "commit_without_fence",
    about: "A commit is applied whoever owns the key.",
    edits: [{
      file: STATE,
      find: `if (!this.#owns(key, incarnation, epoch)) return isMoved ? "moved" : "fenced";`,
      replace: "",
    }],
  },
  {
    name: "retried_commit_done_anew",
    about: "A repeated commit is taken for a new one, because its turn number is not compared.",
    // Ignoring only a claim's id would not be a mistake: a repeated claim finds that its own node
    // is the owner.
    edits: [{
      file: STATE,
      find: `if (last.epoch === epoch && turn <= last.turn) return "committed";`,
      replace: "",
    }],
  },
  {
    name: "plain_get_to_confirm",
    about: "A confirming lookup is a plain GET, which a replica answers, not a script on the " +
      "primary.",
    edits: [{
      file: STORE,
      find: "const { lagMs, readsFromReplica = false, isConfirmed = false } = parts.shape;",
      replace: "const { lagMs, readsFromReplica = true, isConfirmed = false } = parts.shape;",
    }],
  },
  {
    name: "refused_is_undone",
    about:
      "A turn that the store refuses is dropped, even where an earlier attempt may still be applied.",
    edits: [{
      file: "src/resource/turn_commit.ts",
      find: "if (refusal === null) isInDoubt = true;",
      replace: "void isInDoubt;",
    }],
  },
  {
    name: "full_renews_nothing",
    about: "A full store refuses renewals, too.",
    edits: [{
      file: "sim/engine/store_refusals.ts",
      find: 'if (step.name !== "commit") return false;',
      replace: 'if (step.name !== "commit") return step.name === "renew";',
    }],
    scenario: "full_for_long",
  },
];
