/**
 * Ownership over time: idempotency, idle stops, drains, takeovers, fencing and lookups.
 *
 * Covers src/registry/lease.ts, src/registry/directory.ts and src/registry/heartbeat_monitor.ts.
 */
import { describe, expect, it } from "vitest";
import { AtlasError, defineApp, memoryStore, type Store } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { app, BRISK, cluster, Counter, Gate, log, until, untilBy } from "./cluster.ts";

const fails = (code: string) => expect.objectContaining({ code });

/** A store that wraps another; tests can make some of its steps fail. */
function breakable(inner: Store): Store & { broken: Set<string> } {
  const broken = new Set<string>();
  return new Proxy(inner, {
    get(target, name: string) {
      if (name === "broken") return broken;
      const value = (target as unknown as Record<string, unknown>)[name];
      if (typeof value !== "function") return value;
      if (name === "status") return () => (broken.has("status") ? "down" : target.status());
      return (...args: unknown[]) => {
        if (broken.has(name) || (broken.has("all") && name !== "close")) {
          return Promise.reject(new AtlasError("unavailable", `${name} is broken`));
        }
        return value.apply(target, args);
      };
    },
  }) as Store & { broken: Set<string> };
}

describe("idempotency keys", () => {
  it("answer a repeated call with the first answer, from any node and after a takeover", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    const options = { idempotencyKey: "once" };
    const first = await a.resource("counters", "x", options).add(1);
    expect(await b.resource("counters", "x", options).add(1)).toEqual(first);
    await a.drain();
    expect(await b.resource("counters", "x", options).add(1)).toEqual(first);
    expect(await b.resource("counters", "x").total()).toBe(1);
  });

  it("run a call once, however many repeat it at the same time", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    const answers = await Promise.all(
      Array.from(
        { length: 40 },
        (_, i) => [a, b][i % 2]!.resource("counters", "x", { idempotencyKey: "same" }).add(1),
      ),
    );
    expect(new Set(answers.map((answer) => answer.total))).toEqual(new Set([1]));
  });

  it("are not kept for calls that threw, and are separate for each method", async () => {
    const a = await cluster().node("a");
    const stub = a.resource("counters", "x", { idempotencyKey: "k" });
    await expect(stub.addThenThrow(1)).rejects.toEqual(fails("app"));
    expect((await stub.add(1)).total).toBe(1);
    await expect(stub.total()).rejects.toEqual(fails("bad_request"));
  });

  it.each(["", "x".repeat(257), "\ud800"])("are refused if invalid: %j", async (idempotencyKey) => {
    const a = await cluster().node("a");
    await expect(a.call("counters", "x", "total", [], { idempotencyKey })).rejects.toEqual(
      fails("bad_request"),
    );
  });
});

describe("releasing resources", () => {
  it("an idle resource stops, releases its key, and starts again with its state", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    const first = await a.resource("brief", "x").add(1);
    await until(() => log.includes("stop x idle"), "it stopped");
    await until(async () => (await b.lookup("brief", "x")).verdict === "unowned", "it is unowned");
    const second = await b.resource("brief", "x").add(1);
    expect(second.total).toBe(2);
    expect(second.epoch).toBeGreaterThan(first.epoch);
    expect(a.stats().resources).toBe(0);
  });

  it("a drain and the close after it lose no running call, with or without idempotency key", async () => {
    const made = cluster();
    const lease = "frugal";
    const a = await made.node("a", { lease });
    const [b, c] = [await made.node("b", { lease }), await made.node("c", { lease })];
    await a.resource("counters", "x").add(0);
    let calls = 0;
    let over = false;
    const caller = async (node: typeof a): Promise<void> => {
      while (!over) {
        await node.resource("counters", "x").add(1);
        calls++;
        // Calls within one process need no I/O: without this the loop would starve all timers.
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    // The draining node also forwards calls that are made on it.
    const callers = [a, b, c].flatMap((node) => Array.from({ length: 10 }, () => caller(node)));
    await until(() => calls > 100, "calls before the drain");
    await a.drain();
    await until(() => b.stats().turns + c.stats().turns > 100, "calls after the drain");
    over = true;
    await Promise.all(callers);
    await a.close();
    expect(await b.resource("counters", "x").total()).toBe(calls);
  });

  it("a draining node releases its keys at once: running calls finish, waiting ones run elsewhere", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    const x = a.resource("counters", "x");
    await x.add(1);
    const running = b.resource("counters", "x").wait("drain");
    await until(() => log.includes("waiting drain"), "a call runs");
    const waiting = [b.resource("counters", "x").add(1), x.add(1)];
    await until(() => a.stats().queued === 2, "two wait");
    const drained = a.drain();
    expect(a.state).toBe("draining");
    Gate.of("drain").open();
    expect(await running).toBe("drain");
    expect((await Promise.all(waiting)).map((answer) => answer.total).sort()).toEqual([2, 3]);
    await drained;
    expect(log).toContain("stop x drain");
    expect(await a.call("counters", "x", "total", [])).toMatchObject({
      result: 3,
      rrp: "rrp:local/b/counters/x",
    });
  });
});

