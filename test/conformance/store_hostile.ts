/**
 * The store suite on rows that other programs wrote: an unreadable row affects nothing else, and
 * no owner loses its fencing by it.
 *
 * Covers adapters/store/member_rows.ts.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { MAX_ADDRESS, MAX_MEMBER_BYTES, MAX_MEMBER_TYPES } from "../../src/limits.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Store } from "../../src/ports/store.ts";
import type { HostileWriter, RawMember, Stores } from "./store.ts";
import { claimOf, fresh, freshKey, freshMember, own, refuses } from "./store_kit.ts";

const LONG = "x".repeat(MAX_ADDRESS + 1);
const MILLION = `[${Array.from({ length: 1_000_000 }, () => '"a"').join()}]`;
const TOO_MANY = `[${Array.from({ length: MAX_MEMBER_TYPES + 1 }, () => '"a"').join()}]`;

/** Parts of a row that can't be read, by what is wrong with them. */
const ROWS: { readonly [kind: string]: Partial<RawMember> } = {
  "no JSON": { info: "not json" },
  "JSON that is no object": { info: "7" },
  "null": { info: "null" },
  "JSON nested 100,000 deep": { info: "[".repeat(100_000) },
  "nothing at all": { info: "" },
  "a region that is no token": { region: "eu/west" },
  "an empty region": { region: "" },
  "a node's name that is no token": { node: "a\nb c" },
  "a node's name of 1 MB": { node: "n".repeat(1_000_000) },
  "an address of 1 MB": { address: `ws://127.0.0.1/${"a".repeat(1_000_000)}` },
  "an address that is too long": { address: LONG },
  "hosts that are no list": { hosts: '{"a":1}' },
  "hosts that are numbers": { hosts: "[1,2]" },
  "hosts that are lists": { hosts: "[[],null]" },
  "hosts that are no tokens": { hosts: '["a/b"]' },
  "hosts that are too many": { hosts: TOO_MANY },
  "a million hosts": { hosts: MILLION },
  "more bytes than are fetched": { hosts: JSON.stringify(["h".repeat(MAX_MEMBER_BYTES)]) },
  "a negative seq": { seq: "-5" },
  "a seq that is no number": { seq: "NaN" },
  "a seq beyond safe integers": { seq: "9223372036854775807" },
  "a state that nobody knows": { state: "undead" },
};

const EPOCHS = ["9007199254740993", "9223372036854775807", "-1", "x"];

function rowOf(parts: Partial<RawMember>): RawMember {
  return {
    incarnation: crypto.randomUUID(),
    region: "test",
    node: fresh("hostile"),
    address: "ws://127.0.0.1:1/atlas/link",
    hosts: '["channels"]',
    seq: "0",
    state: "live",
    ...parts,
  };
}

/** A key whose slot no other test uses. */
let slots = 0;
function loneKey(): string {
  for (slots++;;) {
    const key = freshKey("lone");
    if (slotOf(key) % 512 === slots) return key;
  }
}

