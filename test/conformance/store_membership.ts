/** The store suite on membership: `register`, `renew`, `kill` and `leave`. */
import { describe, expect, test } from "vitest";
import { MAX_DEAD_MEMBERS } from "../../src/limits.ts";
import type { Member, MemberState } from "../../src/model/member.ts";
import type { Store } from "../../src/ports/store.ts";
import type { Stores } from "./store.ts";
import { freshMember } from "./store_kit.ts";

const asked = { ifFree: false };

async function find(store: Store, incarnation: string): Promise<Member | undefined> {
  return (await store.members()).members.find((member) => member.incarnation === incarnation);
}

async function version(store: Store): Promise<number> {
  return (await store.members()).version;
}

export function membershipTests(stores: Stores): void {
  describe("register", () => {
    test("adds a live member that every handle sees", async () => {
      const info = freshMember();
      const before = await version(stores.store);
      const reply = await stores.store.register(info, asked);
      expect(reply.outcome).toBe("registered");
      expect(reply.version).toBeGreaterThan(before);
      for (const handle of stores.handles) {
        expect(await find(handle, info.incarnation)).toEqual({ ...info, seq: 0, state: "live" });
      }
    });

    test("repeated while live changes nothing", async () => {
      const info = freshMember();
      const first = await stores.store.register(info, asked);
      await stores.store.renew(info.incarnation, 7, []);
      expect(await stores.store.register(info, { ifFree: true })).toEqual(first);
      expect((await find(stores.store, info.incarnation))?.seq).toBe(7);
    });

    test("supersedes the older incarnation of its name, and only that", async () => {
      const old = freshMember();
      const other = freshMember();
      const elsewhere = freshMember({ node: old.node, region: "other" });
      for (const info of [old, other, elsewhere]) await stores.store.register(info, asked);
      const young = freshMember({ node: old.node });
      expect((await stores.store.register(young, asked)).outcome).toBe("registered");
      const state = async (incarnation: string) => (await find(stores.store, incarnation))?.state;
      expect(await state(old.incarnation)).toBe("superseded");
      expect(await state(young.incarnation)).toBe("live");
      expect(await state(other.incarnation)).toBe("live");
      expect(await state(elsewhere.incarnation)).toBe("live");
      expect((await stores.store.register(old, asked)).outcome).toBe("fenced");
      expect(await state(young.incarnation)).toBe("live");
    });

    test("if free: refuses a name that another live member holds, and changes nothing", async () => {
      const holder = freshMember();
      await stores.store.register(holder, asked);
      const before = await stores.store.members();
      const rival = freshMember({ node: holder.node });
      const reply = await stores.store.register(rival, { ifFree: true });
      expect(reply).toMatchObject({ outcome: "name_taken", version: before.version });
      expect(await find(stores.store, rival.incarnation)).toBeUndefined();
      await stores.store.leave(holder);
      expect((await stores.store.register(rival, { ifFree: true })).outcome).toBe("registered");
    });

    test("if free: of many concurrent registrations exactly one gets the name", async () => {
      const { node } = freshMember();
      const replies = await Promise.all(
        Array.from({ length: 16 }, (_, i) =>
          (stores.handles[i % stores.handles.length] as Store)
            .register(freshMember({ node }), { ifFree: true })),
      );
      expect(replies.filter(({ outcome }) => outcome === "registered")).toHaveLength(1);
      expect(replies.filter(({ outcome }) => outcome === "name_taken")).toHaveLength(15);
    });

    test("keeps only a limited number of dead members, the latest; a pruned one is unknown", async () => {
      const gone = Array.from({ length: MAX_DEAD_MEMBERS + 6 }, () => freshMember());
      for (const info of gone) {
        await stores.store.register(info, asked);
        await stores.store.leave(info);
      }
      const last = freshMember();
      await stores.store.register(last, asked);
      const { members } = await stores.store.members();
      const dead = members.filter(({ state }) => state === "dead" || state === "left");
      expect(dead).toHaveLength(MAX_DEAD_MEMBERS);
      const kept = new Set(dead.map(({ incarnation }) => incarnation));
      expect(gone.slice(0, 6).some(({ incarnation }) => kept.has(incarnation))).toBe(false);
      expect(gone.slice(6).every(({ incarnation }) => kept.has(incarnation))).toBe(true);
      const [first] = gone as [typeof last];
      expect(await stores.store.kill(first.incarnation, 0)).toBeNull();
      expect((await stores.store.renew(first.incarnation, 1, [])).state).toBe("dead");
      expect((await find(stores.store, last.incarnation))?.state).toBe("live");
    });

    test("keeps unusual text in its fields unchanged", async () => {
      const info = freshMember({ address: 'ws://[::1]:1/?a="\\é😀', hosts: [] });
      await stores.store.register(info, asked);
      expect(await find(stores.store, info.incarnation)).toEqual({
        ...info,
        seq: 0,
        state: "live",
      });
    });
  });

  test("keeps a member's roles and the types that it hosts", async () => {
    const info = freshMember({ hosts: ["channels"], serves: ["authority"] });
    await stores.store.register(info, asked);
    expect(await find(stores.store, info.incarnation)).toEqual({ ...info, seq: 0, state: "live" });
  });

  describe("renew", () => {
    test("raises seq, never lowers it, and leaves the version alone", async () => {
      const info = freshMember();
      const { version: at } = await stores.store.register(info, asked);
      for (const [seq, now] of [[1, 1], [10, 10], [3, 10], [10, 10], [11, 11]] as const) {
        const reply = await stores.store.renew(info.incarnation, seq, [info.incarnation]);
        expect(reply).toMatchObject({
          outcome: "renewed",
          state: "live",
          version: at,
          watched: [{ incarnation: info.incarnation, seq: now, state: "live" }],
        });
      }
    });

    test("is fenced for superseded, dead, left and unknown members", async () => {
      const end: Record<string, (info: ReturnType<typeof freshMember>) => Promise<unknown>> = {
        superseded: ({ node }) => stores.store.register(freshMember({ node }), asked),
        dead: ({ incarnation }) => stores.store.kill(incarnation, 0),
        left: (info) => stores.store.leave(info),
      };
      for (const [state, finish] of Object.entries(end)) {
        const info = freshMember();
        await stores.store.register(info, asked);
        await finish(info);
        const reply = await stores.store.renew(info.incarnation, 5, []);
        expect(reply.outcome).toBe("fenced");
        expect(reply.state).toBe(state);
        expect((await find(stores.store, info.incarnation))?.seq).toBe(0);
      }
      const unknown = await stores.store.renew(crypto.randomUUID(), 5, []);
      expect(unknown).toMatchObject({ outcome: "fenced", state: "dead", watched: [] });
    });

    test("returns the watched members that are known, fenced or not", async () => {
      const [self, live, dead] = [freshMember(), freshMember(), freshMember()];
      for (const info of [self, live, dead]) await stores.store.register(info, asked);
      await stores.store.renew(live.incarnation, 4, []);
      await stores.store.kill(dead.incarnation, 0);
      const watch = [dead.incarnation, crypto.randomUUID(), live.incarnation];
      const wanted = [
        { incarnation: dead.incarnation, seq: 0, state: "dead" as MemberState },
        { incarnation: live.incarnation, seq: 4, state: "live" as MemberState },
      ];
      const sorted = (list: readonly { incarnation: string }[]) =>
        [...list].sort((a, b) => a.incarnation < b.incarnation ? -1 : 1);
      for (const asker of [self.incarnation, dead.incarnation]) {
        const { watched } = await stores.store.renew(asker, 1, watch);
        expect(sorted(watched)).toEqual(sorted(wanted));
      }
    });
  });

  describe("kill and leave", () => {
    test("kill has no effect on a member whose seq has changed", async () => {
      const info = freshMember();
      await stores.store.register(info, asked);
      await stores.store.renew(info.incarnation, 2, []);
      expect(await stores.store.kill(info.incarnation, 1)).toBe("live");
      expect((await stores.store.renew(info.incarnation, 3, [])).outcome).toBe("renewed");
      expect(await stores.store.kill(info.incarnation, 3)).toBe("dead");
      expect((await stores.store.renew(info.incarnation, 4, [])).outcome).toBe("fenced");
    });

    test("a renewal and a kill at the same time: one of them wins, never both", async () => {
      const [one, other] = stores.handles as [Store, Store];
      for (let round = 0; round < 20; round++) {
        const info = freshMember();
        await one.register(info, asked);
        const [killed, renewed] = await Promise.all([
          one.kill(info.incarnation, 0),
          other.renew(info.incarnation, 1, []),
        ]);
        expect(killed === "dead").toBe(renewed.outcome === "fenced");
      }
    });

    test("kill ends a superseded member, and returns null for an unknown one", async () => {
      const old = freshMember();
      await stores.store.register(old, asked);
      await stores.store.register(freshMember({ node: old.node }), asked);
      expect(await stores.store.kill(old.incarnation, 1)).toBe("superseded");
      expect(await stores.store.kill(old.incarnation, 0)).toBe("dead");
      expect(await stores.store.kill(crypto.randomUUID(), 0)).toBeNull();
    });

    test("leave frees the name whatever the seq is; the states dead and left are permanent", async () => {
      const info = freshMember();
      await stores.store.register(info, asked);
      await stores.store.renew(info.incarnation, 9, []);
      await stores.store.leave(info);
      expect(await stores.store.kill(info.incarnation, 9)).toBe("left");
      expect((await stores.store.register(info, asked)).outcome).toBe("fenced");
      const next = freshMember({ node: info.node });
      expect((await stores.store.register(next, { ifFree: true })).outcome).toBe("registered");
      expect(await stores.store.kill(next.incarnation, 0)).toBe("dead");
      await stores.store.leave(next);
      expect((await find(stores.store, next.incarnation))?.state).toBe("dead");
    });

    test("a member that leaves before its registration arrives is fenced when it arrives", async () => {
      const info = freshMember();
      await stores.store.leave(info);
      expect((await find(stores.store, info.incarnation))?.state).toBe("left");
      expect((await stores.store.register(info, asked)).outcome).toBe("fenced");
      const next = freshMember({ node: info.node });
      expect((await stores.store.register(next, { ifFree: true })).outcome).toBe("registered");
    });

    test("the version rises with each change of membership, and at no other time", async () => {
      const info = freshMember();
      const versions = [await version(stores.store)];
      await stores.store.register(info, asked);
      versions.push(await version(stores.store));
      await stores.store.register(freshMember({ node: info.node }), asked);
      versions.push(await version(stores.store));
      await stores.store.kill(info.incarnation, 0);
      versions.push(await version(stores.store));
      expect([...new Set(versions)].sort((a, b) => a - b)).toEqual(versions);
      await stores.store.kill(info.incarnation, 0);
      await stores.store.leave(info);
      await stores.store.register(info, asked);
      await stores.store.renew(info.incarnation, 1, []);
      expect(await version(stores.store)).toBe(versions.at(-1));
    });
  });
}