describe("takeover", () => {
  /** The time of all nodes here. */
  const clock = fakeClock();

  it("keys of a killed node are served elsewhere, with their state, under a higher epoch", async () => {
    const made = cluster(undefined, clock);
    const store = breakable(made.store);
    const a = await made.node("a", { store, lease: BRISK });
    const b = await made.node("b", { lease: BRISK });
    const first = await a.resource("counters", "x").add(1);
    expect((await b.lookup("counters", "x")).verdict).toBe("confirmed");
    store.broken.add("all");
    const second = await clock.run(
      b.resource("counters", "x", { idempotencyKey: "k" }).add(1),
    );
    expect(second.total).toBe(2);
    expect(second.epoch).toBeGreaterThan(first.epoch);
    expect(b.stats().kills).toBe(1);
    await untilBy(clock, () => log.includes("stop x fenced"), "the old one stopped");
    expect(a.state).toBe("fenced");
  });

  it("an owner whose lease lapsed refuses, and returns under a new incarnation", async () => {
    const made = cluster(undefined, clock);
    const store = breakable(made.store);
    const a = await made.node("a", { store, lease: BRISK });
    const former = a.incarnation;
    const first = await a.resource("counters", "x").add(1);
    store.broken.add("all").add("status");
    await untilBy(clock, () => a.state === "fenced", "its lease lapsed");
    expect((await a.lookup("counters", "x")).verdict).toBe("suspect");
    const confirmed = a.lookup("counters", "x", { require: "confirmed" });
    await expect(clock.run(confirmed)).rejects.toEqual(fails("unavailable"));
    await expect(clock.run(a.resource("counters", "x").add(1))).rejects.toMatchObject({
      code: "unavailable",
      maybeExecuted: false,
    });
    store.broken.clear();
    await untilBy(clock, () => a.state === "serving", "it serves again");
    expect(a.incarnation).not.toBe(former);
    const again = await clock.run(a.resource("counters", "x").add(1));
    expect(again.total).toBe(2);
    expect(again.epoch).toBeGreaterThan(first.epoch);
    const members = await a.members();
    expect(members.find((member) => member.incarnation === former)?.state).toBe("left");
  });

  it("a turn during which the lease lapsed is neither committed nor answered", async () => {
    const made = cluster(undefined, clock);
    const store = breakable(made.store);
    const a = await made.node("a", { store, lease: BRISK });
    await a.resource("counters", "x").add(1);
    store.broken.add("renew").add("leave");
    const held = a.resource("counters", "x", { timeoutMs: 4_000 }).wait("late");
    await until(() => log.includes("waiting late"), "a call runs");
    await expect(clock.run(held)).rejects.toMatchObject({ code: "not_owner", maybeExecuted: true });
    expect(log).toContain("aborted late");
    store.broken.clear();
    await untilBy(clock, () => a.state === "serving", "it serves again");
    expect(await clock.run(a.resource("counters", "x").total())).toBe(1);
  });

  it("a commit whose answer was lost is repeated, and applied once", async () => {
    const made = cluster(undefined, clock);
    const inner = made.store;
    let lost = 0;
    const store: Store = new Proxy(inner, {
      get(target, name: string) {
        const value = (target as unknown as Record<string, unknown>)[name];
        if (typeof value !== "function") return value;
        if (name !== "commit") return value.bind(target);
        return async (commit: never) => {
          const reply = await target.commit(commit);
          if (lost++ % 2 === 0) throw new AtlasError("unavailable", "the reply got lost");
          return reply;
        };
      },
    });
    const a = await made.node("a", { store, lease: BRISK });
    expect((await clock.run(a.resource("counters", "x").add(1))).total).toBe(1);
    expect((await clock.run(a.resource("counters", "x").add(1))).total).toBe(2);
    expect(lost).toBe(4);
  });

  it("a claim whose answer was lost leaves a key that can still be called", async () => {
    const made = cluster(undefined, clock);
    const inner = made.store;
    let lose = true;
    const store: Store = new Proxy(inner, {
      get(target, name: string) {
        const value = (target as unknown as Record<string, unknown>)[name];
        if (typeof value !== "function") return value;
        if (name !== "claim") return value.bind(target);
        return async (claim: never) => {
          const reply = await target.claim(claim);
          if (lose) throw new AtlasError("unavailable", "the reply got lost");
          return reply;
        };
      },
    });
    const a = await made.node("a", { store, lease: BRISK });
    const b = await made.node("b", { lease: BRISK });
    const failed = a.resource("counters", "x", { timeoutMs: 150 }).add(1);
    await expect(clock.run(failed)).rejects.toEqual(fails("timeout"));
    const fromB = b.resource("counters", "x").add(1);
    lose = false;
    expect((await clock.run(fromB)).total).toBe(1);
    expect((await clock.run(a.resource("counters", "x").add(1))).total).toBe(2);
  });
});

