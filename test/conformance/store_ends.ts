/** The store suite on crashes of the backend and on closed handles. */
import { describe, expect, test } from "vitest";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Store } from "../../src/ports/store.ts";
import type { Stores } from "./store.ts";
import { claimOf, eventually, freshKey, freshMember, own, refuses } from "./store_kit.ts";

export function endsTests(stores: Stores): void {
  test("a crash of the store loses nothing acknowledged, and epochs still rise", async (context) => {
    if (!stores.backend.crash) return context.skip("nothing of it outlives the process");
    const keys = Array.from({ length: 100 }, () => freshKey());
    const owners = await Promise.all(keys.map((key) => own(stores.store, key)));
    await Promise.all(owners.map(({ incarnation, epoch }, i) =>
      stores.store.commit({
        key: keys[i] as string,
        incarnation,
        epoch,
        turn: 1,
        puts: [["n", String(i)]],
        deletes: [],
      })
    ));
    const [released, kept] = keys as [string, string];
    const { incarnation, epoch } = owners[0] as Ownership;
    await stores.store.release(released, incarnation, epoch);
    const member = freshMember();
    await stores.store.register(member, { ifFree: true });
    await stores.store.renew(member.incarnation, 5, []);

    await stores.backend.crash();

    const store: Store = await eventually(async () => {
      const opened = await stores.backend.open();
      await opened.lookup(kept);
      return opened;
    });
    try {
      expect(await store.lookup(released)).toBeNull();
      const again = await own(store, released);
      expect(again.epoch).toBeGreaterThan(epoch);
      const found = await Promise.all(keys.slice(1).map((key) => store.lookup(key)));
      expect(found).toEqual(owners.slice(1));
      const read = await Promise.all(keys.map((key) => store.read(key, ["n"])));
      read.forEach((values, i) => expect(values).toEqual([String(i)]));
      const { watched } = await store.renew(member.incarnation, 5, [member.incarnation]);
      expect(watched).toEqual([{ incarnation: member.incarnation, seq: 5, state: "live" }]);
    } finally {
      await store.close();
    }
    for (const handle of stores.handles) {
      await eventually(() => handle.lookup(kept));
      // A handle on several servers may have seen another server return first.
      await eventually(async () => handle.status() === "up" ? true : undefined);
    }
  });

  describe("close", () => {
    test("afterwards every step rejects, and other handles go on", async () => {
      const closed = await stores.backend.open();
      const shared = closed === stores.store;
      if (shared) return;
      expect(closed.status()).toBe("up");
      const key = freshKey();
      const started = closed.claim(claimOf(key)).then(() => "answered", (error) => error.code);
      await closed.close();
      expect(["answered", "unavailable"]).toContain(await started);
      await closed.close();
      expect(closed.status()).toBe("down");
      await everythingRejects(closed);
      expect(await stores.store.members()).toBeTruthy();
    });
  });
}

/** Checks that every method of a closed store rejects. */
export async function everythingRejects(store: Store): Promise<void> {
  const key = freshKey();
  const range = { start: "", end: "z", limit: 1, reverse: false };
  const steps: (() => Promise<unknown>)[] = [
    () => store.register(freshMember(), { ifFree: false }),
    () => store.renew("x", 1, []),
    () => store.kill("x", 1),
    () => store.leave(freshMember()),
    () => store.members(),
    () => store.lookup(key),
    () => store.claim(claimOf(key)),
    () => store.release(key, "x", 1),
    () => store.list("rrp:", null, 1),
    () => store.read(key, ["a"]),
    () => store.range(key, range),
    () => store.commit({ key, incarnation: "x", epoch: 1, turn: 1, puts: [], deletes: [] }),
  ];
  for (const step of steps) await refuses(step(), "unavailable", "closed");
}
