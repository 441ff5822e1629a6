/**
 * Two real Redis servers that know nothing of each other, and the post between them: how
 * often a name gets two owners, that it shows, and how it ends.
 */
import { afterEach, describe, expect, test } from "vitest";
import { openRaceStores } from "../../adapters/store/race.ts";
import { systemClock, systemRandom } from "../../adapters/runtime/system.ts";
import { openStore } from "../../adapters/store/open.ts";
import {
  type AtlasNode,
  createNode,
  defineApp,
  inProcessNetwork,
  inProcessTransport,
  type Ownership,
  Resource,
  type Store,
} from "../../mod.ts";
import type { ClaimReply } from "../../src/ports/store.ts";
import { race } from "../../src/race/race.ts";
import { pause } from "../../src/time/pause.ts";
import { claimOf, eventually, freshKey } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { type Letter, replicate, type Replication } from "../support/replication.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Villages {
  readonly urls: readonly [string, string];
  readonly replication: Replication;
}

async function villages(): Promise<Villages> {
  const servers = await Promise.all([startRedis(), startRedis()]);
  cleanups.push(() => Promise.all(servers.map((server) => server.close())));
  const urls = servers.map(({ url }) => url) as [string, string];
  const replication = await replicate(...urls, "atlas:");
  cleanups.push(() => replication.close());
  return { urls, replication };
}

async function opened({ urls: [one, two] }: Villages, query: string): Promise<[Store, Store]> {
  const all = `?strategy=optimistic&masters=a,b&${query}`;
  const stores: [Store, Store] = [
    await openStore(`${one}${all}&master=a`),
    await openStore(`${two}${all}&master=b`),
  ];
  cleanups.push(() => Promise.all(stores.map((store) => store.close())));
  return stores;
}

/** Both claim a fresh name, the second some ms after the first. */
interface Trial {
  /** Whether both wrote a stake: neither had seen the other's. */
  readonly isContended: boolean;
  /** Whether both were confirmed. */
  readonly isDouble: boolean;
  /** Whether, by when the greater stake came to the other master, that was to be expected. */
  readonly isPredicted: boolean;
}

async function contend(place: Villages, stores: [Store, Store], lateMs: number): Promise<Trial> {
  const key = freshKey();
  const [replies, confirmedAt] = [[] as ClaimReply[], [0, 0]];
  await Promise.all(stores.map(async (store, side) => {
    const isLate = side === (lateMs < 0 ? 0 : 1);
    if (isLate) await pause(systemClock, Math.abs(lateMs));
    replies[side] = await store.claim(claimOf(key));
    confirmedAt[side] = performance.now();
  }));
  const [a, b] = replies as [ClaimReply, ClaimReply];
  const stakes = ["a", "b"].map((master) =>
    place.replication.letters.find((letter) => letter.key.endsWith(`:claim/${master}:${key}`))
  );
  const winner = a.won && (!b.won || a.owner!.epoch > b.owner!.epoch) ? 0 : 1;
  const greater = stakes[winner] as Letter;
  const arrivedAt = await eventually(async () => greater.arrivedAt ?? undefined);
  const isContended = stakes[0] !== undefined && stakes[1] !== undefined;
  const isPredicted = isContended && arrivedAt > (confirmedAt[1 - winner] as number);
  return { isContended, isDouble: a.won && b.won, isPredicted };
}

warnIfRedisMissing("two owners of one name on two Redis servers");

describe.skipIf(redisMissing !== null)("claims at two masters", () => {
  test("where copying outlasts the bound, doubles are as frequent as the race says", async () => {
    const place = await villages();
    place.replication.delay(200);
    const lines = await Promise.all(
      place.urls.map((url, i) =>
        openRaceStores(`${url}?strategy=optimistic&masters=a,b&master=${"ab"[i]}`, { count: 1 })
      ),
    );
    cleanups.push(() => lines.forEach((line) => line.close()));
    const runners = lines.flatMap(({ stores }) => stores);
    const { published } = await race({
      stores: runners,
      clock: systemClock,
      random: systemRandom,
      trials: 20,
    });
    const stores = await opened(place, "bound=30");
    const trials = await Promise.all(
      Array.from({ length: 40 }, () => contend(place, stores, 0)),
    );
    const contended = trials.filter(({ isContended }) => isContended);
    const rate = contended.filter(({ isDouble }) => isDouble).length / contended.length;
    console.log(`doubles a contended trial: ${rate}; by the race: ${published.rate}`);
    expect(contended.length).toBeGreaterThan(20);
    expect(Math.abs(rate - published.rate)).toBeLessThanOrEqual(0.2);
  });

  test("about the bound they are those whose greater stake came too late", async () => {
    const place = await villages();
    place.replication.delay(90);
    const stores = await opened(place, "bound=30");
    const trials = await Promise.all(
      Array.from({ length: 60 }, (_, i) => contend(place, stores, (i % 20) * 8 - 80)),
    );
    const contended = trials.filter(({ isContended }) => isContended);
    const doubles = contended.filter(({ isDouble }) => isDouble).length;
    const predicted = contended.filter(({ isPredicted }) => isPredicted).length;
    const [share, expected] = [doubles, predicted].map((n) => (n / contended.length).toFixed(2));
    console.log(`doubles: ${share} of ${contended.length} contended trials, predicted ${expected}`);
    expect(doubles).toBeGreaterThan(0);
    // A read takes a moment: what comes just then may be counted either way.
    expect(Math.abs(doubles - predicted)).toBeLessThanOrEqual(0.15 * contended.length);
  });

  test("where the bound holds there are none", async () => {
    const place = await villages();
    place.replication.delay(20);
    const stores = await opened(place, "bound=1000");
    const trials = await Promise.all(
      Array.from({ length: 100 }, (_, i) => contend(place, stores, i % 21 - 10)),
    );
    expect(trials.filter(({ isDouble }) => isDouble)).toEqual([]);
    expect(trials.filter(({ isContended }) => isContended).length).toBeGreaterThan(10);
  });
});

