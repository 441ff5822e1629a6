/**
 * The strategy `optimistic`: the store suite on one master, options, and two masters that copy
 * each other.
 *
 * Covers adapters/store/optimistic/redis_master.ts,
 * adapters/store/optimistic/membership_scripts.ts, adapters/store/optimistic/ownership_scripts.ts
 * and adapters/store/optimistic/merge_fields.ts.
 */
import { describe, expect, test, vi } from "vitest";
import { openStore } from "../../adapters/store/open/open.ts";
import { redisStore, type RedisStoreOptions } from "../../adapters/store/open/redis.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import type { Master } from "../../adapters/store/optimistic/master.ts";
import { openOptimistic, splitStrategy } from "../../adapters/store/optimistic/options.ts";
import type { Store } from "../../src/ports/store.ts";
import { type StoreBackend, storeConformance } from "../conformance/store.ts";
import {
  claimOf,
  eventually,
  freshKey,
  freshMember,
  own,
  refuses,
} from "../conformance/store_kit.ts";
import { redisWriter } from "../conformance/hostile_writers.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { replicate, type Replication } from "../support/replication.ts";
import { unless } from "../support/unless.ts";
import { startUpstash } from "../upstash/server.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

/** How long a step may take: the machine may be busy. */
const timeoutMs = 60_000;

const alone: RedisStoreOptions = {
  strategy: "optimistic",
  master: "a",
  masters: ["a"],
  timeoutMs,
};
/** One of two masters, alone. */
const widowed: RedisStoreOptions = { ...alone, masters: ["b", "a"], boundMs: 20 };

function redis(client: RedisStoreOptions, cluster = false) {
  return async (): Promise<StoreBackend> => {
    const process = await startRedis(cluster ? { cluster } : { durable: true });
    return {
      open: () => redisStore(process.url, client),
      crash: cluster ? undefined : async () => {
        await process.kill();
        await process.restart();
      },
      isParted: true,
      writer: redisWriter(process, "a"),
      dispose: () => process.close(),
    };
  };
}

async function upstash(): Promise<StoreBackend> {
  const process = await startRedis();
  const { url, token, close } = await startUpstash(process.port);
  return {
    open: () =>
      upstashStore({ url, token, timeoutMs, strategy: "optimistic", master: "a", masters: ["a"] }),
    isParted: true,
    writer: redisWriter(process, "a"),
    dispose: async () => {
      await close();
      await process.close();
    },
  };
}

warnIfRedisMissing("the strategy optimistic");
storeConformance("optimistic, one master", redis(alone), redisMissing);
storeConformance("optimistic, one of two masters", redis(widowed), redisMissing);
storeConformance("optimistic, one node of a cluster", redis(alone, true), redisMissing);
storeConformance("optimistic, upstash", upstash, redisMissing);

/** The query of the URL for the first of two masters. */
const pairQuery = "?master=a&strategy=optimistic&masters=a,b";

const cleanups = cleanupsAfterEach();

