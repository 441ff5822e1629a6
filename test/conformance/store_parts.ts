/**
 * The store suite on backend keys that are missing while others of their resource exist: `read`
 * and `range` agree, and the loss is reported to the owner, or the next claimer.
 *
 * Covers adapters/store/state_parts.ts.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { LostTurns, type OwnerKnows } from "../../src/model/lost_turns.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Stamp, Store } from "../../src/ports/store.ts";
import type { HostileWriter, Stores } from "./store.ts";
import { claimOf, freshKey, own } from "./store_kit.ts";

const ALL = { start: "", end: "\u{10ffff}", limit: 100, reverse: false };
const FIELDS = ["a", "b", "c"] as const;
const NONE = { epoch: 0, turn: 0 };

type Remove = NonNullable<HostileWriter["remove"]>;

/** A key whose slot no other test uses. */
let slots = 0;
function loneKey(): string {
  for (slots++;;) {
    const key = freshKey("parts");
    if (slotOf(key) % 512 === slots) return key;
  }
}

export function partsTests(stores: Stores): void {
  describe("a resource of which a part is missing", () => {
    let store: Store;
    let remove: Remove;
    let key: string;
    let owner: Ownership;
    let last: Stamp;

    const commit = (turn: number, field: string, after?: Stamp) => {
      const { incarnation, epoch } = owner;
      const puts = [[field, `${turn}`]] as const;
      const options = { ...after && { after } };
      return store.commit({ key, incarnation, epoch, turn, puts, deletes: [], ...options });
    };
    const release = (after?: Stamp) => store.release(key, owner.incarnation, owner.epoch, after);
    const agree = async (knows?: OwnerKnows): Promise<Record<string, string>> => {
      const values = await store.read(key, FIELDS, knows);
      const pairs = FIELDS.flatMap((field, i) => values[i] === null ? [] : [[field, values[i]]]);
      expect(await store.range(key, ALL, knows)).toEqual(pairs);
      const back = await store.range(key, { ...ALL, reverse: true }, knows);
      expect(back).toEqual([...pairs].reverse());
      return Object.fromEntries(pairs);
    };
    const isLost = async (step: Promise<unknown>, kept: Stamp = NONE): Promise<void> => {
      const error = await step.then(() => null, (reason) => reason);
      expect(error).toBeInstanceOf(LostTurns);
      expect(error.kept).toEqual(kept);
      expect(error.message).toContain(key);
    };

    beforeEach(async ({ skip }) => {
      skip(stores.backend.writer?.remove === undefined, "its parts can't be told apart");
      remove = stores.backend.writer?.remove as Remove;
      store = stores.store;
      key = loneKey();
      owner = await own(store, key);
      for (const [i, field] of FIELDS.entries()) await commit(i + 1, field);
      last = { epoch: owner.epoch, turn: FIELDS.length };
    });

    test("(the index): it is rebuilt, and nothing is lost", async () => {
      const { id } = (await store.renew("nobody", 0, [])).lineage;
      await remove(key, "index");
      expect(await agree()).toEqual({ a: "1", b: "2", c: "3" });
      await remove(key, "index");
      expect(await agree({ after: last, lineage: id })).toEqual({ a: "1", b: "2", c: "3" });
      // Also an index that a commit began again after it was lost.
      await remove(key, "index");
      expect(await commit(4, "b", last)).toBe("committed");
      expect(await agree()).toEqual({ a: "1", b: "4", c: "3" });
      await remove(key, "index");
      await release({ epoch: owner.epoch, turn: 4 });
      const reply = await store.claim(claimOf(key));
      expect(reply).toMatchObject({ won: true });
      expect(reply.isStateLost ?? false).toBe(false);
      expect(await agree()).toEqual({ a: "1", b: "4", c: "3" });
    });

    test("(the state, which has an owner): each step of the owner reports the loss", async () => {
      await remove(key, "state");
      const knows = { after: last };
      await isLost(store.read(key, ["a"], knows));
      await isLost(store.range(key, ALL, knows));
      expect(await commit(4, "a", last)).toEqual({ lost: NONE });
      // Repeated, as after a lost answer.
      await isLost(store.read(key, ["a"], knows));
      expect(await agree()).toEqual({});
    });

    test("(the state, whose owner releases the key without noticing): the loss is reported to the next owner", async () => {
      await remove(key, "state");
      await release(last);
      const claim = claimOf(key);
      const reply = await store.claim(claim);
      expect(reply).toMatchObject({ won: true, isStateLost: true });
      // The loss is also reported to a claim that is repeated because its answer was lost.
      expect(await store.claim(claim)).toMatchObject({ won: true, isStateLost: true });
      owner = reply.owner as Ownership;
      const { id } = (await store.renew("nobody", 0, [])).lineage;
      expect(await agree({ after: NONE, lineage: id })).toEqual({});
      expect(await commit(1, "b", NONE)).toBe("committed");
      expect(await agree()).toEqual({ b: "1" });
      await release({ epoch: owner.epoch, turn: 1 });
      const next = await store.claim(claimOf(key));
      expect(next.won).toBe(true);
      expect(next.isStateLost ?? false).toBe(false);
      expect(await agree()).toEqual({ b: "1" });
    });

    test("(the state, whose loss was reported to its owner): it is not reported to the next owner", async () => {
      await remove(key, "state");
      await isLost(store.read(key, ["a"], { after: last }));
      await release(NONE);
      const next = await store.claim(claimOf(key));
      expect(next.won).toBe(true);
      expect(next.isStateLost ?? false).toBe(false);
      expect(await agree()).toEqual({});
    });

    test("(state and index, which have an owner): each step of the owner reports the loss", async () => {
      await remove(key, "state");
      await remove(key, "index");
      await isLost(store.read(key, ["a"], { after: last }));
      await isLost(store.range(key, ALL, { after: last }));
      expect(await commit(4, "a", last)).toEqual({ lost: NONE });
      expect(await agree()).toEqual({});
    });

    test("(the epoch counter): no epoch repeats", async () => {
      await remove(key, "epoch");
      const expected = { incarnation: owner.incarnation, epoch: owner.epoch };
      const { owner: second } = await store.claim(claimOf(key, { expected }));
      expect(second?.epoch).toBeGreaterThan(owner.epoch);
      owner = second as Ownership;
      expect(await commit(1, "a")).toBe("committed");
      await release();
      await remove(key, "epoch");
      expect((await own(store, key)).epoch).toBeGreaterThan(owner.epoch);
    });

    test("(the epoch counter, then the state): no epoch repeats", async () => {
      await remove(key, "epoch");
      await remove(key, "state");
      await remove(key, "index");
      await release(last);
      expect((await own(store, key)).epoch).toBeGreaterThan(owner.epoch);
    });

    test("(the ownership): its owner is fenced, and the next owner's epoch is higher", async () => {
      await remove(key, "own");
      expect(await commit(4, "a", last)).toBe("fenced");
      await remove(key, "epoch");
      const reply = await store.claim(claimOf(key));
      expect(reply.owner?.epoch).toBeGreaterThan(owner.epoch);
      expect(await agree()).toEqual({ a: "1", b: "2", c: "3" });
    });

    test("(the state, and another copy of the store answers): its owner reasserts first", async () => {
      await remove(key, "state");
      const { id } = (await store.renew("nobody", 0, [])).lineage;
      for (const lineage of [id, "another"]) {
        const error = await store.read(key, ["a"], { after: last, lineage }).catch((it) => it);
        expect(error).toBeInstanceOf(LostTurns);
        if (id !== "") expect(error.isMoved).toBe(lineage !== id);
      }
    });
  });
}
