/** The store suite on state: a turn's writes are atomic, and only the owner's count. */
import { describe, expect, test } from "vitest";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Commit, CommitReply, Range, Store } from "../../src/ports/store.ts";
import type { Stores } from "./store.ts";
import { claimOf, freshKey, own, refuses } from "./store_kit.ts";

type Puts = Commit["puts"];

export function stateTests(stores: Stores): void {
  function commit(
    key: string,
    { incarnation, epoch }: Ownership,
    turn: number,
    puts: Puts,
    deletes: readonly string[] = [],
  ): Promise<CommitReply> {
    return stores.store.commit({ key, incarnation, epoch, turn, puts, deletes });
  }

  async function everything(key: string, over: Partial<Range> = {}): Promise<[string, string][]> {
    const range = { start: "", end: "\u{10ffff}", limit: 10_000, reverse: false, ...over };
    return await stores.store.range(key, range);
  }

  describe("commit", () => {
    test("applies puts and deletes together, seen by every handle", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      expect(await commit(key, owner, 1, [["a", "1"], ["b", "2"]])).toBe("committed");
      expect(await commit(key, owner, 2, [["c", "3"], ["a", "4"]], ["b", "none"]))
        .toBe("committed");
      for (const handle of stores.handles) {
        expect(await handle.read(key, ["a", "b", "c"])).toEqual(["4", null, "3"]);
      }
      expect(await everything(key)).toEqual([["a", "4"], ["c", "3"]]);
    });

    test("with nothing to write still counts its turn", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      expect(await commit(key, owner, 3, [])).toBe("committed");
      expect(await commit(key, owner, 3, [["a", "late"]])).toBe("committed");
      expect(await everything(key)).toEqual([]);
    });

    test("that both deletes and puts a field keeps the field", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      await commit(key, owner, 1, [["a", "1"]]);
      await commit(key, owner, 2, [["a", "2"]], ["a"]);
      expect(await everything(key)).toEqual([["a", "2"]]);
    });

    test("is fenced for any caller but the current owner in its epoch", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      await commit(key, owner, 1, [["a", "1"]]);
      const stranger = { ...owner, incarnation: crypto.randomUUID() };
      expect(await commit(key, stranger, 2, [["a", "x"]])).toBe("fenced");
      expect(await commit(key, { ...owner, epoch: owner.epoch + 1 }, 2, [["a", "x"]]))
        .toBe("fenced");
      expect(await commit(freshKey(), owner, 2, [["a", "x"]])).toBe("fenced");
      const { incarnation, epoch } = owner;
      const taken = await stores.store.claim(claimOf(key, { expected: { incarnation, epoch } }));
      expect(await commit(key, owner, 2, [["a", "x"]])).toBe("fenced");
      expect(await commit(key, taken.owner as Ownership, 1, [["b", "2"]])).toBe("committed");
      await stores.store.release(key, taken.owner?.incarnation ?? "", taken.owner?.epoch ?? 0);
      expect(await commit(key, taken.owner as Ownership, 2, [["a", "x"]])).toBe("fenced");
      expect(await everything(key)).toEqual([["a", "1"], ["b", "2"]]);
    });

    test("repeated, or of an earlier turn, changes nothing", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      await commit(key, owner, 5, [["a", "5"]]);
      for (const turn of [5, 4, 1]) {
        expect(await commit(key, owner, turn, [["a", "again"], ["b", "again"]], ["a"]))
          .toBe("committed");
      }
      expect(await everything(key)).toEqual([["a", "5"]]);
      await commit(key, owner, 6, [["a", "6"]]);
      expect(await everything(key)).toEqual([["a", "6"]]);
    });

    test("turns start again in a new epoch", async () => {
      const key = freshKey();
      const first = await own(stores.store, key);
      await commit(key, first, 100, [["a", "old"]]);
      const { incarnation, epoch } = first;
      await stores.store.release(key, incarnation, epoch);
      const second = await own(stores.store, key, { incarnation });
      expect(await commit(key, second, 1, [["a", "new"]])).toBe("committed");
      expect(await stores.store.read(key, ["a"])).toEqual(["new"]);
    });

    test("that deletes all fields leaves at most its last turn behind, once the ownership is released", async () => {
      const { store } = stores;
      for (const [key, puts] of [[freshKey(), [["a", "1"]]], [freshKey(), []]] as const) {
        const owner = await own(store, key);
        const { incarnation, epoch } = owner;
        await commit(key, owner, 1, puts);
        expect(await commit(key, owner, 2, [], ["a"])).toBe("committed");
        // As long as it is owned, a late repetition of an earlier turn must be recognised.
        expect(await commit(key, owner, 1, [["a", "late"]])).toBe("committed");
        expect(await everything(key)).toEqual([]);
        expect(await store.release(key, incarnation, epoch)).toBe(true);
        const next = await store.claim(claimOf(key));
        // The last turn is kept for some time, because a copy of the store or another master may
        // lack it.
        const isKept = store.kept || store.recheckMs !== undefined;
        expect(next.last).toEqual(isKept ? { epoch, turn: 2 } : { epoch: 0, turn: 0 });
        expect(next.owner?.epoch).toBeGreaterThan(epoch);
      }
    });

    test("that leaves a field keeps the last turn, when the ownership is released", async () => {
      const key = freshKey();
      const { incarnation, epoch } = await own(stores.store, key);
      await commit(key, { rrp: "", incarnation, epoch }, 3, [["a", "1"], ["b", "2"]], ["a"]);
      await stores.store.release(key, incarnation, epoch);
      expect((await stores.store.claim(claimOf(key))).last).toEqual({ epoch, turn: 3 });
    });

    test("at the same time as a takeover: later reads agree with the answers", async () => {
      const [one, other] = stores.handles as [Store, Store];
      for (let round = 0; round < 20; round++) {
        const key = freshKey();
        const owner = await own(one, key);
        const { incarnation, epoch } = owner;
        const [first, taken] = await Promise.all([
          commit(key, owner, 1, [["a", "1"]]),
          other.claim(claimOf(key, { expected: { incarnation, epoch } })),
        ]);
        expect(taken.won).toBe(true);
        expect(await other.read(key, ["a"])).toEqual([first === "committed" ? "1" : null]);
      }
    });

    test("of 4,096 puts, and then one of 4,096 deletes, is one step", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      const puts = Array.from({ length: 4_096 }, (_, i) => [name(i), `v${i}`] as const);
      expect(await commit(key, owner, 1, puts)).toBe("committed");
      expect(await everything(key)).toEqual(puts);
      expect(await stores.store.read(key, puts.map(([field]) => field)))
        .toEqual(puts.map(([, value]) => value));
      expect(await commit(key, owner, 2, [], puts.map(([field]) => field))).toBe("committed");
      expect(await everything(key)).toEqual([]);
    });

    test("for many resources in one tick, of which some are fenced, affects no other resource", async () => {
      const keys = Array.from({ length: 200 }, () => freshKey());
      const owners = await Promise.all(keys.map((key) => own(stores.store, key)));
      const replies = await Promise.all(owners.map((owner, i) =>
        commit(
          keys[i] as string,
          i % 3 ? owner : { ...owner, epoch: owner.epoch + 1 },
          1,
          [["n", String(i)]],
        )
      ));
      const read = await Promise.all(keys.map((key) => stores.store.read(key, ["n"])));
      replies.forEach((reply, i) => expect(reply).toBe(i % 3 ? "committed" : "fenced"));
      read.forEach((values, i) => expect(values).toEqual([i % 3 ? String(i) : null]));
    });

    test("of several owners in one tick, each after its last turn, counts for its own owner only", async () => {
      const keys = Array.from({ length: 30 }, () => freshKey());
      const owners = await Promise.all(keys.map((key) => own(stores.store, key)));
      const step = (i: number, turn: number, by: number) => {
        const { epoch } = owners[i] as Ownership;
        const { incarnation } = owners[by] as Ownership;
        const after = { epoch: turn > 1 ? epoch : 0, turn: turn - 1 };
        const puts: Puts = [["n", `${turn}`], [`only ${turn}`, ""]];
        const key = keys[i] as string;
        return stores.store.commit({ key, incarnation, epoch, turn, after, puts, deletes: [] });
      };
      const all = (turn: number, by: (i: number) => number) =>
        Promise.all(keys.map((_, i) => step(i, turn, by(i))));
      expect(new Set(await all(1, (i) => i))).toEqual(new Set(["committed"]));
      // Every other one is by the owner of the next key.
      const second = await all(2, (i) => i % 2 ? i : (i + 1) % keys.length);
      second.forEach((reply, i) => expect(reply).toBe(i % 2 ? "committed" : "fenced"));
      // Repeated, it changes nothing.
      expect(await step(1, 2, 1)).toBe("committed");
      const read = await Promise.all(keys.map((key) => stores.store.read(key, ["n", "only 2"])));
      read.forEach((values, i) => expect(values).toEqual(i % 2 ? ["2", ""] : ["1", null]));
    });

    test("of turns of one key in one tick leaves what the last of them left, also if its owner releases it then", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      const replies = await Promise.all([
        commit(key, owner, 1, [["a", "1"], ["b", "1"]]),
        commit(key, owner, 2, [["c", "2"]], ["a"]),
        commit(key, owner, 3, [["a", "3"], ["c", "3"]], ["b"]),
        stores.store.release(key, owner.incarnation, owner.epoch),
      ]);
      expect(replies[3]).toBe(true);
      // Steps at the same time have no order, unless the store takes those of one tick together.
      if (replies.includes("fenced")) return;
      expect(replies.slice(0, 3)).toEqual(["committed", "committed", "committed"]);
      expect(await everything(key)).toEqual([["a", "3"], ["c", "3"]]);
      const again = await stores.store.claim(claimOf(key));
      if (again.last) expect(again.last).toEqual({ epoch: owner.epoch, turn: 3 });
    });

    test("is refused for values that can't be stored unchanged", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      await refuses(commit(key, owner, 0, []), "bad_request", "turn");
      await refuses(commit(key, owner, 1, [["a", "\ud800"]]), "bad_request", "value");
      await refuses(commit(key, owner, 1, [["\udc00", "a"]]), "bad_request", "field");
    });
  });

  describe("read and range", () => {
    test("read gives values in the requested order, repeated names included, and null for missing fields", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      await commit(key, owner, 1, [["a", "1"], ["b", ""]]);
      expect(await stores.store.read(key, ["x", "b", "a", "b", "y"]))
        .toEqual([null, "", "1", "", null]);
      expect(await stores.store.read(key, [])).toEqual([]);
      expect(await stores.store.read(freshKey(), ["a"])).toEqual([null]);
    });

    test("range includes its start, excludes its end, and keeps its limit in both directions", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      const fields = ["B", "a", "a/1", "a/2", "a0", "b", "~"];
      await commit(key, owner, 1, fields.toReversed().map((field) => [field, `=${field}`]));
      const asked = async (over: Partial<Range>) =>
        (await everything(key, over)).map(([field]) => field).join(" ");
      expect(await asked({})).toBe("B a a/1 a/2 a0 b ~");
      expect(await asked({ reverse: true })).toBe("~ b a0 a/2 a/1 a B");
      expect(await asked({ start: "a", end: "b" })).toBe("a a/1 a/2 a0");
      expect(await asked({ start: "a/", end: "a0" })).toBe("a/1 a/2");
      expect(await asked({ start: "a", end: "b", limit: 2 })).toBe("a a/1");
      expect(await asked({ start: "a", end: "b", limit: 2, reverse: true })).toBe("a0 a/2");
      expect(await asked({ start: "b", end: "a" })).toBe("");
      expect(await asked({ start: "a", end: "a" })).toBe("");
      expect(await everything(key, { start: "b", end: "c" })).toEqual([["b", "=b"]]);
      expect(await everything(freshKey())).toEqual([]);
      await commit(key, owner, 2, [["aa", ""]], ["a/1"]);
      expect(await asked({ start: "a", end: "b" })).toBe("a a/2 a0 aa");
      await refuses(everything(key, { limit: 0 }), "bad_request", "limit");
    });

    test("unusual characters are returned unchanged", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      const odd = ["", " ", "\0", "\u0001", "\0\u0001\0\0\u0001\u0002", "a\r\nb", "😀", "é\u0301"];
      odd.push("turn", ":", "[", "(", "-", "+", "!", "\u{10fffe}", "%00", '"\\');
      await commit(key, owner, 1, odd.map((text) => [text, `v${text}`]));
      expect(await stores.store.read(key, odd)).toEqual(odd.map((text) => `v${text}`));
      const all = new Map(await everything(key));
      expect(all).toEqual(new Map(odd.map((text) => [text, `v${text}`])));
      const low = await everything(key, { end: "\u0002" });
      expect(low.map(([field]) => field))
        .toEqual(["", "\0", "\0\u0001\0\0\u0001\u0002", "\u0001"]);
      await commit(key, owner, 2, [], odd);
      expect(await everything(key)).toEqual([]);
    });

    test("many values of 1 MiB at once are returned unchanged", async () => {
      const key = freshKey();
      const owner = await own(stores.store, key);
      const values = ["a", "é", "\0"].map((letter) => letter.repeat(1_048_576));
      await commit(key, owner, 1, values.map((value, i) => [name(i), value]));
      const read = await Promise.all(values.map((_, i) => stores.store.read(key, [name(i)])));
      read.forEach(([value], i) => expect(value === values[i]).toBe(true));
      expect((await everything(key)).map(([, value]) => value.length))
        .toEqual(values.map((value) => value.length));
    });
  });
}

/** Names whose order is that of their numbers. */
function name(i: number): string {
  return `f:${String(i).padStart(5, "0")}`;
}