describe("options", () => {
  test.for<[options: object, part: string]>([
    [{ strategy: "hopeful" }, "strategy is"],
    [{ strategy: "optimistic" }, "masters is not set"],
    [{ strategy: "optimistic", master: "a", masters: [] }, "masters is []"],
    [{ strategy: "optimistic", master: "a", masters: ["a", "b c"] }, "masters is"],
    [{ strategy: "optimistic", master: "c", masters: ["a", "b"] }, "one of masters: a, b"],
    [{ ...widowed, boundMs: 0 }, "boundMs is 0"],
    [{ ...widowed, boundMs: 60_001 }, "1 to 60000 ms"],
    [{ ...widowed, recheckMs: NaN }, "recheckMs is NaN, it must be"],
    [{ boundMs: 5 }, "absent without strategy optimistic"],
    [{ ...alone, replicas: 1 }, "replicas is 1, it must be 0 or absent with strategy optimistic"],
  ])("refuses %j", async ([options, part]) => {
    const url = "redis://127.0.0.1:1";
    await refuses(redisStore(url, options as RedisStoreOptions), "bad_request", part);
  });

  test.for([
    ["?strategy=optimistic&master=a&masters=a,b&bounds=5", "bounds=…"],
    ["?strategy=optimistic&master=a&master=b&masters=a,b", "master=…"],
    ["?strategy=hopeful", `the registry URL's strategy is "hopeful", it must be optimistic`],
    ["?strategy=", `the registry URL's strategy is "", it must be optimistic`],
    ["?masters=a,b&strategy=optimistic", "the registry URL's master is not set, it must be one of"],
    ["?strategy=optimistic&master=a", "the registry URL's masters is not set, it must be 1 to 16"],
    ["?strategy=optimistic&master=a&masters=a,b%20c", `the registry URL's masters is "a,b c"`],
    [`${pairQuery}&bound=abc`, `the registry URL's bound is "abc", it must be 1 to 60000 ms`],
    [`${pairQuery}&bound=`, `the registry URL's bound is "", it must be 1 to 60000 ms`],
    [`${pairQuery}&bound=60001`, `the registry URL's bound is "60001"`],
    [`${pairQuery}&recheck=1e3`, `the registry URL's recheck is "1e3", it must be 1 to 60000 ms`],
    ["?bound=5", `the registry URL's bound is "5", it must be absent without strategy`],
    [`${pairQuery}&replicas=1`, "replicas and strategy don't go together"],
    [`?replicas=1&${pairQuery.slice(1)}`, "replicas and strategy don't go together"],
  ])("refuses the URL's %s", async ([query, part]) => {
    for (const url of ["redis://127.0.0.1:1", "https://127.0.0.1:1"]) {
      await refuses(openStore(url + query, { token: "t" }), "bad_request", part);
    }
  });

  test.for([
    "?strategy=optimistic&masters=a,b&master=a&bound=20&recheck=30.5",
    "?recheck=30.5&master=a&bound=20&strategy=optimistic&masters=a,b",
  ])("takes the URL's %s, in any order", (query) => {
    const options = {
      strategy: "optimistic",
      master: "a",
      masters: ["a", "b"],
      boundMs: 20,
      recheckMs: 30.5,
    };
    expect(splitStrategy(`redis://h:1/2${query}`)).toEqual({ url: "redis://h:1/2", options });
  });

  test.for(["redis://h", "redis://h?replicas=2", "https://h?q=1"])(
    "does not treat %s as its own",
    (url) => expect(splitStrategy(url)).toEqual({ url, options: {} }),
  );
});

test("a bound below the round trip is refused, and the connection closed", async () => {
  let closed = 0;
  const master = {
    claims: () => new Promise((resolve) => setTimeout(() => resolve([]), 25)),
    close: () => Promise.resolve(void closed++),
  } as unknown as Master;
  const open = openOptimistic(master, { names: ["a", "b"], own: 0 }, { boundMs: 5 });
  await refuses(
    open,
    "bad_request",
    "boundMs is 5, it must be at least the store's own round trip",
  );
  expect(closed).toBe(1);
});

test("a bound is compared with the fastest round trip, since slow ones may be the machine's fault", async () => {
  let now = 0;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  cleanups.push(() => clock.mockRestore());
  const roundTrips = [25, 25, 20, 25];
  const master = {
    claims: async () => {
      now += roundTrips.shift() ?? 25;
      return [];
    },
    close: () => Promise.resolve(),
  } as unknown as Master;
  await openOptimistic(master, { names: ["a", "b"], own: 0 }, { boundMs: 20 });
  // No further round trip is made once one was within the bound.
  expect(roundTrips).toEqual([25]);
});

