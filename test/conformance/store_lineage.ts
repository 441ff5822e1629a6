/** The store suite on lineages: which copy answers, and reassertions. */
import { beforeEach, describe, expect, test } from "vitest";
import { EPOCHS_PER_TERM } from "../../src/limits.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type {
  CommittedTurn,
  Lineage,
  LineageName,
  Reassertion,
  Stamp,
  Store,
} from "../../src/ports/store.ts";
import type { Stores } from "./store.ts";
import { claimOf, freshKey, freshMember, own, refuses } from "./store_kit.ts";

const NO_TURNS: Stamp = { epoch: 0, turn: 0 };

/** The lineage that a store returns to a caller that knows none. */
async function lineageOf(store: Store): Promise<Lineage> {
  return (await store.renew("nobody", 0, [])).lineage;
}

function reassertion(key: string, owner: Ownership, after: Stamp = NO_TURNS): Reassertion {
  return { ...owner, key, after };
}

export function lineageTests(stores: Stores): void {
  describe("lineages", () => {
    beforeEach(({ skip }) =>
      skip(stores.backend.isParted === true, "it has no lineage of its own")
    );

    describe("lineage", () => {
      test("is the same to every caller", async () => {
        const lineage = await lineageOf(stores.store);
        for (const handle of stores.handles) {
          const known = { ...lineage, waited: true };
          expect((await handle.renew("nobody", 0, [], known)).lineage).toMatchObject({
            id: lineage.id,
            term: lineage.term,
          });
          expect((await handle.members()).lineage).toBe(lineage.id);
          const { lineage: returned } = await handle.register(freshMember(), {
            ifFree: false,
            known,
          });
          expect(returned).toMatchObject({ id: lineage.id, term: lineage.term });
        }
      });

      test("a caller that knows it under a higher term gets a term above that", async ({ skip }) => {
        const { id, term } = await lineageOf(stores.store);
        skip(id === "", "it is never replaced by a copy");
        const known = { id, term: term + 3, waited: true };
        const risen = { id, term: term + 4, settled: false };
        expect((await stores.store.renew("nobody", 0, [], known)).lineage).toEqual(risen);
        const { outcome, lineage } = await stores.store.register(freshMember(), {
          ifFree: false,
          known: { ...risen, waited: true },
        });
        expect([outcome, lineage]).toEqual(["registered", { ...risen, settled: true }]);
      });

      test("a claim in the current lineage wins, with an epoch of its term", async () => {
        const { id, term } = await lineageOf(stores.store);
        const key = freshKey();
        const { won, owner } = await stores.store.claim(claimOf(key, { lineage: { id, term } }));
        expect(won).toBe(true);
        expect(owner?.epoch).toBeGreaterThan(term * EPOCHS_PER_TERM);
      });

      test("a claim in another lineage changes nothing, and its reply says so", async () => {
        const key = freshKey();
        const lineage = { id: "elsewhere", term: 3 };
        expect(await stores.store.claim(claimOf(key, { lineage })))
          .toMatchObject({ won: false, owner: null, quarantined: true });
        expect(await stores.store.lookup(key)).toBeNull();
      });

      test("a higher term's epochs are above all of lower ones", async () => {
        const { id, term } = await lineageOf(stores.store);
        const key = freshKey();
        const { incarnation, epoch } = await own(stores.store, key);
        const lineage = { id, term: term + 5 };
        const expected = { incarnation, epoch };
        const { owner } = await stores.store.claim(claimOf(key, { expected, lineage }));
        expect(owner?.epoch).toBeGreaterThan((term + 5) * EPOCHS_PER_TERM);
        expect(Number.isSafeInteger(owner?.epoch)).toBe(true);
        const next = { incarnation: owner?.incarnation ?? "", epoch: owner?.epoch ?? 0 };
        const later = await stores.store.claim(claimOf(key, { expected: next, lineage }));
        expect(later.owner?.epoch).toBeGreaterThan(next.epoch);
      });

      test("terms that no epoch can hold are refused", async () => {
        for (const term of [-1, 0.5, 100_000, 2 ** 17]) {
          const lineage = { id: "", term };
          await refuses(
            stores.store.claim(claimOf(freshKey(), { lineage })),
            "bad_request",
            "term",
          );
          const reassertions = [
            reassertion(freshKey(), { rrp: "rrp:a/b/c/d", incarnation: "i", epoch: 1 }),
          ];
          await refuses(stores.store.reassert(reassertions, lineage), "bad_request", "term");
        }
      });

      test("a claim returns the last turn of the state that it takes over", async () => {
        const key = freshKey();
        const { incarnation, epoch } = await own(stores.store, key);
        const turn = { key, incarnation, epoch, turn: 7, puts: [], deletes: [] };
        expect(await stores.store.commit(turn)).toBe("committed");
        const expected = { incarnation, epoch };
        const { last } = await stores.store.claim(claimOf(key, { expected }));
        expect(last).toEqual({ epoch, turn: 7 });
      });
    });

    describe("reassert", () => {
      test("keeps existing ownerships, and restores those of keys that are unowned or owned under a lower epoch", async () => {
        const lineage = await lineageOf(stores.store);
        const [kept, freed, taken] = [freshKey(), freshKey(), freshKey()];
        const owners = await Promise.all([kept, freed, taken].map((key) => own(stores.store, key)));
        const [first, second, third] = owners as [Ownership, Ownership, Ownership];
        await stores.store.release(freed, second.incarnation, second.epoch);
        const higher = { ...third, incarnation: crypto.randomUUID(), epoch: third.epoch + 9 };
        const reassertions = [
          reassertion(kept, first),
          reassertion(freed, second),
          reassertion(taken, higher),
        ];
        const standings = await stores.store.reassert(reassertions, lineage);
        expect(standings?.map(({ standing }) => standing)).toEqual([
          "kept",
          "restored",
          "restored",
        ]);
        expect(await stores.store.lookup(kept)).toEqual(first);
        expect(await stores.store.lookup(freed)).toEqual(second);
        expect(await stores.store.lookup(taken)).toEqual(higher);
        // The counter includes its epoch: the next owner's epoch is higher.
        const expected = { incarnation: higher.incarnation, epoch: higher.epoch };
        const { owner } = await stores.store.claim(claimOf(taken, { expected }));
        expect(owner?.epoch).toBeGreaterThan(higher.epoch);
      });

      test("is refused if its slot has already given epochs of the lineage's term", async () => {
        const lineage = await lineageOf(stores.store);
        const risen = { ...lineage, term: lineage.term + 1 };
        const key = freshKey();
        const first = await own(stores.store, key);
        await stores.store.release(key, first.incarnation, first.epoch);
        expect(await stores.store.reassert([reassertion(key, first)], risen))
          .toEqual([{ standing: "restored", last: NO_TURNS }]);
        await stores.store.release(key, first.incarnation, first.epoch);
        const { owner } = await stores.store.claim(claimOf(key, { lineage: risen }));
        const { incarnation, epoch } = owner as Ownership;
        await stores.store.release(key, incarnation, epoch);
        // A copy of the request, which was in flight all that time.
        expect(await stores.store.reassert([reassertion(key, first)], risen))
          .toEqual([{ standing: "lost", last: NO_TURNS }]);
        expect(await stores.store.lookup(key)).toBeNull();
        expect(await stores.store.reassert([reassertion(key, owner as Ownership)], risen))
          .toEqual([{ standing: "restored", last: NO_TURNS }]);
      });

      test("leaves an owner of an equal or a higher epoch unchanged", async () => {
        const lineage = await lineageOf(stores.store);
        const key = freshKey();
        const owner = await own(stores.store, key);
        const rivals = [0, -1].map((by) => ({
          ...owner,
          incarnation: crypto.randomUUID(),
          epoch: owner.epoch + by,
        })).filter(({ epoch }) => epoch > 0);
        for (const rival of rivals) {
          expect(await stores.store.reassert([reassertion(key, rival)], lineage))
            .toEqual([{ standing: "lost", last: NO_TURNS }]);
        }
        expect(await stores.store.lookup(key)).toEqual(owner);
      });

      test("reports `behind` with the state's last turn if the state lacks turns that its owner knows of", async () => {
        const lineage = await lineageOf(stores.store);
        const key = freshKey();
        const owner = await own(stores.store, key);
        const { incarnation, epoch } = owner;
        await stores.store.commit({ key, incarnation, epoch, turn: 4, puts: [], deletes: [] });
        const reassert = (after: Stamp) =>
          stores.store.reassert([reassertion(key, owner, after)], lineage);
        expect(await reassert({ epoch, turn: 4 })).toEqual([
          { standing: "kept", last: { epoch, turn: 4 } },
        ]);
        expect(await reassert({ epoch, turn: 5 })).toEqual([
          { standing: "behind", last: { epoch, turn: 4 } },
        ]);
      });

      test("accepts nothing in another lineage", async () => {
        const key = freshKey();
        const owner = await own(stores.store, key);
        await stores.store.release(key, owner.incarnation, owner.epoch);
        const lineage = { id: "elsewhere", term: 1 };
        expect(await stores.store.reassert([reassertion(key, owner)], lineage)).toBeNull();
        expect(await stores.store.lookup(key)).toBeNull();
      });

      test("answers many at once in their order", async () => {
        const lineage = await lineageOf(stores.store);
        const keys = Array.from({ length: 300 }, () => freshKey());
        const owners = await Promise.all(keys.map((key) => own(stores.store, key)));
        const reassertions = keys.map((key, i) => {
          const after = i % 2 === 0 ? NO_TURNS : { epoch: 1, turn: i };
          return reassertion(key, owners[i] as Ownership, after);
        });
        const standings = await stores.store.reassert(reassertions, lineage);
        expect(standings?.map(({ standing }) => standing))
          .toEqual(keys.map((_, i) => i % 2 === 0 ? "kept" : "behind"));
      });
    });

    describe("kept", () => {
      beforeEach(({ skip }) => skip(!stores.store.kept, "it is never replaced by a copy"));

      const keptOf = async (turns: readonly CommittedTurn[], lineage: LineageName) =>
        await stores.store.kept?.(turns, lineage);

      test("returns the last turn of each state, and nothing in another lineage", async () => {
        const lineage = await lineageOf(stores.store);
        const [written, fresh] = [freshKey(), freshKey()];
        const { incarnation, epoch } = await own(stores.store, written);
        const turn = { key: written, incarnation, epoch, turn: 4, puts: [], deletes: [] };
        await stores.store.commit(turn);
        const turns = [{ key: written, last: { epoch, turn: 9 } }, {
          key: fresh,
          last: { epoch, turn: 1 },
        }];
        expect(await keptOf(turns, lineage)).toEqual([{ epoch, turn: 4 }, NO_TURNS]);
        expect(await keptOf(turns, { ...lineage, id: "elsewhere" })).toBeNull();
      });

      test("returns the last turn of a state that was emptied and released, also for the next owner", async () => {
        const lineage = await lineageOf(stores.store);
        const key = freshKey();
        const first = await own(stores.store, key);
        const write = ({ incarnation, epoch }: Ownership, puts: [string, string][]) =>
          stores.store.commit({ key, incarnation, epoch, turn: 4, puts, deletes: ["a"] });
        const last = ({ epoch }: Ownership): Stamp => ({ epoch, turn: 4 });
        await write(first, []);
        await stores.store.release(key, first.incarnation, first.epoch);
        expect(await keptOf([{ key, last: last(first) }], lineage)).toEqual([last(first)]);
        const risen = { ...lineage, term: lineage.term + 1 };
        const { owner } = await stores.store.claim(claimOf(key, { lineage: risen }));
        const second = owner as Ownership;
        expect(await keptOf([{ key, last: last(first) }], lineage)).toEqual([last(first)]);
        await write(second, [["b", "1"]]);
        const turns = [first, second].map((it) => ({ key, last: last(it) }));
        expect(await keptOf(turns, lineage)).toEqual([last(first), last(second)]);
        await stores.store.release(key, second.incarnation, second.epoch);
        expect(await keptOf(turns, lineage)).toEqual([last(first), last(second)]);
      });

      test("returns a state's last turns before higher terms wrote to it, up to a limit", async () => {
        const lineage = await lineageOf(stores.store);
        const { id, term } = lineage;
        const key = freshKey();
        const owners = [await own(stores.store, key)];
        const write = ({ incarnation, epoch }: Ownership) =>
          stores.store.commit({
            key,
            incarnation,
            epoch,
            turn: 2,
            puts: [["a", "1"]],
            deletes: [],
          });
        await write(owners[0] as Ownership);
        for (let later = 1; later <= 9; later++) {
          const { incarnation, epoch } = owners.at(-1) as Ownership;
          const expected = { incarnation, epoch };
          const risen = { id, term: term + later };
          const { owner } = await stores.store.claim(claimOf(key, { expected, lineage: risen }));
          await write(owner as Ownership);
          owners.push(owner as Ownership);
        }
        const last = ({ epoch }: Ownership): Stamp => ({ epoch, turn: 2 });
        const asked = [1, 5, 8, 9].map((i) => last(owners[i] as Ownership));
        const turns = asked.map(({ epoch }) => ({ key, last: { epoch, turn: 7 } }));
        expect(await keptOf(turns, lineage)).toEqual(asked);
        expect(await stores.store.range(key, { start: "", end: "z", limit: 9, reverse: false }))
          .toEqual([["a", "1"]]);
      });
    });

    describe("commit", () => {
      test("after a turn that the state lacks fails as lost, and changes nothing", async () => {
        const { id } = await lineageOf(stores.store);
        const key = freshKey();
        const { incarnation, epoch } = await own(stores.store, key);
        const base = { key, incarnation, epoch, puts: [["a", "1"]] as const, deletes: [] };
        expect(
          await stores.store.commit({ ...base, turn: 3, after: { epoch, turn: 2 }, lineage: id }),
        )
          .toEqual({ lost: NO_TURNS });
        expect(await stores.store.read(key, ["a"])).toEqual([null]);
        expect(await stores.store.commit({ ...base, turn: 3 })).toBe("committed");
        expect(
          await stores.store.commit({ ...base, turn: 4, after: { epoch, turn: 3 }, lineage: id }),
        )
          .toBe("committed");
        expect(
          await stores.store.commit({ ...base, turn: 9, after: { epoch, turn: 8 }, lineage: id }),
        )
          .toEqual({ lost: { epoch, turn: 4 } });
      });

      test("in another lineage fails as `moved` if it would otherwise be lost or fenced", async () => {
        const key = freshKey();
        const { incarnation, epoch } = await own(stores.store, key);
        const base = { key, incarnation, epoch, lineage: "elsewhere", puts: [], deletes: [] };
        expect(await stores.store.commit({ ...base, turn: 2, after: { epoch, turn: 1 } }))
          .toBe("moved");
        expect(await stores.store.commit({ ...base, turn: 2 })).toBe("committed");
        expect(await stores.store.commit({ ...base, epoch: epoch + 1, turn: 3 })).toBe("moved");
      });
    });
  });
}
