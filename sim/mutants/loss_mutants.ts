/** Mutants of lost state: the store lost a part of a resource, or everything. */
import type { Mutant } from "./mutant.ts";

const PARTS = "adapters/store/state_parts.ts";

export const LOSS_MUTANTS: readonly Mutant[] = [
  {
    name: "index_believed",
    about: "A listing is made from the index alone, whether or not the state has as many fields.",
    edits: [{
      file: PARTS,
      find: "if (this.#indexed(key) === (fields?.size ?? 0)) return;",
      replace: "if (this.#indexed(key) >= 0) return;",
    }],
  },
  {
    name: "lost_state_untold",
    about:
      "Who claims a key whose state is gone, and whose index is there, begins anew in silence.",
    edits: [{
      file: "src/resource/host.ts",
      find:
        "if (!this.#formerOwnerships.returned(key, last) && isStateLost) tellLostState(this, key, owner);",
      replace: "void isStateLost, tellLostState;",
    }],
  },
  {
    name: "read_without_after",
    about: "An owner's read is answered though the state lacks turns that it knows of.",
    edits: [{
      file: PARTS,
      find: "if (knows && !hasTurn(last, knows.after)) throw",
      replace: "if (knows === undefined && !hasTurn(last, NO_STAMP)) throw",
    }],
  },
  {
    name: "release_hides_loss",
    about: "A release removes what shows that a state was lost, though its owner doesn't know.",
    edits: [{
      file: PARTS,
      find: "if (after?.epoch === 0) this.#indexes.delete(key);",
      replace: "this.#indexes.delete(key);",
    }, {
      file: "src/resource/host.ts",
      find: "this.#formerOwnerships.returned(key, last)",
      replace: "false",
    }],
  },
  {
    name: "lost_counter_repeats",
    about: "An epoch is drawn from the counter alone, which may have been lost.",
    edits: [{
      file: "adapters/store/store_state.ts",
      find: "const drawn = Math.max(slot.epoch ?? 0, used);",
      replace: "const drawn = slot.epoch ?? used * 0;",
    }],
  },
  {
    name: "empty_registry_is_new",
    about: "An empty registry is taken for a new one, also by who has met another before.",
    edits: [{
      file: "adapters/store/lineage.ts",
      find: "const term = known === null ? 0 : known.term + 1;\n" +
        "    return { id, term, settled: known === null && !hasReplicas };",
      replace: "return { id, term: 0, settled: !hasReplicas };",
    }],
  },
];
