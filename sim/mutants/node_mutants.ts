/** Mutants of a node: its identity, stale knowledge, and the order of its steps. */
import type { Mutant } from "./mutant.ts";

const HOST = "src/resource/host.ts";
const TURN_COMMIT = "src/resource/turn_commit.ts";

export const NODE_MUTANTS: readonly Mutant[] = [
  {
    name: "incarnation_reused",
    about: "A node's incarnation is its name: a restart registers the same one again.",
    edits: [
      {
        file: "src/node/node.ts",
        find: "incarnation: random.uuid(),",
        replace: "incarnation: `${this.#options.region}/${this.#options.node}`,",
      },
      {
        file: "adapters/store/store_state.ts",
        find:
          `if (present) return this.#registered(present.state === "live" ? "registered" : "fenced");`,
        replace: `if (present) this.#set({ ...present, state: "left" });`,
      },
    ],
  },
  {
    name: "stale_claim",
    about: "The answer to a claim of a node's former incarnation is used by the current one.",
    edits: [
      {
        file: "src/registry/claims.ts",
        find:
          `      if (!life.lease.holds()) throw new AtlasError("unavailable", "this node's lease lapsed");
      if (reply.quarantined) `,
        replace: "      if (reply.quarantined) ",
      },
      {
        file: HOST,
        find: "const activation = new Activation(this, key, resolved, owner, life, last);",
        replace:
          "const activation = new Activation(this, key, resolved, owner, this.#life ?? life, last);",
      },
      {
        file: HOST,
        find: "if (!activation.isOpen || life !== this.#life) {",
        replace: "if (!activation.isOpen) {",
      },
    ],
    scenario: "late_claim",
  },
  {
    name: "reply_before_commit",
    about: "A call is answered before its writes are in the store.",
    edits: [{
      file: "src/resource/activation.ts",
      find: `      isAtUser = false;
      if (idempotencyKey !== null) {`,
      replace: `      isAtUser = false;
      this.#answer(call, encoded);
      if (idempotencyKey !== null) {`,
    }],
  },
  {
    name: "answer_outside_commit",
    about: "The answer of an idempotency key is stored in a separate commit after the state's.",
    edits: [{
      file: TURN_COMMIT,
      find: `    await this.#answers?.add(idempotencyKey, call.method, result, writes);
    await this.write(writes, call.deadline);
    this.#answers?.committed(idempotencyKey, writes);`,
      replace: `    await this.write(writes);
    const record: Writes = new Map();
    await this.#answers?.add(idempotencyKey, call.method, result, record);
    await this.write(record);
    this.#answers?.committed(idempotencyKey, record);`,
    }],
  },
  {
    name: "work_joins_turns",
    about: "Code that outlived its turn uses storage in whichever turn is running.",
    edits: [{
      file: "src/resource/turn.ts",
      find: "if (turn) return turn;",
      replace: "return turn ?? new Turn(at, null);",
    }],
    scenario: "outlived_work",
  },
  {
    name: "no_epoch_check",
    about: "A node serves a call that names another ownership of the key, from its caller's " +
      "stale cache.",
    edits: [{
      file: "src/routing/inbound.ts",
      find: "const isMeant = call.epoch === activation.epoch || call.epoch === 0;",
      replace: "const isMeant = call.epoch >= 0;",
    }],
  },
];
