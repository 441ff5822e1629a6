/** The store suite on ownership: one winner for each key, epochs that only rise. */
import { describe, expect, test } from "vitest";
import type { Ownership } from "../../src/model/ownership.ts";
import type { ClaimReply, Store } from "../../src/ports/store.ts";
import type { Stores } from "./store.ts";
import { claimOf, fresh, freshKey, own, refuses } from "./store_kit.ts";

export function ownershipTests(stores: Stores): void {
  describe("claim", () => {
    test("of an unowned key wins, and every handle finds the owner", async () => {
      const claim = claimOf(freshKey());
      expect(await stores.store.lookup(claim.key)).toBeNull();
      const reply = await stores.store.claim(claim);
      expect(reply.won).toBe(true);
      expect(reply.owner).toEqual({
        rrp: claim.rrp,
        incarnation: claim.incarnation,
        epoch: reply.owner?.epoch,
      });
      expect(reply.owner?.epoch).toBeGreaterThan(0);
      for (const handle of stores.handles) {
        expect(await handle.lookup(claim.key)).toEqual(reply.owner);
      }
    });

    test("by many claimants over all handles has one winner, which all of them get", async () => {
      for (let round = 0; round < 5; round++) {
        const claims = Array.from({ length: 64 }, () => claimOf("")).map((claim, i) => ({
          ...claim,
          rrp: `rrp:test/n${i}/contended`,
        }));
        const key = freshKey();
        const replies = await Promise.all(
          claims.map((claim, i) =>
            (stores.handles[i % stores.handles.length] as Store).claim({ ...claim, key })
          ),
        );
        const winners = replies.filter(({ won }) => won);
        expect(winners).toHaveLength(1);
        for (const { owner } of replies) expect(owner).toEqual(winners[0]?.owner);
        const place = replies.findIndex(({ won }) => won);
        expect(winners[0]?.owner?.incarnation).toBe(claims[place]?.incarnation);
      }
    });

    test("repeated with its opId gets the same answer, from any handle", async () => {
      const claim = claimOf(freshKey());
      const first = await stores.store.claim(claim);
      for (const handle of stores.handles) expect(await handle.claim(claim)).toEqual(first);
      const burst = await Promise.all(
        Array.from({ length: 8 }, () => stores.store.claim(claim)),
      );
      for (const reply of burst) expect(reply).toEqual(first);
      expect((await stores.store.claim({ ...claim, opId: crypto.randomUUID() })).won).toBe(false);
    });

    test("takes over exactly the owner it expected", async () => {
      const key = freshKey();
      const old = await own(stores.store, key);
      const { incarnation, epoch } = old;
      const wrong = [
        null,
        { incarnation: crypto.randomUUID(), epoch },
        { incarnation, epoch: epoch + 1 },
        { incarnation, epoch: epoch - 1 },
      ];
      for (const expected of wrong) {
        expect(await stores.store.claim(claimOf(key, { expected })))
          .toEqual({ won: false, owner: old });
      }
      const claim = claimOf(key, { expected: { incarnation, epoch } });
      const taken = await stores.store.claim(claim);
      expect(taken.won).toBe(true);
      expect(taken.owner?.incarnation).toBe(claim.incarnation);
      expect(taken.owner?.epoch).toBeGreaterThan(epoch);
      expect(await stores.store.claim(claim)).toEqual(taken);
      expect(await stores.store.claim(claimOf(key, { expected: { incarnation, epoch } })))
        .toEqual({ won: false, owner: taken.owner });
    });

    test("that expects an owner of an unowned key neither wins nor names an owner", async () => {
      const expected = { incarnation: crypto.randomUUID(), epoch: 1 };
      const nobody = { won: false, owner: null };
      expect(await stores.store.claim(claimOf(freshKey(), { expected }))).toEqual(nobody);
      const key = freshKey();
      const { incarnation, epoch } = await own(stores.store, key);
      await stores.store.release(key, incarnation, epoch);
      expect(await stores.store.claim(claimOf(key, { expected: { incarnation, epoch } })))
        .toEqual(nobody);
    });

    test("by two nodes that take over from one dead owner is won by one of them", async () => {
      const key = freshKey();
      const { incarnation, epoch } = await own(stores.store, key);
      const replies: ClaimReply[] = await Promise.all(
        stores.handles.map((handle) =>
          handle.claim(claimOf(key, { expected: { incarnation, epoch } }))
        ),
      );
      expect(replies.filter(({ won }) => won)).toHaveLength(1);
      expect(new Set(replies.map(({ owner }) => owner?.incarnation)).size).toBe(1);
    });

    test("gets a higher epoch after each release, re-claim and takeover", async () => {
      const key = freshKey();
      let last = 0;
      for (let round = 0; round < 10; round++) {
        const owner = await own(stores.handles[round % stores.handles.length] as Store, key);
        expect(owner.epoch).toBeGreaterThan(last);
        last = owner.epoch;
        expect(await stores.store.release(key, owner.incarnation, owner.epoch)).toBe(true);
        expect(await stores.store.lookup(key)).toBeNull();
      }
    });

    test("gets an epoch above the one that it names, and so does every later claim", async () => {
      const key = freshKey();
      const first = await own(stores.store, key, { above: 5_000_000 });
      expect(first.epoch).toBeGreaterThan(5_000_000);
      const { incarnation, epoch } = first;
      const low = claimOf(key, { expected: { incarnation, epoch }, above: 7 });
      const taken = await stores.store.claim(low);
      expect(taken.won).toBe(true);
      expect(taken.owner?.epoch).toBeGreaterThan(epoch);
      await stores.store.release(key, low.incarnation, taken.owner?.epoch ?? 0);
      expect((await own(stores.store, key)).epoch).toBeGreaterThan(taken.owner?.epoch ?? 0);
      await refuses(stores.store.claim(claimOf(key, { above: -1 })), "bad_request", "above");
    });

    test("may be one of 2,000 in one tick, each with its own answer", async () => {
      const claims = Array.from({ length: 2_000 }, (_, i) => claimOf(freshKey(`t${i % 7}`)));
      const replies = await Promise.all(claims.map((claim) => stores.store.claim(claim)));
      replies.forEach(({ won, owner }, i) => {
        expect(won && owner?.rrp === claims[i]?.rrp).toBe(true);
      });
      const found = await Promise.all(claims.map(({ key }) => stores.store.lookup(key)));
      found.forEach((owner, i) => expect(owner).toEqual(replies[i]?.owner));
    });

    test("is refused if an entry can't hold its fields", async () => {
      const key = freshKey();
      await refuses(stores.store.claim(claimOf("")), "bad_request", "key");
      await refuses(stores.store.claim(claimOf(key, { rrp: "rrp:a b" })), "bad_request", "rrp");
      const long = `rrp:r/n/t/${"x".repeat(2_000)}`;
      await refuses(stores.store.claim(claimOf(key, { rrp: long })), "bad_request", "rrp");
      await refuses(stores.store.claim(claimOf(key, { opId: "" })), "bad_request", "opId");
      const bad = { incarnation: "x", epoch: 0.5 };
      await refuses(stores.store.claim(claimOf(key, { expected: bad })), "bad_request", "epoch");
      expect(await stores.store.lookup(key)).toBeNull();
    });
  });

  describe("release", () => {
    test("succeeds only for the owner in its epoch, and once", async () => {
      const key = freshKey();
      const { incarnation, epoch } = await own(stores.store, key);
      expect(await stores.store.release(key, crypto.randomUUID(), epoch)).toBe(false);
      expect(await stores.store.release(key, incarnation, epoch + 1)).toBe(false);
      expect(await stores.store.lookup(key)).not.toBeNull();
      expect(await stores.store.release(key, incarnation, epoch)).toBe(true);
      expect(await stores.store.release(key, incarnation, epoch)).toBe(false);
      expect(await stores.store.release(freshKey(), incarnation, epoch)).toBe(false);
    });

    test("leaves the state to the next owner", async () => {
      const key = freshKey();
      const { incarnation, epoch } = await own(stores.store, key);
      const puts = [["a", "1"]] as const;
      await stores.store.commit({ key, incarnation, epoch, turn: 1, puts, deletes: [] });
      await stores.store.release(key, incarnation, epoch);
      await own(stores.store, key);
      expect(await stores.store.read(key, ["a"])).toEqual(["1"]);
    });
  });

  describe("list", () => {
    async function all(prefix: string, limit: number): Promise<Ownership[]> {
      const found: Ownership[] = [];
      let cursor: string | null = null;
      do {
        const page = await stores.store.list(prefix, cursor, limit);
        expect(page.entries.length).toBeLessThanOrEqual(limit);
        found.push(...page.entries);
        cursor = page.next;
      } while (cursor !== null);
      return found;
    }

    test("pages through a prefix and nothing else", async () => {
      const region = fresh("region");
      const wanted = new Map<string, Ownership>();
      await Promise.all(Array.from({ length: 60 }, async (_, i) => {
        const key = freshKey(i % 2 ? "channels" : "sessions");
        const rrp = `rrp:${region}/n${i % 3}/${key}`;
        wanted.set(rrp, await own(stores.store, key, { rrp }));
      }));
      await own(stores.store, freshKey(), { rrp: `rrp:${region}0/n0/channels/x` });
      for (const limit of [1, 7, 1_000]) {
        const found = new Map((await all(`rrp:${region}/`, limit)).map((o) => [o.rrp, o]));
        expect(found).toEqual(wanted);
      }
      const some = await all(`rrp:${region}/n1/channels/`, 10);
      expect(new Set(some.map(({ rrp }) => rrp))).toEqual(
        new Set([...wanted.keys()].filter((rrp) => rrp.startsWith(`rrp:${region}/n1/channels/`))),
      );
      expect(await all(`rrp:${fresh("empty")}/`, 10)).toEqual([]);
    });

    test("skips what was released", async () => {
      const region = fresh("region");
      const [kept, gone] = [freshKey(), freshKey()];
      await own(stores.store, kept, { rrp: `rrp:${region}/n/${kept}` });
      const owner = await own(stores.store, gone, { rrp: `rrp:${region}/n/${gone}` });
      await stores.store.release(gone, owner.incarnation, owner.epoch);
      expect((await all(`rrp:${region}/`, 10)).map(({ rrp }) => rrp))
        .toEqual([`rrp:${region}/n/${kept}`]);
    });

    test("refuses a limit below 1", async () => {
      await refuses(stores.store.list("rrp:", null, 0), "bad_request", "limit");
    });
  });
}
