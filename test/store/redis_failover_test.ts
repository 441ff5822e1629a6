/**
 * A real Redis whose replica is promoted: confirmed writes are kept, the new copy is recognised by
 * its lineage, and nodes continue with one owner for each key.
 *
 * Covers src/resource/reassertion.ts.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { redisStore } from "../../adapters/store/open/redis.ts";
import {
  type AtlasNode,
  createNode,
  defineApp,
  inProcessNetwork,
  inProcessTransport,
  type NodeEvent,
  Resource,
} from "../../mod.ts";
import { EPOCHS_PER_TERM } from "../../src/limits.ts";
import type { Store } from "../../src/ports/store.ts";
import { timing } from "../../src/registry/lease.ts";
import {
  claimOf,
  eventually,
  freshKey,
  freshMember,
  own,
  refuses,
} from "../conformance/store_kit.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { command, copied } from "../support/redis_command.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

/** Long enough for a busy machine to renew in time, while the primary is replaced, too. */
const LEASE = { heartbeatMs: 200, leaseMs: 3_000 };

const cleanups = cleanupsAfterEach();

/** A primary and replicas that have caught up. */
async function team(count: number): Promise<{ primary: TestRedis; replicas: TestRedis[] }> {
  const primary = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
  cleanups.push(() => primary.close());
  const args = ["--replicaof", "127.0.0.1", String(primary.port)];
  const replicas = await Promise.all(Array.from({ length: count }, () => startRedis({ args })));
  for (const replica of replicas) cleanups.push(() => replica.close());
  await copied(primary, count);
  return { primary, replicas };
}

/** Makes the replica with most of the data the primary of the others, and returns it. */
async function promote(replicas: readonly TestRedis[]): Promise<TestRedis> {
  const offsets = await Promise.all(replicas.map(async (replica) => {
    const info = String(await command(replica, "INFO", "replication"));
    return Number(/slave_repl_offset:(\d+)/.exec(info)?.[1]);
  }));
  const first = replicas[offsets.indexOf(Math.max(...offsets))] as TestRedis;
  await command(first, "REPLICAOF", "NO", "ONE");
  for (const other of replicas) {
    if (other !== first) await command(other, "REPLICAOF", "127.0.0.1", String(first.port));
  }
  return first;
}

async function opened(url: string, timeoutMs = 30_000): Promise<Store> {
  const store = await redisStore(url, { timeoutMs });
  cleanups.push(() => store.close());
  return store;
}

warnIfRedisMissing("failovers of the Redis store");

describe("steps that wait for replicas", unless(redisMissing), () => {
  test("are answered once a replica has them, and fail as unavailable while none has", async () => {
    const { primary, replicas: [replica] } = await team(1) as {
      primary: TestRedis;
      replicas: [TestRedis];
    };
    const store = await opened(`${primary.url}?replicas=1`, 3_000);
    const key = freshKey();
    const { incarnation, epoch } = await own(store, key);
    const member = freshMember();
    expect((await store.register(member, { ifFree: false })).lineage.settled).toBe(false);
    replica.freeze();
    await refuses(store.claim(claimOf(freshKey())), "unavailable", "0 of 1 replicas");
    await refuses(store.renew(member.incarnation, 1, []), "unavailable", "replicas");
    const turn = { key, incarnation, epoch, turn: 1, puts: [["a", "1"]] as const, deletes: [] };
    await refuses(store.commit(turn), "unavailable", "replicas");
    // A repetition that changes nothing isn't confirmed before the first attempt is.
    await refuses(store.commit(turn), "unavailable", "replicas");
    replica.thaw();
    expect(await eventually(() => store.commit(turn))).toBe("committed");
    expect((await store.renew(member.incarnation, 2, [])).outcome).toBe("renewed");
  });

  test("an impossible number of replicas is refused", async () => {
    await refuses(redisStore("redis://127.0.0.1?replicas=x"), "bad_request", "?replicas=0 to 99");
    const replicas = -1;
    await refuses(redisStore("redis://127.0.0.1", { replicas }), "bad_request", "replicas is -1");
  });
});

