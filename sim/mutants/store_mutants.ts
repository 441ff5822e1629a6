/**
 * Mistakes in the store's steps, which are half of the protocol: what a script forgets to
 * compare, nobody else can.
 */
import type { Mutant } from "./mutant.ts";

const STATE = "sim/store_state.ts";

export const STORE_MUTANTS: readonly Mutant[] = [
  {
    name: "no_compare_and_set",
    about: "A claim takes the key from whoever owns it.",
    edits: [{
      file: STATE,
      find: "if (!isExpected) return",
      replace: "if (isExpected === null) return",
    }],
  },
  {
    name: "epoch_reused",
    about: "Epochs are counted in the key's own entry, and begin anew once it was released.",
    edits: [{
      file: STATE,
      find: "const epoch = nextEpoch(this.#epochs.get(slot) ?? 0, lineage?.term ?? 0, above);",
      replace: "const epoch = (present?.epoch ?? 0) + 1;",
    }],
  },
  {
    name: "kill_without_seq",
    about: "A member is killed although its heartbeat has moved since it was watched.",
    edits: [{
      file: STATE,
      find: "if (isDead(member.state) || member.seq !== seq) return member.state;",
      replace: "if (isDead(member.state)) return member.state;",
    }],
    scenario: "blind_kill",
  },
  {
    name: "restart_kills",
    about: "A node that starts ends the older incarnation of its name at once, which may live.",
    edits: [{
      file: STATE,
      find: `for (const rival of rivals) this.#set({ ...rival, state: "superseded" });`,
      replace: `for (const rival of rivals) this.#end(rival, "dead");`,
    }],
  },
  {
    name: "no_superseded_mark",
    about: "A node that starts leaves the older incarnation of its name live: both go on.",
    edits: [{
      file: STATE,
      find: `for (const rival of rivals) this.#set({ ...rival, state: "superseded" });`,
      replace: "",
    }],
  },
  {
    name: "commit_without_fence",
    about: "A commit is done whoever owns the key.",
    edits: [{
      file: STATE,
      find: `if (!this.#owns(key, incarnation, epoch)) return isMoved ? "moved" : "fenced";`,
      replace: "",
    }],
  },
];
