/**
 * Two real Redis servers with asynchronous copying between them: how often a key gets two owners,
 * that this is reported, and that one owner remains.
 */
import { describe, expect, test } from "vitest";
import { openRaceStores } from "../../adapters/store/open/race.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { openStore } from "../../adapters/store/open/open.ts";
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
import { race } from "../../src/race/race.ts";
import { pause } from "../../src/time/wait.ts";
import { claimOf, eventually, freshKey } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { type CopiedKey, replicate, type Replication } from "../support/replication.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

interface TwoMasters {
  readonly urls: readonly [string, string];
  readonly replication: Replication;
}

async function twoMasters(): Promise<TwoMasters> {
  const servers = await Promise.all([startRedis(), startRedis()]);
  cleanups.push(() => Promise.all(servers.map((server) => server.close())));
  const urls = servers.map(({ url }) => url) as [string, string];
  const replication = await replicate(...urls, "atlas:");
  cleanups.push(() => replication.close());
  return { urls, replication };
}

async function opened({ urls: [one, two] }: TwoMasters, query: string): Promise<[Store, Store]> {
  const all = `?strategy=optimistic&masters=a,b&${query}`;
  const stores: [Store, Store] = [
    await openStore(`${one}${all}&master=a`),
    await openStore(`${two}${all}&master=b`),
  ];
  cleanups.push(() => Promise.all(stores.map((store) => store.close())));
  return stores;
}

/** One claim of a new key at each master, at about the same time. */
interface Trial {
  /** Whether both wrote a claim, so neither had seen the other's. */
  readonly isContended: boolean;
  /** Whether both were confirmed. */
  readonly isDouble: boolean;
}

/**
 * @param lateMs how long after the first the second one begins; if negative, the second begins
 * first.
 */
async function contend(
  { replication }: TwoMasters,
  stores: readonly [Store, Store],
  lateMs = 0,
  key = freshKey(),
): Promise<Trial> {
  const replies = await Promise.all(stores.map(async (store, side) => {
    const isLate = side === (lateMs < 0 ? 0 : 1);
    if (isLate && lateMs !== 0) await pause(systemClock, Math.abs(lateMs));
    return await store.claim(claimOf(key));
  }));
  const isContended = [0, 1].every((side) => copiedClaim(replication, side, key) !== undefined);
  return { isContended, isDouble: replies.every(({ won }) => won) };
}

/** The copied claim of a side, with its key. */
function copiedClaim({ copies }: Replication, side: number, key: string): CopiedKey | undefined {
  return copies.find((copied) => copied.key.endsWith(`:claim/${"ab"[side]}:${key}`));
}

/** Which claims are copied to the other side while their claimers wait. */
const IN_TIME = ["both", "greater", "lesser", "none"] as const;

/**
 * Claims at both masters with copying held; once both claims are written, releases the copies that
 * are to arrive in time.
 */
async function contendWith(
  place: TwoMasters,
  stores: readonly [Store, Store],
  inTime: typeof IN_TIME[number],
): Promise<Trial & { inTime: string }> {
  const { replication } = place;
  const key = freshKey();
  const trial = contend(place, stores, 0, key);
  const claims = await eventually(async () => {
    const found = [0, 1].flatMap((side) => copiedClaim(replication, side, key) ?? []);
    return found.length === 2 ? found as [CopiedKey, CopiedKey] : undefined;
  });
  // Each side knows only its own claim: no epoch is given twice.
  const [a, b] = await Promise.all(stores.map((store) => store.lookup(key)));
  const greater = a!.epoch > b!.epoch ? 0 : 1;
  const chosen = { both: claims, greater: [claims[greater]], lesser: [claims[1 - greater]] };
  if (inTime !== "none") replication.release((copied) => chosen[inTime].includes(copied));
  return { ...await trial, inTime };
}

warnIfRedisMissing("two owners of one name on two Redis servers");

describe("claims at two masters", unless(redisMissing), () => {
  test("make double owners as often as in `atlas race` if copying takes longer than the bound", async () => {
    const place = await twoMasters();
    // Nothing is copied before both claims are decided.
    place.replication.hold();
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
    const stores = await opened(place, "bound=500");
    const trials = await Promise.all(
      Array.from({ length: 40 }, () => contend(place, stores)),
    );
    const rate = trials.filter(({ isDouble }) => isDouble).length / trials.length;
    expect([rate, published.trials]).toEqual([published.rate, 20]);
    expect(rate).toBe(1);
  });

  test("make two owners of a key only if the greater claim was copied too late", async () => {
    const place = await twoMasters();
    place.replication.hold();
    // Copies that are released have four seconds to arrive.
    const stores = await opened(place, "bound=2000");
    const trials = await Promise.all(
      Array.from({ length: 60 }, (_, i) => contendWith(place, stores, IN_TIME[i % 4]!)),
    );
    for (const { inTime, ...trial } of trials) {
      const isDouble = inTime === "lesser" || inTime === "none";
      expect({ inTime, ...trial }).toEqual({ inTime, isContended: true, isDouble });
    }
  });

  test("make no double owners if the bound holds", async () => {
    const place = await twoMasters();
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

/** Keeps lines; the loser of a conflict sends the winner the lines that only it has. */
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

describe("nodes at two masters", unless(redisMissing), () => {
  async function nodes(
    place: TwoMasters,
    recheckMs: number,
  ): Promise<[AtlasNode<typeof app>, AtlasNode<typeof app>]> {
    log.length = 0;
    Notes.gate = Promise.resolve();
    const stores = await opened(place, `bound=500&recheck=${recheckMs}`);
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

  test("have two owners after a partition, which both sides show, and then one owner with all writes", async () => {
    const place = await twoMasters();
    // A conflict is visible for three rechecks and two bounds, unless the loser withdraws its claim
    // earlier.
    const [one, two] = await nodes(place, 2_000);
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
    await Promise.all([one, two].map(async (node) => {
      await eventually(async () => {
        const seen = await node.lookup("notes", "x");
        if (seen.verdict !== "contested") return undefined;
        expect(seen).toMatchObject({ rrp: winner.rrp, epoch: winner.epoch });
        const confirmed = node.lookup("notes", "x", { require: "confirmed" });
        const refused = await confirmed.then(() => null, (error) => error);
        expect(refused).toMatchObject({ code: "contested" });
        return true;
      });
    }));
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

  test("move a call to the winner if its owner learns at the commit that it lost", async () => {
    const place = await twoMasters();
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