export function hostileTests(stores: Stores): void {
  describe("rows that other programs wrote", () => {
    let writer: HostileWriter;
    let store: Store;

    beforeEach(({ skip }) => {
      skip(stores.backend.writer === undefined, "nobody else can write there");
      writer = stores.backend.writer as HostileWriter;
      store = stores.store;
    });

    describe("a member with", () => {
      for (const [kind, parts] of Object.entries(ROWS)) {
        test(`${kind} is left out and reported; others register, renew and are listed`, async () => {
          const [old, young] = [freshMember(), freshMember()];
          await store.register(old, { ifFree: true });
          const row = rowOf(parts);
          await writer.member(row);

          expect((await store.register(young, { ifFree: true })).outcome).toBe("registered");
          expect((await store.renew(old.incarnation, 3, [row.incarnation])).outcome)
            .toBe("renewed");
          const { members, unreadable = [] } = await store.members();
          const named = members.map(({ incarnation }) => incarnation);
          expect(named).toEqual(expect.arrayContaining([old.incarnation, young.incarnation]));
          expect(named).not.toContain(row.incarnation);
          const reported = unreadable.filter(({ incarnation }) => incarnation === row.incarnation);
          expect(reported).toHaveLength(1);
          expect(reported[0]?.reason.length).toBeLessThan(300);
        });
      }
    });

    test("a member with an unreadable row may hold a lease: it is watched, and killed by its seq", async () => {
      const watcher = freshMember();
      await store.register(watcher, { ifFree: true });
      for (const kind of ["no JSON", "a seq that is no number", "a state that nobody knows"]) {
        const row = rowOf(ROWS[kind] as Partial<RawMember>);
        await writer.member(row);
        const seen = (await store.members()).unreadable
          ?.find(({ incarnation }) => incarnation === row.incarnation);
        expect(["live", "superseded"]).toContain(seen?.state);
        const { watched } = await store.renew(watcher.incarnation, 1, [row.incarnation]);
        const { incarnation, seq, state } = seen as NonNullable<typeof seen>;
        expect(watched).toEqual([{ incarnation, seq, state }]);
        expect(await store.kill(row.incarnation, seq + 1)).toBe(state);
        expect(await store.kill(row.incarnation, seq)).toBe("dead");
        expect(await store.kill(row.incarnation, seq)).toBe("dead");
      }
    });

    test("a live node whose seq or row was overwritten goes on, and repairs it", async () => {
      const info = freshMember();
      await store.register(info, { ifFree: true });
      for (const seq of ["NaN", "-1", "9223372036854775807"]) {
        await writer.seq(info.incarnation, seq);
        const reply = await store.renew(info.incarnation, 5, [info.incarnation]);
        expect(reply.outcome).toBe("renewed");
        expect(reply.watched).toEqual([{ incarnation: info.incarnation, seq: 5, state: "live" }]);
      }
      await writer.corruptMember(info.incarnation);
      expect((await store.renew(info.incarnation, 6, [])).outcome).toBe("renewed");
      expect((await store.register(info, { ifFree: true })).outcome).toBe("registered");
      expect((await store.members()).members)
        .toContainEqual({ ...info, seq: 6, state: "live" });
      await writer.corruptMember(info.incarnation);
      await store.leave(info);
      const next = freshMember({ node: info.node });
      expect((await store.register(next, { ifFree: true })).outcome).toBe("registered");
    });

    test("a version of membership that can't be read is repaired", async () => {
      for (const text of ["x", "-7", "9223372036854775807"]) {
        await writer.version(text);
        const info = freshMember();
        expect((await store.register(info, { ifFree: true })).outcome).toBe("registered");
        const { version } = await store.members();
        expect(Number.isSafeInteger(version)).toBe(true);
        await store.leave(info);
        expect((await store.members()).version).toBeGreaterThan(version);
      }
    });

    test("an unreadable owner is one clear error for its key, and affects no other", async () => {
      const entries = [
        ...EPOCHS.map((epoch) => [epoch, "rrp:a/b/c/d"] as const),
        ["7", "no pointer"] as const,
        ["7", `rrp:a/b/c/${"d".repeat(5_000)}`] as const,
      ];
      const [other] = await Promise.all([own(store, freshKey())]);
      for (const [epoch, rrp] of entries) {
        const key = freshKey();
        await writer.owner(key, epoch, rrp);
        const error = await store.lookup(key).catch((reason) => reason);
        expect(error).toMatchObject({ code: "unavailable", retryable: false });
        expect(error.message).toMatch(new RegExp(`of "${key}" can't be read: .`));
        const turn = { key, incarnation: "i", epoch: 1, turn: 1, puts: [], deletes: [] };
        const [claimed] = await Promise.all([
          own(store, freshKey()),
          refuses(store.claim(claimOf(key)), "unavailable", key),
          store.commit(turn).then(
            (reply) => expect(reply).toBe("fenced"),
            (reason) => expect(reason).toMatchObject({ code: "unavailable", retryable: false }),
          ),
        ]);
        expect(claimed.epoch).toBeGreaterThan(0);
      }
      expect(other.epoch).toBeGreaterThan(0);
    });

    test("a listing skips unreadable entries, and names them", async () => {
      const node = fresh("lister");
      const keys = Array.from({ length: 5 }, () => freshKey());
      for (const key of keys) await own(store, key, { rrp: `rrp:test/${node}/${key}` });
      const broken = freshKey();
      await writer.owner(broken, "x", "rrp:a/b/c/d");
      await writer.owner(`${broken} with space`, "1", `rrp:test/${node}/odd`);
      const found: string[] = [];
      const named: string[] = [];
      for (let cursor: string | null = null, page = 0;; page++) {
        expect(page).toBeLessThan(10_000);
        const { entries, unreadable = [], next } = await store.list("rrp:test/", cursor, 3);
        found.push(...entries.map(({ rrp }) => rrp));
        named.push(...unreadable.map(({ message }) => message));
        if (next === null) break;
        cursor = next;
      }
      expect(found).toEqual(
        expect.arrayContaining(keys.map((key) => `rrp:test/${node}/${key}`)),
      );
      expect(named.some((message) => message.includes(broken))).toBe(true);
    });

    test("claims are refused in a slot with an unreadable epoch counter: no epoch may fall", async () => {
      for (const text of ["x", "-1", "9007199254740993", "9223372036854775807"]) {
        const key = loneKey();
        const owner = await own(store, key);
        await writer.counter(key, text);
        const expected = { incarnation: owner.incarnation, epoch: owner.epoch };
        await refuses(store.claim(claimOf(key, { expected })), "unavailable", key);
        expect(await store.lookup(key)).toEqual(owner);
        const { incarnation, epoch } = owner;
        const turn = { key, incarnation, epoch, turn: 1, puts: [], deletes: [] };
        expect(await store.commit(turn)).toBe("committed");
        // Repaired by hand: the counter is set above all epochs that were given.
        await writer.counter(key, String(owner.epoch + 1_000));
        expect((await store.claim(claimOf(key, { expected }))).owner?.epoch)
          .toBeGreaterThan(owner.epoch);
      }
    });

    test("a counter that was lost repeats no epoch of an entry or a state", async () => {
      const key = loneKey();
      const first = await own(store, key);
      await writer.counter(key, "0");
      const expected = { incarnation: first.incarnation, epoch: first.epoch };
      const { owner: second } = await store.claim(claimOf(key, { expected }));
      expect(second?.epoch).toBeGreaterThan(first.epoch);
      const { incarnation, epoch } = second as Ownership;
      const turn = { key, incarnation, epoch, turn: 1, puts: [["a", "1"]] as const, deletes: [] };
      expect(await store.commit(turn)).toBe("committed");
      await store.release(key, incarnation, epoch);
      await writer.counter(key, "0");
      expect((await own(store, key)).epoch).toBeGreaterThan(epoch);
    });

    test("an unreadable last turn fails that key's commits as a whole", async () => {
      const key = freshKey();
      const { incarnation, epoch } = await own(store, key);
      await writer.turn(key, "x", "-1");
      const puts = [["a", "1"]] as const;
      const turn = { key, incarnation, epoch, turn: 1, puts, deletes: [] };
      await refuses(store.commit(turn), "unavailable", key);
      expect(await store.read(key, ["a"])).toEqual([null]);
      await own(store, freshKey());
    });

    test("a reassertion loses only unreadable entries", async ({ skip }) => {
      const [fine, broken] = [freshKey(), freshKey()];
      const owners = await Promise.all([own(store, fine), own(store, broken)]);
      await writer.owner(broken, "x", "rrp:a/b/c/d");
      const { lineage } = await store.renew("nobody", 0, []);
      const none = { epoch: 0, turn: 0 };
      const reassertions = owners.map((owner, i) => ({
        ...owner,
        key: [fine, broken][i] as string,
        after: none,
      }));
      const standings = await store.reassert(reassertions, lineage);
      if (standings === null) return skip("its keys lie in several stores");
      expect(standings.map(({ standing }) => standing)).toEqual(["kept", "lost"]);
    });
  });

  test("a member whose row would be unreadable is refused before it is written", async () => {
    const wrong = [
      freshMember({ region: "eu/west" }),
      freshMember({ node: "" }),
      freshMember({ address: LONG }),
      freshMember({ hosts: ["a b"] }),
      freshMember({ hosts: Array.from({ length: MAX_MEMBER_TYPES + 1 }, () => "a") }),
    ];
    for (const info of wrong) {
      await refuses(stores.store.register(info, { ifFree: true }), "bad_request", "member");
      await refuses(stores.store.leave(info), "bad_request", "member");
    }
  });
}