/** What happened to notes, for tests to look at. */
const log: { at: string; winner: Ownership; kept: unknown }[] = [];

/** Keeps lines; what its loser kept alone, it hands to the winner. */
class Notes extends Resource {
  static gate: Promise<void> = Promise.resolve();

  async add(line: string): Promise<{ rrp: string; epoch: number }> {
    await this.storage.put(line, this.rrp);
    await this.storage.put("last", line);
    return { rrp: this.rrp, epoch: this.epoch };
  }

  async all(): Promise<string[]> {
    return [...(await this.storage.list()).keys()];
  }

  override async onConflict(winner: Ownership): Promise<void> {
    await Notes.gate;
    const last = await this.storage.get<string>("last");
    log.push({ at: this.rrp, winner, kept: last });
    await this.node.call("notes", this.id, "add", [`${last} again`]);
  }
}

const app = defineApp({ resources: { notes: Notes } });

describe.skipIf(redisMissing !== null)("nodes at two masters", () => {
  async function nodes(
    place: Villages,
    recheckMs: number,
  ): Promise<[AtlasNode<typeof app>, AtlasNode<typeof app>]> {
    log.length = 0;
    Notes.gate = Promise.resolve();
    const stores = await opened(place, `bound=50&recheck=${recheckMs}`);
    const network = inProcessNetwork();
    const made = await Promise.all(stores.map((store, i) =>
      createNode(app, {
        region: ["east", "west"][i] as string,
        node: `n${i}`,
        store,
        transport: inProcessTransport(network),
        lease: "frugal",
      })
    ));
    cleanups.push(() => Promise.all(made.map((node) => node.close({ drainMs: 200 }))));
    const [one, two] = made as [AtlasNode<typeof app>, AtlasNode<typeof app>];
    await eventually(async () => (await two.members()).length === 2 || undefined);
    await eventually(async () => (await one.members()).length === 2 || undefined);
    return [one, two];
  }

  test("a split makes two owners: shown on both sides, then one, who has everything", async () => {
    const place = await villages();
    const [one, two] = await nodes(place, 100);
    let open!: () => void;
    Notes.gate = new Promise((resolve) => (open = resolve));
    cleanups.push(() => open());
    place.replication.hold();
    const said = await Promise.all([
      one.resource("notes", "x").add("from one"),
      two.resource("notes", "x").add("from two"),
    ]);
    const [a, b] = said as [Ownership, Ownership];
    expect(a.rrp).not.toBe(b.rrp);
    expect(a.epoch).not.toBe(b.epoch);
    const winner = a.epoch > b.epoch ? a : b;
    place.replication.release();
    for (const node of [one, two]) {
      const seen = await eventually(async () => {
        const looked = await node.lookup("notes", "x");
        return looked.verdict === "contested" ? looked : undefined;
      });
      expect(seen).toMatchObject({ rrp: winner.rrp, epoch: winner.epoch });
      const confirmed = node.lookup("notes", "x", { require: "confirmed" });
      await expect(confirmed).rejects.toMatchObject({ code: "contested" });
    }
    open();
    await eventually(async () => log.length > 0 || undefined);
    const loser = winner === a ? b : a;
    expect(log).toMatchObject([{ at: loser.rrp, winner }]);
    expect(log[0]?.kept).toBe(loser === a ? "from one" : "from two");
    for (const node of [one, two]) {
      await eventually(async () => {
        const looked = await node.lookup("notes", "x", { require: "confirmed" });
        return looked.epoch === winner.epoch || undefined;
      });
      const lines = await eventually(async () => {
        const found = await node.resource("notes", "x").all();
        return found.length === 4 ? found : undefined;
      });
      expect(lines).toEqual(expect.arrayContaining(["from one", "from two", "last"]));
    }
    const stats = [one, two].map((node) => node.stats());
    expect(stats.map(({ contested }) => contested > 0)).toEqual([true, true]);
    expect(stats.map(({ conflictsLost }) => conflictsLost).sort()).toEqual([0, 1]);
  });

  test("a loser learns at its commit, too, and the call goes on at the winner", async () => {
    const place = await villages();
    const both = await nodes(place, 60_000);
    place.replication.hold();
    const said = await Promise.all(both.map((node) => node.resource("notes", "y").add("mine")));
    place.replication.release();
    const [a, b] = said as [Ownership, Ownership];
    const [winner, loser] = a.epoch > b.epoch ? [a, b] : [b, a];
    const node = loser === a ? both[0] : both[1];
    const answer = await eventually(async () => {
      const options = { idempotencyKey: crypto.randomUUID() };
      const said = await node.resource("notes", "y", options).add("more");
      return said.epoch === winner.epoch ? said : undefined;
    });
    expect(answer).toEqual(winner);
    await eventually(async () => log.length > 0 || undefined);
    expect(log).toMatchObject([{ at: loser.rrp, winner, kept: "mine" }]);
  });
});
