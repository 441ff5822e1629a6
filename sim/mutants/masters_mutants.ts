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
    about: "A claim waits for one bound: enough for it to be seen, not to see a later one.",
    edits: [{ file: STORE, find: "const BOUNDS = 2;", replace: "const BOUNDS = 1;" }],
  },
  {
    name: "no_withdrawal",
    about: "A claim that lost leaves its entry.",
    edits: [{
      file: STORE,
      find: "await this.#master.withdraw(claim.key, claim.incarnation, own.epoch);",
      replace: "",
    }],
  },
  {
    name: "contest_hidden",
    about: "A lookup reports the greatest claim only, not the conflicting ones.",
    edits: [{
      file: MASTER,
      find: "return rivals.length === 0 ? owner :",
      replace: "return rivals.length >= 0 ? owner :",
    }],
  },
  {
    name: "looked_up_in_memory",
    about: "A plain lookup is answered from the node's memory, as on stores without conflicts.",
    edits: [{
      file: "src/registry/directory.ts",
      find: "const isOne = this.#store.recheckMs === undefined;",
      replace: "const isOne = this.#store.recheckMs !== null;",
    }],
  },
  {
    name: "no_recheck",
    about: "An owner never checks whether a greater claim arrived.",
    edits: [{
      file: "src/resource/conflicts.ts",
      find: "if (recheckMs === undefined || this.#isWatching) return;",
      replace: "if (recheckMs !== null) return;",
    }],
  },
  {
    name: "shared_epochs",
    about: "Masters draw epochs from the same numbers: two conflicting claims get the same epoch.",
    edits: [{
      file: MASTER_STATE,
      find: "const epoch = after + (this.#own - after % count + count) % count;",
      replace: "const epoch = after;",
    }],
  },
  {
    name: "rival_rises",
    about: "When an owner releases, a lower claim that it had beaten becomes the owner.",
    edits: [{
      file: MASTER_STATE,
      find: ".some((claim) => wasOwner || supersedes(mine, claim));",
      replace: ".some((claim) => supersedes(mine, claim));",
    }],
    scenario: "late_second_look",
  },
  {
    name: "blind_settling",
    about: "A claim says that it has seen others that its master never received.",
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
