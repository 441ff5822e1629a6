/**
 * Keys that move between regions: with their state, exactly once, whatever fails on the way.
 *
 * Covers adapters/store/regional/state_import.ts and adapters/store/regional/entries.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { memoryStore } from "../../adapters/store/memory.ts";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Store } from "../../src/ports/store.ts";
import { claimOf, freshKey, own, refuses } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { contents, lost, REGIONS, Regions, write } from "./regions.ts";
import { unless } from "../support/unless.ts";

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const it of opened.splice(0).reverse()) await it.close();
});

function regions(backends?: Record<string, Store>): Regions {
  const made = new Regions(backends);
  opened.push(made);
  return made;
}

/** A key of `us` with state that has departed to `eu`. */
async function gone(world: Regions, fields = { "s:a": "1", "s:b": "2" }, to = "eu") {
  const key = freshKey();
  const us = await world.handle("us");
  const owner = await own(us, key);
  expect(await write(us, key, owner, 1, fields)).toBe("committed");
  expect(await us.depart?.(key, owner.incarnation, owner.epoch, to)).toBe(true);
  return { key, us, owner, fields };
}

/** Looks a key up and then claims it, as the core does. */
async function take(store: Store, key: string): Promise<Ownership> {
  const present = await store.lookup(key);
  const expected = present && { incarnation: present.incarnation, epoch: present.epoch };
  return await own(store, key, { expected });
}