describe("calls of types that a node doesn't run", () => {
  it("are sent to a node that does", async () => {
    const made = cluster();
    const gateway = await made.node("gateway", {}, defineApp({ resources: {} }));
    await expect(gateway.call("counters", "x", "add", [1])).rejects.toEqual(fails("not_found"));
    const [b, c] = [await made.node("b"), await made.node("c")];
    await until(
      () => gateway.call("counters", "x", "echo", [1]).then(() => true, () => false),
      "found",
    );
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => gateway.call("counters", `n${i % 20}`, "add", [1])),
    );
    expect(answers).toHaveLength(60);
    expect(b.stats().resources + c.stats().resources).toBe(21);
    await b.drain();
    const after = await gateway.call("counters", "n0", "add", [1]);
    expect(after).toMatchObject({ result: { total: 4 }, rrp: "rrp:local/c/counters/n0" });
    // While all nodes that run it are away, a call waits for one to join.
    await c.drain();
    const waiting = gateway.call("counters", "n0", "add", [1]);
    await made.node("d");
    expect(await waiting).toMatchObject({ rrp: "rrp:local/d/counters/n0" });
  });
});

describe("a lookup", () => {
  it("gives a verdict about its certainty", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    expect(await b.lookup("counters", "x")).toMatchObject({
      rrp: null,
      epoch: 0,
      verdict: "unowned",
    });
    const { epoch } = await a.resource("counters", "x").add(1);
    const rrp = "rrp:local/a/counters/x";
    expect(await b.lookup("counters", "x")).toMatchObject({
      key: "counters/x",
      rrp,
      epoch,
      verdict: "confirmed",
    });
    const cached = await b.lookup("counters", "x");
    expect(cached).toMatchObject({ rrp, epoch, verdict: "cached" });
    expect(cached.ageMs).toBeGreaterThanOrEqual(0);
    const options = { require: "confirmed" } as const;
    expect(await b.lookup("counters", "x", options)).toMatchObject({ rrp, verdict: "confirmed" });
    expect(await a.lookup("counters", "x")).toMatchObject({ rrp, verdict: "cached" });
  });

  it("lists by prefix", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    for (let i = 0; i < 5; i++) await a.resource("counters", `a${i}`).add(1);
    for (let i = 0; i < 3; i++) await b.resource("counters", `b${i}`).add(1);
    const all = await a.resources("rrp:local/b/");
    expect(all.resources.map(({ rrp }) => rrp).sort()).toEqual(
      [0, 1, 2].map((i) => `rrp:local/b/counters/b${i}`),
    );
    const seen = new Set<string>();
    for (let cursor: string | undefined, more = true; more;) {
      const page = await b.resources("rrp:", { limit: 2, cursor });
      for (const { rrp } of page.resources) seen.add(rrp);
      cursor = page.next ?? undefined;
      more = page.next !== null;
    }
    expect(seen.size).toBe(8);
    await expect(a.resources("rrp:local")).rejects.toEqual(fails("invalid_rrp"));
  });
});

it("a node whose options are invalid is refused", async () => {
  const made = cluster(memoryStore());
  await expect(made.node("a/b")).rejects.toEqual(fails("invalid_rrp"));
  await expect(made.node("a", { lease: { heartbeatMs: 100, leaseMs: 100 } })).rejects.toEqual(
    fails("bad_request"),
  );
  expect(() => defineApp({ resources: { "a b": Counter } })).toThrow(fails("invalid_rrp"));
  expect(() => defineApp({ resources: { a: { class: Counter, mailbox: 0 } } })).toThrow(
    fails("bad_request"),
  );
  expect(app.resources.counters).toBe(Counter);
  expect(BRISK.leaseMs).toBeGreaterThan(2 * BRISK.heartbeatMs);
});