describe("a promoted replica", unless(redisMissing), () => {
  test("is another lineage, whose claims wait until a node has waited", async () => {
    const { primary, replicas } = await team(1);
    const before = await opened(primary.url);
    const member = freshMember();
    const { lineage } = await before.register(member, { ifFree: false });
    expect(lineage).toMatchObject({ term: 0, settled: true });
    expect(lineage.id).toMatch(/^[0-9a-f]{40}$/);
    const key = freshKey();
    const owner = await own(before, key, { incarnation: member.incarnation, lineage });
    const { incarnation, epoch } = owner;
    const turn = { key, incarnation, epoch, turn: 1, puts: [], deletes: [], lineage: lineage.id };
    await before.commit(turn);
    await copied(primary, 1);
    await primary.kill();
    const replica = await promote(replicas);

    const store = await opened(replica.url);
    await refuses(before.lookup(key), "unavailable");
    const claim = claimOf(freshKey(), { lineage });
    expect(await store.claim(claim)).toMatchObject({ won: false, quarantined: true });
    expect(await store.commit({ ...turn, epoch: epoch + 1 })).toBe("moved");
    const reassertion = { ...owner, key, after: { epoch, turn: 1 } };
    expect(await store.reassert([reassertion], lineage)).toBeNull();

    const known = { ...lineage, waited: true };
    const { lineage: next } = await store.renew(incarnation, 1, [], known);
    expect(next).toMatchObject({ term: 1, settled: false });
    expect(next.id).not.toBe(lineage.id);
    expect((await store.members()).lineage).toBe(next.id);
    expect(await store.reassert([reassertion], next))
      .toEqual([{ standing: "kept", last: { epoch, turn: 1 } }]);
    expect(await store.reassert([{ ...reassertion, after: { epoch, turn: 2 } }], next))
      .toEqual([{ standing: "behind", last: { epoch, turn: 1 } }]);
    const won = await store.claim({ ...claim, lineage: next });
    expect(won.owner?.epoch).toBeGreaterThan(EPOCHS_PER_TERM);

    const settled = await store.renew(incarnation, 2, [], { ...next, waited: true });
    expect(settled.lineage).toEqual({ ...next, settled: true });
    // For a caller with a lineage that this copy doesn't know, the term rises above the caller's.
    const stray = { id: "gone", term: 7, waited: true };
    const { lineage: risen } = await store.renew(incarnation, 3, [], stray);
    expect(risen).toEqual({ id: next.id, term: 8, settled: false });
  });

  test("an emptied store has another lineage for callers that knew the former one", async () => {
    const { primary } = await team(0);
    const store = await opened(primary.url);
    const { lineage } = await store.renew("nobody", 0, []);
    await command(primary, "FLUSHALL");
    const known = { ...lineage, waited: true };
    expect((await store.renew("nobody", 0, [], known)).lineage)
      .toEqual({ id: lineage.id, term: lineage.term + 1, settled: false });
  });
});