describe("a move", () => {
  test("takes state along, and raises the epoch; the old owner is fenced", async () => {
    const world = regions();
    const { key, us, owner, fields } = await gone(world);
    expect(us.homeOf?.(key)).toBe("eu");
    expect(await us.lookup(key)).toBeNull();
    expect(await write(us, key, owner, 2, { "s:a": "late" })).toBe("fenced");
    expect(await us.release(key, owner.incarnation, owner.epoch)).toBe(false);
    await refuses(us.claim(claimOf(key)), "unavailable", "at home in eu");

    const eu = await world.handle("eu");
    await refuses(eu.claim(claimOf(key)), "unavailable", "at home in us");
    const moved = await take(eu, key);
    expect(moved.epoch).toBeGreaterThan(owner.epoch);
    expect(await contents(eu, key)).toEqual(fields);
    expect(await write(eu, key, moved, 1, { "s:c": "3" })).toBe("committed");
    for (const region of REGIONS) {
      expect(await (await world.handle(region)).lookup(key)).toEqual(moved);
    }
  });

  test("gets the same answer when it is repeated, and is refused to any other node", async () => {
    const world = regions();
    const { key, us, owner } = await gone(world);
    const { incarnation, epoch } = owner;
    expect(await us.depart?.(key, incarnation, epoch, "eu")).toBe(true);
    expect(await us.depart?.(key, incarnation, epoch, "ap")).toBe(false);
    expect(await us.depart?.(key, crypto.randomUUID(), epoch, "eu")).toBe(false);
    await refuses(us.depart?.(key, incarnation, epoch, "mars") as Promise<boolean>, "bad_request");
    await refuses(us.depart?.(key, incarnation, epoch, "us") as Promise<boolean>, "bad_request");
  });

  test("can't be undone by a claim at the old home that has not seen it", async () => {
    const world = regions();
    const { key } = await gone(world);
    const cold = await world.handle("us");
    expect(cold.homeOf?.(key)).toBe("us");
    await refuses(cold.claim(claimOf(key)), "unavailable", "at home in eu");
    const moved = await take(await world.handle("eu"), key);
    const colder = await world.handle("us");
    expect(await colder.claim(claimOf(key))).toEqual({ won: false, owner: moved });
    expect(colder.homeOf?.(key)).toBe("eu");
  });

  test("works through all regions and back home, many times", async () => {
    const world = regions();
    const handles = await Promise.all(REGIONS.map((region) => world.handle(region)));
    const key = freshKey();
    let last = 0;
    for (let lap = 0; lap < 9; lap++) {
      const at = lap % 3;
      const here = handles[at] as Store;
      const owner = await take(here, key);
      expect(owner.epoch).toBeGreaterThan(last);
      last = owner.epoch;
      const fields = await contents(here, key);
      expect(Object.keys(fields)).toHaveLength(lap === 0 ? 0 : 2);
      // State that an earlier stay left in this region must not return.
      const deletes = Object.keys(fields);
      const puts = [[`s:${lap}`, "x"], ["s:z", String(lap)]] as const;
      const { incarnation, epoch } = owner;
      const commit = { key, incarnation, epoch, turn: 1, puts, deletes };
      expect(await here.commit(commit)).toBe("committed");
      const to = REGIONS[(at + 1) % 3] as string;
      expect(await here.depart?.(key, incarnation, epoch, to)).toBe(true);
    }
    expect(await contents(handles[0] as Store, key)).toBeTruthy();
    const cold = await take(await coldIn(world, "us", key), key);
    expect(cold.epoch).toBeGreaterThan(last);
    expect(await contents(handles[0] as Store, key)).toEqual({ "s:8": "x", "s:z": "8" });
  });

  test("leaves a chain of departures that the first lookup shortens", async () => {
    const world = regions();
    const { key, fields } = await gone(world);
    const eu = await world.handle("eu");
    const second = await take(eu, key);
    await eu.depart?.(key, second.incarnation, second.epoch, "ap");
    const third = await take(await world.handle("ap"), key);
    const asked: string[] = [];
    const before = (region: string, step: string) => void (step === "lookup" && asked.push(region));
    const cold = async () => await (await world.handle("us", { before })).lookup(key);
    expect(await cold()).toEqual(third);
    asked.length = 0;
    await expect.poll(async () => {
      asked.length = 0;
      await cold();
      return asked;
    }).toEqual(["us", "ap"]);
    const ap = await world.handle("ap");
    await ap.lookup(key);
    expect(await contents(ap, key)).toEqual(fields);
  });

  test("copies state once: later writes stay, whichever node claims next", async () => {
    const world = regions();
    const { key } = await gone(world);
    const eu = await world.handle("eu");
    const first = await take(eu, key);
    await write(eu, key, first, 1, { "s:a": "new" });
    await eu.release(key, first.incarnation, first.epoch);
    const cold = await world.handle("eu");
    expect(await cold.lookup(key)).toBeNull();
    await take(cold, key);
    expect(await contents(cold, key)).toEqual({ "s:a": "new", "s:b": "2" });
  });

  test("ends in one of many concurrent claims at the new home, which gets all of the state", async () => {
    const world = regions();
    const { key, fields } = await gone(world);
    const handles = await Promise.all(Array.from({ length: 6 }, () => world.handle("eu")));
    const replies = await Promise.allSettled(handles.map(async (handle) => {
      await handle.lookup(key);
      return await handle.claim(claimOf(key));
    }));
    const won = replies.filter((it) => it.status === "fulfilled" && it.value.won);
    expect(won.length).toBeLessThanOrEqual(1);
    const owner = await handles[0]?.lookup(key);
    if (won.length === 0) expect(owner).not.toBeNull();
    expect(await contents(handles[0] as Store, key)).toEqual(fields);
  });

  test("that is complete no longer needs the old home: the new one finds, claims and reads the key alone", async () => {
    const world = regions();
    const { key, fields } = await gone(world);
    const eu = await world.handle("eu");
    const first = await take(eu, key);
    world.away.add("us");
    const cold = await world.handle("eu");
    expect(await cold.lookup(key)).toEqual(first);
    expect(cold.homeOf?.(key)).toBe("eu");
    expect(await write(cold, key, first, 1, { "s:c": "3" })).toBe("committed");
    expect(await cold.release(key, first.incarnation, first.epoch)).toBe(true);
    // The key is unowned now: its imported state shows that its home is here.
    const colder = await world.handle("eu");
    expect(await colder.lookup(key)).toBeNull();
    const second = await own(colder, key);
    expect(second.epoch).toBeGreaterThan(first.epoch);
    expect(await contents(await world.handle("eu"), key)).toEqual({ ...fields, "s:c": "3" });
    // After it has left again, the forwarding address here works like the first one.
    expect(await eu.depart?.(key, second.incarnation, second.epoch, "ap")).toBe(true);
    world.away.delete("us");
    const third = await take(await coldIn(world, "ap", key), key);
    world.away.add("us");
    expect(await (await world.handle("eu")).lookup(key)).toEqual(third);
    await refuses((await world.handle("eu")).lookup(freshKey()), "unavailable", "region us");
  });

  test("is under way until its state is copied, and needs the old home until then", async () => {
    const world = regions();
    const { key } = await gone(world);
    world.away.add("us");
    await refuses((await world.handle("eu")).lookup(key), "unavailable", "region us");
    const silent = await world.handle("eu", {
      before: (region, step) =>
        region === "eu" && step === "lookup" ? new Promise(() => {}) : undefined,
    });
    world.away.delete("us");
    // A region that doesn't answer doesn't prevent its nodes from using other regions' answers.
    expect(await silent.lookup("channels/ap~room")).toBeNull();
  });

  test("leaves one listed ownership, at the new home", async () => {
    const world = regions();
    const { key, us } = await gone(world);
    const all = async () => {
      const rrps: string[] = [];
      for (let cursor: string | null = null;;) {
        const page = await us.list("rrp:", cursor, 10);
        rrps.push(...page.entries.map(({ rrp }) => rrp));
        if (page.next === null) return rrps;
        cursor = page.next;
      }
    };
    expect(await all()).toEqual([]);
    const eu = await world.handle("eu");
    await eu.lookup(key);
    await own(eu, key, { rrp: `rrp:eu/node/${key}` });
    expect(await all()).toEqual([`rrp:eu/node/${key}`]);
  });
});

