/**
 * Regional stores: homes of keys, outages of one region, membership of other regions.
 *
 * Covers adapters/store/regional/region_stores.ts and adapters/store/regional/member_cache.ts.
 */
import { afterEach, describe, expect, test } from "vitest";
import { memoryStore } from "../../adapters/store/memory.ts";
import { type HomeRules, regionalStore, spreadOver } from "../../adapters/store/regional/store.ts";
import { AtlasError } from "../../src/errors.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { Store } from "../../src/ports/store.ts";
import { claimOf, freshKey, freshMember, own, refuses } from "../conformance/store_kit.ts";
import { contents, lost, REGIONS, Regions, write } from "./regions.ts";

const worlds: Regions[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

function regions(): Regions {
  const world = new Regions();
  worlds.push(world);
  return world;
}

const asked = { ifFree: false };

describe("a key's home", () => {
  test("comes from its id's prefix, its type, a rule, or the default, in this order", async () => {
    const homes: HomeRules = {
      default: "us",
      types: { sessions: "eu" },
      rule: (_, id) => id.startsWith("tokyo ") ? "ap" : null,
    };
    const store = await regions().handle("us", { homes });
    const expected: Record<string, string> = {
      "channels/room": "us",
      "sessions/room": "eu",
      "sessions/ap~room": "ap",
      "sessions/ap~us~room": "ap",
      "sessions/mars~room": "eu",
      "channels/~room": "us",
      "channels/tokyo%20room": "ap",
      "sessions/tokyo%20room": "eu",
      "constructor/room": "us",
    };
    for (const [key, home] of Object.entries(expected)) {
      expect(store.homeOf?.(key), key).toBe(home);
    }
  });

  test("is the first region if no rule names one", async () => {
    for (const homes of [undefined, {}, { types: { sessions: "eu" } }]) {
      const stores = { us: memoryStore(), eu: memoryStore(), ap: memoryStore() };
      const store = await regionalStore({ self: "ap", stores, ...homes && { homes } });
      expect(store.homeOf?.("channels/a")).toBe("us");
      await store.close();
    }
    const store = await regionalStore({ self: "here", stores: { here: memoryStore() } });
    expect(store.homeOf?.("channels/a")).toBe("here");
    await store.close();
  });

  describe("spreads evenly by weight, the same everywhere,", () => {
    const count = 100_000;
    const patterns: Record<string, (i: number) => string> = {
      "id0": (i) => `id${i}`,
      "id-0": (i) => `id-${i}`,
      "room-0": (i) => `room-${i}`,
      "user_0": (i) => `user_${i}`,
      "user:0:profile": (i) => `user:${i}:profile`,
      "00000000": (i) => String(i).padStart(8, "0"),
      "a UUID": () => crypto.randomUUID(),
    };
    const lists = [
      ["us-east-1", "us-east-2"],
      ["us-east-1", "eu-west-1", "ap-southeast-1"],
      ["ams", "fra", "cdg", "lhr"],
    ];
    test.each(Object.entries(patterns))("names such as %s", (_, name) => {
      for (const regions of lists) {
        const [one, other] = [spreadOver(regions), spreadOver([...regions].reverse())];
        const counts = new Map<string, number>();
        for (let i = 0; i < count; i++) {
          const id = name(i);
          const region = one("channels", id);
          counts.set(region, (counts.get(region) ?? 0) + 1);
          if (i % 100 === 0) expect(other("channels", id)).toBe(region);
        }
        for (const region of regions) {
          const share = (counts.get(region) ?? 0) * regions.length / count;
          expect(Math.abs(share - 1), `${region} of ${regions}: ${share}`).toBeLessThan(0.05);
        }
      }
    });
  });

  test("is refused if its rule names no known region", async () => {
    const world = regions();
    const stores = { us: memoryStore(), eu: memoryStore() };
    await refuses(regionalStore({ self: "ap", stores }), "bad_request", "region");
    await refuses(world.handle("us", { homes: { default: "mars" } }), "bad_request", "mars");
    const homes = { default: "us", types: { a: "mars" } };
    await refuses(world.handle("us", { homes }), "bad_request", "homes.types.a");
    const astray = await world.handle("us", { homes: { default: "us", rule: () => "mars" } });
    await refuses(astray.lookup(freshKey()), "bad_request", "homes.rule");
    const rule = () => {
      throw new TypeError("no such table");
    };
    const broken = await world.handle("us", { homes: { default: "us", rule } });
    const key = freshKey();
    await refuses(broken.lookup(key), "bad_request", `homes.rule threw for ${key}: no such table`);
    await refuses(broken.claim(claimOf(key)), "bad_request", "homes.rule threw");
    await refuses(regionalStore({ self: "a/b", stores: { "a/b": memoryStore() } }), "invalid_rrp");
  });

  test("refuses invalid options, stores and rules", async () => {
    const stores = { us: memoryStore(), eu: memoryStore() };
    const homes = { default: "us" };
    const bad: [options: unknown, part: string][] = [
      [undefined, "options is undefined"],
      [{}, "stores is undefined"],
      [{ self: "us", stores: [], homes }, "stores is []"],
      [{ self: "us", stores: { ...stores, a: 5 }, homes }, "stores.a is 5"],
      [{ self: 5n, stores, homes }, "region is 5n"],
      [{ self: "us", stores: { ...stores, "a~b": memoryStore() }, homes }, 'region is "a~b"'],
      [{ self: "us", stores, homes: "us" }, 'homes is "us"'],
      [{ self: "us", stores, homes: { ...homes, rule: "eu" } }, 'homes.rule is "eu"'],
      [{ self: "us", stores, homes: { ...homes, type: {} } }, "homes.type is set"],
      [{ self: "us", stores, homes: { ...homes, types: "eu" } }, 'homes.types is "eu"'],
    ];
    for (const [options, part] of bad) {
      const given = options as Parameters<typeof regionalStore>[0];
      await refuses(regionalStore(given), "bad_request", part);
    }
    for (const regions of [undefined, [], "us"]) {
      expect(() => spreadOver(regions as string[])).toThrow(/^regions is .* list of at least one/);
    }
  });

  test("accepts claims only from its own nodes, and can be read by all", async () => {
    const world = regions();
    const [us, eu] = [await world.handle("us"), await world.handle("eu")] as [Store, Store];
    const key = "channels/eu~room";
    await refuses(us.claim(claimOf(key)), "unavailable", "at home in eu");
    const owner = await own(eu, key);
    expect(await write(eu, key, owner, 1, { "s:a": "1" })).toBe("committed");
    expect(await us.lookup(key)).toEqual(owner);
    expect(await contents(us, key)).toEqual({ "s:a": "1" });
    expect(await us.read(key, ["s:a", "s:b"])).toEqual(["1", null]);
    expect(await write(us, key, owner, 2, {})).toBe("fenced");
  });
});

describe("a region that is cut off", () => {
  test("affects no other region's leases, claims and commits; its keys are unavailable; nothing is lost", async () => {
    const world = regions();
    const [us, eu] = [await world.handle("us"), await world.handle("eu")] as [Store, Store];
    const [mine, theirs] = [freshKey(), `channels/eu~${freshKey()}`.replace("~channels/", "~")];
    const member = freshMember();
    await us.register(member, asked);
    const owners = [await own(us, mine), await own(eu, theirs)] as const;
    await write(eu, theirs, owners[1], 1, { "s:a": "1" });

    world.away.add("eu");
    expect(us.status()).toBe("up");
    expect((await us.renew(member.incarnation, 1, [])).outcome).toBe("renewed");
    expect(await write(us, mine, owners[0], 1, { "s:a": "1" })).toBe("committed");
    await own(us, freshKey());
    expect(await us.members()).toBeTruthy();
    await refuses(us.lookup(theirs), "unavailable", "region eu");
    await refuses(us.read(theirs, ["s:a"]), "unavailable", "region eu");
    await refuses(eu.renew("x", 1, []), "unavailable", "region eu");
    expect((await us.list("rrp:us/", null, 10)).entries).toBeTruthy();
    await refuses(us.list("rrp:eu/", null, 10), "unavailable", "region eu");

    world.away.delete("eu");
    expect(await us.lookup(theirs)).toEqual(owners[1]);
    expect(await contents(us, theirs)).toEqual({ "s:a": "1" });
  });

  test("may be unreachable from the beginning, and is opened once it is reachable", async () => {
    let isThere = false;
    let opened = 0;
    const eu = memoryStore();
    const store = await regionalStore({
      self: "us",
      stores: {
        us: memoryStore(),
        eu: async () => {
          opened++;
          await Promise.resolve();
          if (!isThere) throw lost("nobody answers");
          return eu;
        },
      },
      homes: { default: "us" },
    });
    expect(opened).toBe(0);
    await own(store, freshKey());
    await refuses(store.lookup("channels/eu~a"), "unavailable", "region eu: nobody answers");
    isThere = true;
    expect(await store.lookup("channels/eu~a")).toBeNull();
    expect(opened).toBe(2);
    await store.close();
    expect(eu.status()).toBe("down");
    expect(store.status()).toBe("down");
    await refuses(store.lookup("channels/eu~a"), "unavailable", "closed");
  });

  test("makes steps of its own nodes fail at once", async () => {
    const stores = { us: () => Promise.reject(lost("nobody answers")), eu: memoryStore() };
    const opening = regionalStore({ self: "us", stores, homes: { default: "us" } });
    await refuses(opening, "unavailable", "region us: nobody answers");
    await stores.eu.close();
  });

  test("during a move delays the move until it is back", async () => {
    const world = regions();
    const us = await world.handle("us");
    const key = freshKey();
    const owner = await own(us, key);
    await write(us, key, owner, 1, { "s:a": "1" });
    await us.depart?.(key, owner.incarnation, owner.epoch, "eu");
    const eu = await world.handle("eu");
    await eu.lookup(key);
    world.away.add("us");
    await refuses(eu.claim(claimOf(key)), "unavailable", "region us");
    expect(await eu.lookup("channels/eu~other")).toBeNull();
    world.away.delete("us");
    const left = await eu.lookup(key);
    const expected = left && { incarnation: left.incarnation, epoch: left.epoch };
    await own(eu, key, { expected });
    expect(await contents(eu, key)).toEqual({ "s:a": "1" });
  });
});

describe("members", () => {
  test("are read from the own registry, and those of other regions from the cache, also during an outage", async () => {
    const world = regions();
    let now = 0;
    const us = await world.handle("us", { now: () => now });
    const eu = await world.handle("eu");
    const [here, there] = [freshMember({ region: "us" }), freshMember({ region: "eu" })];
    await eu.register(there, asked);
    const { version } = await us.register(here, asked);
    const seen = async () => (await us.members()).members.map(({ incarnation }) => incarnation);
    expect(await seen()).toContain(here.incarnation);
    await expect.poll(async () => {
      now += 1_000;
      return await seen();
    }).toContain(there.incarnation);
    const { version: later } = await us.renew(here.incarnation, 1, []);
    expect(later).toBeGreaterThan(version);
    expect((await us.members()).version).toBe(later);

    world.away.add("eu");
    now += 60_000;
    expect(await seen()).toEqual([here.incarnation, there.incarnation]);
    expect(await us.kill(there.incarnation, 0)).toBeNull();
    world.away.delete("eu");
    await eu.leave(there);
    await expect.poll(async () => {
      now += 6_000;
      await us.renew(here.incarnation, 1, []);
      const { members } = await us.members();
      return members.find(({ incarnation }) => incarnation === there.incarnation)?.state;
    }).toBe("left");
  });

  test("of other regions can be observed in their own region, and a renewal answers them from the cache", async () => {
    const world = regions();
    const [us, eu] = [await world.handle("us"), await world.handle("eu")] as [Store, Store];
    const [here, there] = [freshMember({ region: "us" }), freshMember({ region: "eu" })];
    await us.register(here, asked);
    await eu.register(there, asked);
    const key = "channels/eu~room";
    await own(eu, key, { incarnation: there.incarnation });
    // The lookup shows which region's registry has the owner's heartbeat.
    await us.lookup(key);
    await eu.renew(there.incarnation, 7, []);
    const { incarnation } = there;
    expect(us.observeAbroad?.(here.incarnation)).toBeNull();
    const observe = () => us.observeAbroad?.(incarnation) as Promise<unknown>;
    world.away.add("us");
    expect(await observe()).toEqual({ incarnation, seq: 7, state: "live" });
    world.away.delete("us");
    world.away.add("eu");
    await refuses(observe(), "unavailable", "region eu");
    const mixed = await us.renew(here.incarnation, 2, [incarnation, here.incarnation]);
    expect(mixed.outcome).toBe("renewed");
    expect(mixed.watched.map((it) => it.incarnation)).toContain(here.incarnation);
  });
});

describe("list", () => {
  test("for one region asks only that region; for all it goes through the regions, a page at a time", async () => {
    const world = regions();
    const wanted: string[] = [];
    for (const region of REGIONS) {
      const store = await world.handle(region);
      for (let i = 0; i < 5; i++) {
        const key = `channels/${region}~${i}`;
        wanted.push(`rrp:${region}/n/${key}`);
        await own(store, key, { rrp: `rrp:${region}/n/${key}` });
      }
    }
    const listed: string[] = [];
    const before = (region: string, step: string) => void (step === "list" && listed.push(region));
    const us = await world.handle("us", { before });
    for (const limit of [1, 3, 100]) {
      const found: string[] = [];
      for (let cursor: string | null = null;;) {
        const page = await us.list("rrp:", cursor, limit);
        expect(page.entries.length).toBeLessThanOrEqual(limit);
        found.push(...page.entries.map(({ rrp }) => rrp));
        if ((cursor = page.next) === null) break;
        expect(REGIONS.some((region) => cursor?.startsWith(`${region} `))).toBe(true);
      }
      expect(found.sort()).toEqual(wanted.sort());
    }
    listed.length = 0;
    const one = await us.list("rrp:eu/n/", null, 100);
    expect(one.entries).toHaveLength(5);
    expect(one.next).toBeNull();
    expect(listed).toEqual(["eu"]);
    // For an unknown region it gives one empty page.
    expect(await us.list("rrp:mars-1/", null, 100)).toEqual({ entries: [], next: null });
    await refuses(us.list("rrp:", "mars 7", 1), "bad_request", "cursor");
    await refuses(us.list("rrp:eu/", "us ", 1), "bad_request", "cursor");
    world.away.add("ap");
    await refuses(us.list("rrp:", "ap ", 1), "unavailable", "region ap");
  });
});

describe("another region's registry that can't be opened", () => {
  const openers = (error: Error) => ({
    us: memoryStore(),
    eu: () => Promise.reject(error),
  });

  test("is unavailable for callers, and its reason logged once", async () => {
    const events: NodeEvent[] = [];
    for (const code of ["unauthorized", "bad_request"] as const) {
      const stores = openers(new AtlasError(code, "the token is wrong"));
      const onEvent = (event: NodeEvent) => void events.push(event);
      const store = await regionalStore({ self: "us", stores, homes: { default: "us" }, onEvent });
      for (let i = 0; i < 2; i++) {
        await refuses(store.lookup("channels/eu~room"), "unavailable", "region eu");
      }
      expect(events.splice(0)).toEqual([{
        level: "error",
        event: "registry can't be opened",
        fields: { region: "eu", code, reason: "the token is wrong" },
      }]);
      await store.close();
    }
  });

  test("because it is unreachable causes no log line", async () => {
    const events: NodeEvent[] = [];
    const stores = openers(lost("nobody answers"));
    const onEvent = (event: NodeEvent) => void events.push(event);
    const store = await regionalStore({ self: "us", stores, homes: { default: "us" }, onEvent });
    await refuses(store.lookup("channels/eu~room"), "unavailable", "region eu: nobody answers");
    expect(events).toEqual([]);
    await store.close();
  });

  test("shows its full error to its own nodes, which don't start", async () => {
    const stores = openers(new AtlasError("unauthorized", "the token is wrong"));
    const opening = regionalStore({ self: "eu", stores, homes: { default: "us" } });
    await refuses(opening, "unauthorized", "region eu: the token is wrong");
  });
});
