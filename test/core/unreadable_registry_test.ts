/**
 * Nodes on a registry that fails or holds rows that can't be read: which errors callers get, what
 * is logged, and that no owner loses its resources because of it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  AtlasError,
  type AtlasNode,
  createNode,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
  type NodeEvent,
  type Store,
} from "../../mod.ts";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import type { Unreadable } from "../../src/ports/store.ts";
import { fakeClock } from "../../testing.ts";
import { sqliteWriter } from "../conformance/hostile_writers.ts";
import { until } from "../support/until.ts";
import { app as testApp, type TestApp } from "./cluster.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

const lease = { heartbeatMs: 100, leaseMs: 2_000 };
const UNREADABLE = "registry holds what can't be read";

/** Nodes in this process on one SQLite file. */
function onFile() {
  const directory = mkdtempSync(join(tmpdir(), "atlas-unreadable-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "registry.db");
  const network = inProcessNetwork();
  const events: NodeEvent[] = [];
  const node = async (name: string): Promise<AtlasNode<TestApp>> => {
    const store = await sqliteStore(file);
    cleanups.push(() => store.close());
    const made = await createNode(testApp, {
      region: "local",
      node: name,
      store,
      transport: inProcessTransport(network),
      clock: systemClock,
      random: systemRandom,
      lease,
      onEvent: (event) => void events.push(event),
    });
    cleanups.push(() => made.close({ drainMs: 0 }));
    return made;
  };
  return { node, writer: sqliteWriter(file), events };
}

const logged = (events: readonly NodeEvent[], name: string) =>
  events.filter(({ event }) => event === name);

describe("a member's row that can't be read", () => {
  const row = {
    incarnation: "somebody-else",
    region: "local",
    node: "b",
    address: "ws://127.0.0.1:1/atlas/link",
    hosts: "not json",
    seq: "1",
    state: "live",
  };

  test("affects no running node, no new node and no list of nodes, and each node logs it once", async () => {
    const { node, writer, events } = onFile();
    const a = await node("a");
    await a.call("counters", "x", "add", [1]);
    await writer.member(row);
    const c = await node("c");
    expect((await c.call("counters", "x", "add", [1])).result).toMatchObject({ total: 2 });
    const names = async () => (await a.members()).map((member) => member.node).sort();
    await until(async () => (await names()).join() === "a,c", "both are listed, and no other");
    await until(
      () =>
        logged(events, "member is dead").some(({ fields }) =>
          fields["incarnation"] === row.incarnation
        ),
      "its heartbeat stands still, so it is killed",
    );
    await a.members();
    expect(a.state).toBe("serving");
    const lines = logged(events, UNREADABLE);
    expect(lines).toHaveLength(2);
    expect(lines[0]?.fields["reason"]).toContain(`"somebody-else" is left out: it is not JSON`);
  });

  test("is written again by its own node if that is live, and the node keeps its resources", async () => {
    const { node, writer } = onFile();
    const [a, b] = [await node("a"), await node("b")];
    const { rrp, result } = await a.call("counters", "x", "add", [1]);
    expect(rrp).toBe("rrp:local/a/counters/x");
    await writer.corruptMember(a.incarnation);
    await writer.version("7");
    await until(
      async () => (await b.members()).some(({ incarnation }) => incarnation === a.incarnation),
      "its row is written anew",
    );
    const again = await b.call("counters", "x", "add", [1]);
    expect(again.rrp).toBe(rrp);
    expect(again.result).toMatchObject({ total: 2, epoch: (result as { epoch: number }).epoch });
    expect(a.state).toBe("serving");
  });
});

test("does not make a node that may hold a lease count as dead", async () => {
  const clock = fakeClock();
  const store = memoryStore();
  const network = inProcessNetwork();
  const unreadable: Unreadable[] = [
    { incarnation: "unreadable", seq: 3, state: "live", reason: "it is not JSON" },
  ];
  const defaced: Store = Object.assign(Object.create(store), {
    ...Object.fromEntries(
      ["status", "register", "renew", "kill", "leave", "lookup", "claim", "read", "commit", "close"]
        .map((
          name,
        ) => [name, (...args: unknown[]) => Reflect.apply(Reflect.get(store, name), store, args)]),
    ),
    members: async () => ({ ...await store.members(), unreadable }),
  });
  const claim = {
    key: "counters/x",
    rrp: "rrp:local/gone/counters/x",
    incarnation: "unreadable",
    opId: "op",
    expected: null,
  };
  await store.claim(claim);
  const node = await clock.run(createNode(testApp, {
    region: "local",
    node: "a",
    store: defaced,
    transport: inProcessTransport(network),
    clock,
    random: systemRandom,
    lease,
  }));
  cleanups.push(() => clock.run(node.close({ drainMs: 0 })));
  const call = () => clock.run(node.call("counters", "x", "add", [1], { timeoutMs: 300 }));
  await expect(call()).rejects.toThrow("its row in the registry can't be read");
  unreadable.splice(0, 1, { ...unreadable[0] as Unreadable, state: "dead" });
  await store.register({
    incarnation: "news",
    region: "local",
    node: "n",
    address: "",
    hosts: [],
  }, { ifFree: true });
  await clock.advance(3 * lease.heartbeatMs);
  expect((await call()).result).toMatchObject({ total: 1 });
});

test("callers get a general error if the registry is away, and the log has the whole reason once", async () => {
  const clock = fakeClock();
  const store = memoryStore();
  const events: NodeEvent[] = [];
  const secret = "the Redis at 10.0.0.5:6379 can't be reached: connect ECONNREFUSED 10.0.0.5:6379";
  let why: string | null = null;
  const away: Store = new Proxy(store, {
    get: (it, name) => {
      const value = Reflect.get(it, name);
      if (typeof value !== "function") return value;
      if (name === "status" || name === "close" || name === "leave") return value.bind(it);
      return async (...args: unknown[]) => {
        if (why !== null) throw new AtlasError("unavailable", why);
        return await value.apply(it, args);
      };
    },
  });
  const node = await clock.run(createNode(testApp, {
    region: "local",
    node: "a",
    store: away,
    transport: inProcessTransport(inProcessNetwork()),
    clock,
    random: systemRandom,
    lease: { heartbeatMs: 1_000, leaseMs: 600_000 },
    onEvent: (event) => void events.push(event),
  }));
  cleanups.push(() => clock.run(node.close({ drainMs: 0 })));
  const failure = () =>
    clock.run(node.call("counters", crypto.randomUUID(), "add", [1], { timeoutMs: 200 }))
      .then(() => null, (error) => error);
  const lines = () =>
    logged(events, "registry can't be reached").map(({ fields }) => fields["reason"]);

  why = secret;
  for (let i = 0; i < 20; i++) {
    const error = await failure();
    expect(error.code).toMatch(/unavailable|timeout/);
    expect(error.message).toContain("the registry can't be reached: it refuses connections");
    expect(error.message).not.toMatch(/10\.0\.0\.5|6379|Redis/);
  }
  expect(lines()).toEqual([secret]);
  why = "the Redis at 10.0.0.5:6379: no answer within 5000 ms";
  expect((await failure()).message).toContain("it doesn't answer in time");
  await clock.advance(2_000);
  await failure();
  expect(lines()).toEqual([secret, why]);
});