/** A handle that has looked a key up in each of its homes. */
async function coldIn(world: Regions, region: string, key: string): Promise<Store> {
  const handle = await world.handle(region);
  await handle.lookup(key);
  return handle;
}

describe("a node that dies during a move", () => {
  /** Fields enough for several pages. */
  const many = Object.fromEntries(
    Array.from({ length: 90 }, (_, i) => [`s:${String(i).padStart(3, "0")}`, `value ${i}`]),
  );

  for (const when of ["before", "after"] as const) {
    test(`${when} any step: the next claim completes the move`, async () => {
      let steps = 1;
      for (let stopAt = 1; stopAt <= steps; stopAt++) {
        const world = regions();
        const { key, owner } = await gone(world, many as { "s:a": string; "s:b": string });
        let count = 0;
        let isDead = false;
        const guard = () => {
          if (isDead || ++count === stopAt) {
            isDead = true;
            throw lost("the mover has ended");
          }
        };
        const ended = await world.handle("eu", { [when]: guard });
        const dead = crypto.randomUUID();
        await ended.lookup(key).catch(() => {});
        await ended.claim(claimOf(key, { incarnation: dead })).catch(() => {});
        if (isDead) steps = stopAt + 1;
        const next = await world.handle("eu");
        const left = await next.lookup(key);
        if (left) expect(left.incarnation).toBe(dead);
        const moved = await take(next, key);
        expect(moved.epoch).toBeGreaterThan(Math.max(owner.epoch, left?.epoch ?? 0));
        expect(await contents(next, key), `stopped ${when} step ${stopAt}`).toEqual(many);
        expect(await write(next, key, moved, 1, { "s:x": "1" })).toBe("committed");
      }
      expect(steps).toBeGreaterThan(8);
    });
  }

  test("and resumes is fenced by the node that completed the move", async () => {
    const world = regions();
    const { key } = await gone(world, many as { "s:a": string; "s:b": string });
    let wake = (): void => {};
    const slept = new Promise<void>((resolve) => (wake = resolve));
    let asleep = (): void => {};
    const fell = new Promise<void>((resolve) => (asleep = resolve));
    let commits = 0;
    const after = async (_: string, step: string): Promise<void> => {
      if (step !== "commit" || ++commits !== 2) return;
      asleep();
      await slept;
    };
    const sleeper = await world.handle("eu", { after });
    await sleeper.lookup(key);
    const claim = claimOf(key);
    const claimed = sleeper.claim(claim);
    await fell;
    const next = await world.handle("eu");
    const moved = await take(next, key);
    wake();
    await refuses(claimed, "unavailable", "another node brings");
    expect(await next.lookup(key)).toEqual(moved);
    expect(await contents(next, key)).toEqual(many);
    expect(await sleeper.claim(claim)).toEqual({ won: false, owner: moved });
  });
});

describe("a large state", () => {
  const value = "x".repeat(100_000);
  const fields = Object.fromEntries([
    ...Array.from({ length: 3_000 }, (_, i) => [`s:${String(i).padStart(5, "0")}`, String(i)]),
    ...Array.from({ length: 20 }, (_, i) => [`s:large${i}`, value]),
  ]);

  async function moves(backends: Record<string, Store>): Promise<void> {
    const world = regions(backends);
    const { key } = await gone(world, fields as { "s:a": string; "s:b": string });
    const eu = await coldIn(world, "eu", key);
    await take(eu, key);
    expect(await contents(eu, key)).toEqual(fields);
  }

  test("moves between stores in memory", async () => {
    await moves({ us: memoryStore(), eu: memoryStore() });
  });

  test("moves between SQLite files", async () => {
    const directory = mkdtempSync(join(tmpdir(), "atlas-regions-"));
    opened.push({ close: async () => rmSync(directory, { recursive: true, force: true }) });
    const file = (name: string) => sqliteStore(join(directory, name));
    await moves({ us: await file("us.db"), eu: await file("eu.db") });
  });

  warnIfRedisMissing("moves between Redises");
  test("moves between Redises", unless(redisMissing), async () => {
    const servers = await Promise.all([startRedis(), startRedis()]);
    opened.push(...servers);
    const [us, eu] = await Promise.all(
      servers.map(({ url }) => redisStore(url, { timeoutMs: 60_000 })),
    );
    await moves({ us: us as Store, eu: eu as Store });
  });
});
