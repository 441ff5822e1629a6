/**
 * Mutants of store failover: what owners and claimers fail to check after a replica was promoted.
 */
import type { Mutant } from "./mutant.ts";

const LINEAGE = "src/registry/lineage.ts";
const MEMBERSHIP = "src/registry/membership.ts";
const STATE = "adapters/store/store_state.ts";
const REPLICAS = "adapters/store/redis/replicas.ts";

export const FAILOVER_MUTANTS: readonly Mutant[] = [
  {
    name: "no_quarantine",
    about: "A claim is made at once in a lineage that is not settled.",
    edits: [{
      file: LINEAGE,
      find: "return this.#present !== null && (this.#isSettled || this.#hasWaited());",
      replace: "return this.#present !== null;",
    }],
    scenario: "hasty_claim",
  },
  {
    name: "no_reassertion",
    about: "Owners don't reassert their keys to a promoted replica, and continue.",
    edits: [{
      file: "src/node/node.ts",
      find: "holder: () => this.#host,",
      replace: "holder: () => ({\n" +
        "        reassert: () => Promise.resolve(true),\n" +
        "        failedOver: () => {},\n" +
        "        overtaken: () => {},\n" +
        "      }),",
    }],
  },
  {
    name: "lease_before_asserting",
    about: "Renewals count in a new lineage before the owner has reasserted its keys.",
    edits: [{
      file: MEMBERSHIP,
      find: "if (this.lineages.hasAsserted(life) && !life.lease.confirm(sent)) return;",
      replace: "if (!life.lease.confirm(sent)) return;",
    }],
    scenario: "slow_reassertion",
  },
  {
    name: "claim_in_any_lineage",
    about: "A claim that was sent in one lineage is applied in another.",
    edits: [
      {
        file: STATE,
        find: "if (lineage && lineage.id !== this.id)",
        replace: "if (lineage && lineage.id === null)",
      },
      {
        file: "src/registry/claims.ts",
        find: "return this.#membership.lineages.stands(lineage);",
        replace: "return lineage !== null;",
      },
    ],
  },
  {
    name: "term_not_raised",
    about: "Epochs of a new lineage continue from the replica's counter.",
    edits: [{
      file: "adapters/store/lineage.ts",
      find: "return Math.max(last, above, term * EPOCHS_PER_TERM) + 1;",
      replace: "return Math.max(last, above, term * 0) + 1;",
    }],
  },
  {
    name: "commit_without_after",
    about: "A commit is applied though the state lacks turns that its owner knows of.",
    edits: [{
      file: STATE,
      find: `if (!hasTurn(last, after)) return isMoved ? "moved" : { lost: last };`,
      replace: "void hasTurn, after;",
    }],
  },
  {
    name: "any_replica_confirms",
    about: "A step counts once the required number of replicas have it, whichever they are.",
    edits: [{
      file: REPLICAS,
      find: "return group.present >= least && step.copied >= group.present;",
      replace: "return group.present >= least && step.copied >= least;",
    }],
  },
  {
    name: "replaced_primary_confirms",
    about: "A step counts at a primary though it has been replaced.",
    edits: [{
      file: REPLICAS,
      find: "if (group.primary !== step.primary) return false;",
      replace: "",
    }],
  },
  {
    name: "absent_by_an_old_look",
    about: "A replica is not waited for because it was down before the step.",
    edits: [{
      file: REPLICAS,
      find: "if (group.hasAbsent && group.askedAt < step.doneAt) return false;",
      replace: "",
    }],
    scenario: "back_and_promoted",
  },
  {
    name: "released_is_forgotten",
    about: "Turns that were committed under an ended ownership are not checked after a failover.",
    edits: [{
      file: "src/resource/host.ts",
      find: "this.#formerOwnerships.add(activation);",
      replace: "",
    }],
    scenario: "released_and_lost",
  },
  {
    name: "later_turn_covers_all",
    about: "A state with a later turn of a higher term is assumed to have all earlier ones.",
    edits: [{
      file: "adapters/store/lineage.ts",
      find: "return past.find((_, i) => termOf(past[i + 1] ?? last) > term) ?? last;",
      replace: "return past.length === 0 || term >= 0 ? last : last;",
    }],
    scenario: "lost_and_written_over",
  },
];

const PARTS = "adapters/store/state_parts.ts";

export const LOSS_MUTANTS: readonly Mutant[] = [
  {
    name: "index_believed",
    about: "A listing uses the index alone, without comparing it with the state.",
    edits: [{
      file: PARTS,
      find: "if (this.#indexed(key) === (fields?.size ?? 0)) return;",
      replace: "if (this.#indexed(key) >= 0) return;",
    }],
  },
  {
    name: "lost_state_untold",
    about: "A claim of a key whose state is lost, while its index exists, doesn't report the loss.",
    edits: [{
      file: "src/resource/host.ts",
      find:
        "if (!this.#formerOwnerships.returned(key, last) && isStateLost) tellLostState(this, key, owner);",
      replace: "void isStateLost, tellLostState;",
    }],
  },
  {
    name: "read_without_after",
    about: "A read is answered though the state lacks turns that its owner knows of.",
    edits: [{
      file: PARTS,
      find: "if (knows && !hasTurn(last, knows.after)) throw",
      replace: "if (knows === undefined && !hasTurn(last, NO_STAMP)) throw",
    }],
  },
  {
    name: "release_hides_loss",
    about: "A release removes the evidence that a state was lost, before its owner has noticed.",
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
    about: "An epoch comes from the counter alone, which may have been lost.",
    edits: [{
      file: "adapters/store/store_state.ts",
      find: "const drawn = Math.max(slot.epoch ?? 0, used);",
      replace: "const drawn = slot.epoch ?? used * 0;",
    }],
  },
  {
    name: "empty_registry_is_new",
    about: "A node that has used another registry takes an empty one for new.",
    edits: [{
      file: "adapters/store/lineage.ts",
      find: "const term = known === null ? 0 : known.term + 1;\n" +
        "    return { id, term, settled: known === null && !hasReplicas };",
      replace: "return { id, term: 0, settled: !hasReplicas };",
    }],
  },
];