describe("two masters", unless(redisMissing), () => {
  interface Pair {
    readonly a: Store;
    readonly b: Store;
    readonly replication: Replication;
  }

  async function pair(boundMs = 20, recheckMs = 1_000): Promise<Pair> {
    const servers = await Promise.all([startRedis(), startRedis()]);
    cleanups.push(() => Promise.all(servers.map((server) => server.close())));
    const [one, two] = servers.map(({ url }) => url) as [string, string];
    const replication = await replicate(one, two, "atlas:");
    cleanups.push(() => replication.close());
    const query = `?strategy=optimistic&masters=a,b&bound=${boundMs}&recheck=${recheckMs}`;
    const a = await openStore(`${one}${query}&master=a`, { timeoutMs });
    const b = await openStore(`${two}${query}&master=b`, { timeoutMs });
    cleanups.push(() => Promise.all([a.close(), b.close()]));
    return { a, b, replication };
  }

  test("an ownership won at one master is visible at the other, and its release ends it at both", async () => {
    const { a, b } = await pair();
    const key = freshKey();
    const owner = await own(a, key);
    expect(await eventually(async () => (await b.lookup(key)) ?? undefined)).toEqual(owner);
    expect(await b.claim(claimOf(key))).toEqual({ won: false, owner });
    expect(await a.release(key, owner.incarnation, owner.epoch)).toBe(true);
    await eventually(async () => (await b.lookup(key)) === null || undefined);
    const next = await own(b, key);
    expect(next.epoch).toBeGreaterThan(owner.epoch);
    expect(await eventually(async () => (await a.lookup(key)) ?? undefined)).toEqual(next);
  });

  test("a claim that a takeover ended stays ended when the new owner releases", async () => {
    const { a, b } = await pair();
    const key = freshKey();
    const { incarnation, epoch } = await own(a, key);
    await eventually(async () => (await b.lookup(key)) ?? undefined);
    const taker = await own(b, key, { expected: { incarnation, epoch } });
    await eventually(async () => (await a.lookup(key))?.epoch === taker.epoch || undefined);
    expect((await a.lookup(key))?.contested).toBeUndefined();
    expect(await b.release(key, taker.incarnation, taker.epoch)).toBe(true);
    expect(await b.lookup(key)).toBeNull();
    await eventually(async () => (await a.lookup(key)) === null || undefined);
    const again = await own(a, key);
    expect(again.epoch).toBeGreaterThan(taker.epoch);
  });

  test("of two concurrent claims both win, lookups answer `contested`, and only the greater one can commit", async () => {
    const { a, b, replication } = await pair();
    replication.hold();
    const key = freshKey();
    const [one, two] = await Promise.all([own(a, key), own(b, key)]);
    const write = (store: Store, owner: typeof one, turn: number, value: string) =>
      store.commit({ key, ...owner, turn, puts: [["v", value], [value, "1"]], deletes: [] });
    expect(await write(a, one, 1, "a")).toBe("committed");
    expect(await write(b, two, 1, "b")).toBe("committed");
    expect(one.epoch).not.toBe(two.epoch);
    const [winner, loser] = one.epoch > two.epoch ? [one, two] : [two, one];
    const [winners, losers] = winner === one ? [a, b] : [b, a];
    replication.release();
    for (const store of [a, b]) {
      const seen = await eventually(async () => {
        const owner = await store.lookup(key);
        return owner?.contested ? owner : undefined;
      });
      expect(seen).toEqual({ ...winner, contested: [loser] });
    }
    expect(await write(winners, winner, 2, "c")).toBe("committed");
    expect(await write(losers, loser, 2, "d")).toBe("fenced");
    // Until its claim ends, the loser reads its own writes; then the winner's state is read.
    const [mine] = await losers.read(key, ["v"]);
    expect(mine).toBe(losers === a ? "a" : "b");
    expect(await losers.release(key, loser.incarnation, loser.epoch)).toBe(false);
    await eventually(async () => (await losers.read(key, ["v"]))[0] === "c" || undefined);
    const all = { start: "", end: "~", limit: 10, reverse: false };
    await eventually(async () => (await winners.lookup(key))?.contested === undefined || undefined);
    expect(await winners.range(key, all)).toEqual([["a", "1"], ["b", "1"], ["c", "1"], ["v", "c"]]);
  });

  test("no lower rival becomes owner when the owner releases: epochs only rise", async () => {
    const { a, b, replication } = await pair();
    replication.hold();
    const key = freshKey();
    const [one, two] = await Promise.all([own(a, key), own(b, key)]);
    replication.release();
    const [winner, loser] = one.epoch > two.epoch ? [one, two] : [two, one];
    const [winners, losers] = winner === one ? [a, b] : [b, a];
    await eventually(async () => (await winners.lookup(key))?.contested && true);
    expect(await winners.release(key, winner.incarnation, winner.epoch)).toBe(true);
    expect(await winners.lookup(key)).toBeNull();
    await eventually(async () => (await losers.lookup(key)) === null || undefined);
    const turn = { key, ...loser, turn: 1, puts: [["v", "late"]] as const, deletes: [] };
    expect(await losers.commit(turn)).toBe("fenced");
    expect((await own(losers, key)).epoch).toBeGreaterThan(winner.epoch);
  });

  test("a rival's claim that is not withdrawn is ended by the owner's lookups", async () => {
    const { a, b, replication } = await pair(20, 30);
    replication.hold();
    const key = freshKey();
    const [one, two] = await Promise.all([own(a, key), own(b, key)]);
    replication.release();
    const winner = one.epoch > two.epoch ? one : two;
    await eventually(async () => (await a.lookup(key))?.contested && true);
    await eventually(async () => (await b.lookup(key))?.contested && true);
    for (const store of winner === one ? [a, b] : [b, a]) {
      const owner = await eventually(async () => {
        const found = await store.lookup(key);
        return found?.contested ? undefined : found;
      });
      expect(owner).toEqual(winner);
    }
  });

  test("a page of a merged range skips fields that another master deleted, in both directions", async () => {
    const { a, b } = await pair();
    const key = freshKey();
    const first = await own(a, key);
    const puts = Array.from({ length: 20 }, (_, i) => [`f${i + 10}`, `${i}`] as const);
    await a.commit({ key, ...first, turn: 1, puts, deletes: [] });
    await eventually(async () => (await b.read(key, ["f29"]))[0] ?? undefined);
    await a.release(key, first.incarnation, first.epoch);
    await eventually(async () => (await b.lookup(key)) === null || undefined);
    const next = await own(b, key);
    const deletes = puts.slice(0, 15).map(([field]) => field);
    await b.commit({ key, ...next, turn: 1, puts: [["f12", "new"], ["g", "g"]], deletes });
    const range = { start: "f", end: "h", limit: 3, reverse: false };
    const expected = [["f12", "new"], ["f25", "15"], ["f26", "16"]];
    expect(await b.range(key, range)).toEqual(expected);
    expect(await b.range(key, { ...range, reverse: true }))
      .toEqual([["g", "g"], ["f29", "19"], ["f28", "18"]]);
    await eventually(async () => (await a.read(key, ["g"]))[0] ?? undefined);
    expect(await a.range(key, range)).toEqual(expected);
    const listed = await a.list("rrp:", null, 10);
    expect(listed.entries).toEqual([next]);
  });

  test("a member that one master marks as dead is dead at every master; node names are shared by all masters", async () => {
    const { a, b, replication } = await pair();
    // A master's writes are replicated key by key, the name last.
    const nameArrives = (master: string) =>
      eventually(async () =>
        replication.copies.some(({ key, arrivedAt }) =>
          key === `atlas:{members}:name/${master}` && arrivedAt !== null
        ) || undefined
      );
    const member = freshMember();
    await a.register(member, { ifFree: true });
    await a.renew(member.incarnation, 4, []);
    const watch = async (store: Store) => (await store.renew("", 0, [member.incarnation])).watched;
    await eventually(async () => (await watch(b))[0]?.seq === 4 || undefined);
    await nameArrives("a");
    const rival = freshMember({ node: member.node });
    expect((await b.register(rival, { ifFree: true })).outcome).toBe("name_taken");
    expect(await b.kill(member.incarnation, 3)).toBe("live");
    expect(await b.kill(member.incarnation, 4)).toBe("dead");
    await eventually(async () => (await watch(a))[0]?.state === "dead" || undefined);
    expect((await a.renew(member.incarnation, 5, [])).outcome).toBe("fenced");
    expect((await b.register(rival, { ifFree: true })).outcome).toBe("registered");
    const young = freshMember({ node: member.node });
    await eventually(async () => (await a.members()).members.length === 2 || undefined);
    await nameArrives("b");
    expect((await a.register(young, { ifFree: false })).outcome).toBe("registered");
    await eventually(async () =>
      (await b.renew(rival.incarnation, 1, [])).state === "superseded" || undefined
    );
  });
});
