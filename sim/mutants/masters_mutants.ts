/**
 * Mutants of race resolution with several masters: masters that don't wait for replication, or hide
 * what it brought. Source: docs/design.md, Several masters.
 */
import type { Mutant } from "./mutant.ts";

const STORE = "adapters/store/optimistic/store.ts";
const MASTER = "adapters/store/optimistic/master.ts";
const MASTER_STATE = "sim/engine/master_state.ts";

const RESOLUTION: readonly Omit<Mutant, "world">[] = [
  {
    name: "no_bound",
    about: "A claim is confirmed at once, without waiting for rivals' claims to arrive.",
    edits: [{
      file: STORE,
      find: "if (hasRivals) await this.#parts.pause(BOUNDS * boundMs);",
      replace: "",
    }],
  },
  {
    name: "one_bound",
    about: "A claim waits one bound: enough for its own claim to be seen, not for a later one.",
    edits: [{ file: STORE, find: "const BOUNDS = 2;", replace: "const BOUNDS = 1;" }],
  },
  {
    name: "no_withdrawal",
    about: "A claim that lost leaves its claim.",
    edits: [{
      file: STORE,
      find: "await this.#master.withdraw(claim.key, claim.incarnation, own.epoch);",
      replace: "",
    }],
  },
  {
    name: "contest_hidden",
    about: "A lookup tells the greatest claim only, as if it were alone.",
    edits: [{
      file: MASTER,
      find: "return rivals.length === 0 ? owner :",
      replace: "return rivals.length >= 0 ? owner :",
    }],
  },
  {
    name: "looked_up_in_memory",
    about: "A plain lookup is answered from the node's memory, as on stores that have one owner.",
    edits: [{
      file: "src/registry/directory.ts",
      find: "const isOne = this.#store.recheckMs === undefined;",
      replace: "const isOne = this.#store.recheckMs !== null;",
    }],
  },
  {
    name: "no_recheck",
    about: "An owner never looks whether a greater claim came.",
    edits: [{
      file: "src/resource/conflicts.ts",
      find: "if (recheckMs === undefined || this.#isWatching) return;",
      replace: "if (recheckMs !== null) return;",
    }],
  },
  {
    name: "shared_epochs",
    about: "Masters draw epochs from the same numbers: two blind claims get the same one.",
    edits: [{
      file: MASTER_STATE,
      find: "const epoch = after + (this.#own - after % count + count) % count;",
      replace: "const epoch = after;",
    }],
  },
  {
    name: "rival_rises",
    about: "When an owner goes, a lower claim that it had won over becomes the owner's.",
    edits: [{
      file: MASTER_STATE,
      find: ".some((claim) => wasOwner || supersedes(mine, claim));",
      replace: ".some((claim) => supersedes(mine, claim));",
    }],
    scenario: "late_second_look",
  },
  {
    name: "blind_settling",
    about: "A claim is said to be made in view of others that its master never saw.",
    edits: [{
      file: MASTER_STATE,
      find: "return new Map(others.map(({ master, epoch }) => [master, epoch]));",
      replace: "return new Map([...others.map(({ master, epoch }) => [master, epoch] as const), " +
        '["m0", 1e9] as const, ["m1", 1e9] as const]);',
    }],
  },
];

export const MASTERS_MUTANTS: readonly Mutant[] = RESOLUTION
  .map((mutant) => ({ ...mutant, world: "masters" }));