/** A TCP route to a Redis that can be switched to another one. */
class Route {
  target: TestRedis;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: TestRedis) {
    this.target = target;
    this.#server = createServer((near) => {
      const far = connect(this.target.port, "127.0.0.1");
      for (const [one, other] of [[near, far], [far, near]] as const) {
        this.#sockets.add(one);
        one.on("error", () => {});
        one.on("close", () => {
          other.destroy();
          this.#sockets.delete(one);
        });
        one.pipe(other);
      }
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => this.close());
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on all connections lead to another Redis. */
  lead(target: TestRedis): void {
    this.target = target;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

class Tally extends Resource {
  /** Adds an entry once, even if it is called again. Returns the number of entries. */
  async add(entry: string): Promise<number> {
    const before = (await this.storage.get<number>("n")) ?? 0;
    if (await this.storage.get(`e:${entry}`) !== undefined) return before;
    const count = before + 1;
    await this.storage.put(`e:${entry}`, this.epoch);
    await this.storage.put("n", count);
    return count;
  }

  async entries(): Promise<string[]> {
    return [...(await this.storage.list({ prefix: "e:" })).keys()].map((key) => key.slice(2));
  }
}

const app = defineApp({
  resources: { tallies: Tally, brief: { class: Tally, idleAfterMs: 100 } },
});
const NAMES = ["a", "b", "c", "d"];

/** A node's log event, and its name. */
type LoggedEvent = NodeEvent & { readonly node: string };

interface Setup {
  readonly nodes: AtlasNode<typeof app>[];
  readonly events: LoggedEvent[];
  readonly route: Route;
  readonly primary: TestRedis;
  readonly replicas: readonly TestRedis[];
}

async function setUp(query: string): Promise<Setup> {
  const { primary, replicas } = await team(2);
  const route = new Route(primary);
  const url = await route.open();
  const network = inProcessNetwork();
  const events: LoggedEvent[] = [];
  const nodes: AtlasNode<typeof app>[] = [];
  for (const node of ["one", "two"]) {
    const store = await opened(`${url}${query}`, 5_000);
    const transport = inProcessTransport(network);
    const onEvent = (event: NodeEvent): void => void events.push({ ...event, node });
    const options = { region: "test", node, store, transport, lease: LEASE, onEvent };
    nodes.push(await createNode(app, options));
  }
  cleanups.push(() => Promise.all(nodes.map((node) => node.close({ drainMs: 100 }))));
  // A new store with replicas is settled once a node has waited.
  for (const name of NAMES) {
    await eventually(() => (nodes[0] as AtlasNode<typeof app>).resource("tallies", name).add("0"));
  }
  return { nodes, events, route, primary, replicas };
}

interface Load {
  /** Resolves when enough further entries are acknowledged for it to count as a load. */
  isUnderWay(): Promise<void>;
  /** Ends it; gives the entries that were acknowledged, by name. */
  stop(): Promise<Map<string, string[]>>;
}

/** Adds entries through all nodes until it is stopped. */
function load(nodes: readonly AtlasNode<typeof app>[]): Load {
  let isOver = false;
  const added = new Map<string, string[]>(NAMES.map((name) => [name, ["0"]]));
  const workers = nodes.flatMap((node, n) =>
    NAMES.map(async (name) => {
      for (let i = 0; !isOver; i++) {
        const entry = `${n}-${i}`;
        try {
          await node.resource("tallies", name, { timeoutMs: 500 }).add(entry);
          added.get(name)?.push(entry);
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    })
  );
  const count = (): number => [...added.values()].reduce((sum, { length }) => sum + length, 0);
  return {
    async isUnderWay() {
      const wanted = count() + 100;
      await eventually(async () => count() >= wanted || undefined);
    },
    async stop() {
      isOver = true;
      await Promise.all(workers);
      return added;
    },
  };
}

/** Kills the primary under load, and promotes its replica. */
async function failOver(
  { nodes, route, primary, replicas }: Setup,
): Promise<Map<string, string[]>> {
  const under = load(nodes);
  await under.isUnderWay();
  await primary.kill();
  route.lead(await promote(replicas));
  // Every name is served again, and new ones can be claimed.
  const { takeoverMs } = timing(LEASE);
  const calls = [...NAMES, "new"].map((name) =>
    eventually(() =>
      (nodes[1] as AtlasNode<typeof app>).resource("tallies", name, {
        timeoutMs: 2 * takeoverMs,
      }).add("after")
    )
  );
  await Promise.all(calls);
  const added = await under.stop();
  return added;
}

async function missing(
  { nodes }: Setup,
  added: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, string[]>> {
  const lost = new Map<string, string[]>();
  for (const [name, entries] of added) {
    const there = new Set(
      await eventually(() =>
        (nodes[0] as AtlasNode<typeof app>).resource("tallies", name).entries()
      ),
    );
    const gone = entries.filter((entry) => !there.has(entry));
    if (gone.length > 0) lost.set(name, gone);
  }
  return lost;
}

describe("nodes on a Redis that fails over under load", unless(redisMissing), () => {
  test("lose no acknowledged write if replicas confirm", async () => {
    const setup = await setUp("?replicas=1");
    const added = await failOver(setup);
    expect(await missing(setup, added)).toEqual(new Map());
    expect(setup.events.map(({ event }) => event)).toContain("store failed over");
    expect(setup.nodes.map((node) => node.stats().lostTurns)).toEqual([0, 0]);
  });

  test("report lost writes if replicas don't confirm", async () => {
    const setup = await setUp("");
    // The replica copies nothing more: turns acknowledged from here on will be lost.
    for (const replica of setup.replicas) await command(replica, "REPLICAOF", "127.0.0.1", "1");
    const [one] = setup.nodes as [AtlasNode<typeof app>];
    for (const entry of ["x", "y"]) await one.resource("brief", "gone").add(entry);
    await eventually(async () =>
      (await one.lookup("brief", "gone")).verdict === "unowned" || undefined
    );
    const under = load(setup.nodes);
    await under.isUnderWay();
    await setup.primary.kill();
    setup.route.lead(await promote(setup.replicas));
    // Each node reasserts its ownerships, unless its lease has lapsed before.
    const isDone = ({ event }: LoggedEvent) => event === "reasserted" || event === "lease lapsed";
    await eventually(async () =>
      new Set(setup.events.filter(isDone).map(({ node }) => node)).size === 2 || undefined
    );
    const added = await under.stop();
    const lost = await missing(setup, added);
    const reported = () => {
      const losses = setup.events.filter(({ event }) => event === "state lost");
      return new Set(losses.map(({ fields }) => fields["key"]));
    };
    // The loss is reported also if the key had been released, or its owner's lease had lapsed.
    const missed = ["brief/gone", ...[...lost.keys()].map((name) => `tallies/${name}`)];
    await expect.poll(() => missed.filter((key) => !reported().has(key)), { timeout: 30_000 })
      .toEqual([]);
    const { resource } = setup.nodes[0] as AtlasNode<typeof app>;
    expect(await eventually(() => resource("tallies", "new").add("x"))).toBe(1);
  });
});
