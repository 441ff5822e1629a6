/**
 * Calls through one node and several: answers, turns, errors, deadlines, chains.
 *
 * Covers src/node/facade.ts, src/routing/local_call.ts, src/routing/outgoing.ts,
 * src/routing/inbound.ts, src/routing/dispatcher.ts, src/resource/storage.ts and
 * src/api/resource.ts.
 */
import { describe, expect, it } from "vitest";
import { systemRandom } from "../../adapters/system/clock.ts";
import { inProcessTransport } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { breakable } from "./breakable_transport.ts";
import { cluster, Counter, Gate, log, until } from "./cluster.ts";
import { connectionTo } from "./store_connection.ts";

const fails = (code: string, maybeExecuted?: boolean) =>
  expect.objectContaining(
    maybeExecuted === undefined ? { code } : { code, maybeExecuted },
  );

describe("a call", () => {
  it("is answered by the one owner, whichever node is asked", async () => {
    const made = cluster();
    const [a, b, c] = [await made.node("a"), await made.node("b"), await made.node("c")];
    const names = Array.from({ length: 50 }, (_, i) => `n${i}`);
    const answers = await Promise.all(
      names.flatMap((name) =>
        [a, b, c].flatMap((node) =>
          [1, 1].map(() => node.call("counters", name, "add", [1]).then((r) => ({ name, ...r })))
        )
      ),
    );
    for (const name of names) {
      const own = answers.filter((answer) => answer.name === name);
      expect(new Set(own.map((answer) => answer.rrp)).size).toBe(1);
      expect(new Set(own.map((answer) => answer.epoch)).size).toBe(1);
      const totals = own.map((answer) => (answer.result as { total: number }).total);
      expect(totals.sort()).toEqual([1, 2, 3, 4, 5, 6]);
    }
    const claims = a.stats().claims + b.stats().claims + c.stats().claims;
    expect(claims).toBe(names.length);
    expect(log.filter((line) => line.startsWith("start"))).toHaveLength(names.length);
  });

  it("succeeds when both nodes dial each other at once", async () => {
    const clock = fakeClock();
    const made = cluster(undefined, clock);
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.call("counters", "at-a", "echo", [0]);
    await b.call("counters", "at-b", "echo", [0]);
    // A third node: by calling it, the first node learns of the second.
    await (await made.node("c")).call("counters", "at-c", "echo", [0]);
    await a.call("counters", "at-c", "echo", [0]);
    const options = { timeoutMs: 2_000 };
    const [there, back] = await clock.run(Promise.all([
      a.call("counters", "at-b", "echo", [1], options),
      b.call("counters", "at-a", "echo", [2], options),
    ]));
    expect([there.result, back.result]).toEqual([1, 2]);
  });

  it("outlives a short outage of the store while it waits for a silent owner", async () => {
    const clock = fakeClock();
    const made = cluster(undefined, clock);
    const random = { ...systemRandom, next: () => 0 };
    const b = await clock.run(made.node("b"));
    await clock.run(b.call("counters", "x", "add", [1]));
    const connection = connectionTo(made.store);
    const transport = inProcessTransport(made.network);
    const gate = Gate.of("b is dialled");
    const dial = transport.dial.bind(transport);
    transport.dial = (peer) => gate.passed.then(() => dial(peer));
    const a = await clock.run(made.node("a", { random, store: connection.store, transport }));
    const call = a.call("counters", "x", "add", [1]);
    // It looks up the owner in vain at 500, 1,010, 1,530 and 2,070 ms.
    await clock.advance(1_500);
    connection.isCut = true;
    await clock.advance(100);
    connection.isCut = false;
    gate.open();
    expect((await clock.run(call)).result).toMatchObject({ total: 2 });
  });

  it("keeps the order of one caller's calls, also before the owner is known", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.call("counters", "x", "echo", [0]);
    const totals = await Promise.all(
      Array.from({ length: 100 }, () => b.resource("counters", "x").add(1)),
    );
    expect(totals.map((answer) => answer.total)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
  });

  it("carries every kind of value in both directions, locally and over a link", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.call("counters", "x", "echo", [0]);
    const value = {
      text: "é\u0000\u{1f600}",
      numbers: [0, -1, 1.5, 2 ** 53 - 1],
      big: 2n ** 60n,
      bytes: new Uint8Array([1, 2, 255]),
      date: new Date(1_700_000_000_123),
      map: new Map<unknown, unknown>([["k", 1], [2, "v"]]),
      set: new Set([1, "a"]),
      nothing: [null, undefined, true],
    };
    for (const node of [a, b]) {
      expect(await node.resource("counters", "x").echo(value)).toEqual(value);
    }
  });

  it("copies its values also between caller and resource on one node", async () => {
    const a = await cluster().node("a");
    const sent = { list: [1] };
    const got = await a.resource("counters", "x").echo(sent) as typeof sent;
    got.list.push(2);
    expect(sent.list).toEqual([1]);
  });

  it.each([
    "constructor",
    "__proto__",
    "onStart",
    "onStop",
    "_private",
    "toString",
    "hasOwnProperty",
    "key",
    "storage",
    "nope",
    "",
    "x".repeat(500),
  ])(
    "is refused for %j as its method",
    async (method) => {
      const made = cluster();
      const [a, b] = [await made.node("a"), await made.node("b")];
      await a.call("counters", "x", "echo", [0]);
      for (const node of [a, b]) {
        await expect(node.call("counters", "x", method, [])).rejects.toEqual(
          fails("not_found", false),
        );
      }
      expect(await b.resource("counters", "x").echo(1)).toBe(1);
    },
  );

  it("is refused for an unknown type or an invalid id", async () => {
    const a = await cluster().node("a");
    await expect(a.call("nope", "x", "echo", [])).rejects.toEqual(fails("not_found"));
    for (const id of ["", "../x", "a\u0000b", "a\r\nb", "\ud800", "x".repeat(257)]) {
      await expect(a.call("counters", id, "echo", [])).rejects.toEqual(fails("invalid_rrp"));
      expect(() => a.resource("counters", id)).toThrow(
        expect.objectContaining({ code: "invalid_rrp" }),
      );
    }
    expect(await a.resource("counters", "{}*?[] /ü").echo(1)).toBe(1);
  });

  it.each([0, -1, NaN, 1e9, "5"])("is refused for %j as its timeoutMs", async (timeoutMs) => {
    const a = await cluster().node("a");
    const options = { timeoutMs: timeoutMs as number };
    await expect(a.call("counters", "x", "echo", [], options)).rejects.toEqual(
      fails("bad_request"),
    );
  });

  it("with arguments that can't be encoded is refused, and the error names the value", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.call("counters", "x", "echo", [0]);
    for (const node of [a, b]) {
      await expect(node.call("counters", "x", "echo", [{ deep: [() => 1] }])).rejects.toMatchObject(
        {
          code: "bad_request",
          message: expect.stringContaining("deep[0]"),
        },
      );
      const large = "x".repeat(2_000_000);
      await expect(node.call("counters", "x", "echo", [large])).rejects.toEqual(
        fails("payload_too_large"),
      );
    }
  });

  it("is answered by the owner that ran it, although its caller hears of the next owner first", async () => {
    const made = cluster();
    const transport = breakable(inProcessTransport(made.network));
    const a = await made.node("a", { transport });
    const [b, c] = [await made.node("b"), await made.node("c")];
    await b.call("counters", "x", "add", [1]);
    const first = a.call("counters", "x", "wait", ["turn"]);
    await until(() => log.includes("waiting turn"), "the turn runs");
    const drained = b.drain({ prefix: "rrp:local/b/" });
    const held: (() => void)[] = transport.held = [];
    Gate.of("turn").open();
    await drained;
    await c.call("counters", "x", "add", [1]);
    const next = await a.lookup("counters", "x", { require: "confirmed" });
    expect(next.rrp).toBe("rrp:local/c/counters/x");
    transport.held = null;
    for (const deliver of held) deliver();
    expect(await first).toMatchObject({ result: "turn", rrp: "rrp:local/b/counters/x" });
  });
});

describe("a turn", () => {
  it("drops its writes if the method throws or its result can't be encoded", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.resource("counters", "x").add(1);
    for (const node of [a, b]) {
      const stub = node.resource("counters", "x");
      await expect(stub.addThenThrow(10)).rejects.toMatchObject({
        code: "app",
        message: "thrown on purpose",
        maybeExecuted: true,
      });
      await expect(stub.addThenAnswer(10, "function")).rejects.toEqual(fails("app"));
      await expect(stub.addThenAnswer(10, "circle")).rejects.toEqual(fails("app"));
      expect(await stub.total()).toBe(1);
    }
  });

  it("passes on an app's AtlasError with its code, but never as safe to retry", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.resource("counters", "x").add(1);
    for (const code of ["bad_request", "not_owner", "unavailable"] as const) {
      await expect(b.resource("counters", "x").refuse(code)).rejects.toEqual(fails(code, true));
    }
  });

  it("lists stored keys and its own writes in order", async () => {
    const a = await cluster().node("a");
    const x = a.resource("counters", "x");
    await x.fill([["b", 2], ["a:2", "z"], ["a:1", { deep: true }], ["c", null], ["é", 1]]);
    expect(await x.listed({})).toEqual([["a:1", { deep: true }], ["a:2", "z"], ["b", 2], [
      "c",
      null,
    ], ["é", 1]]);
    expect(await x.listed({ prefix: "a:" })).toEqual([["a:1", { deep: true }], ["a:2", "z"]]);
    expect(await x.listed({ prefix: "é" })).toEqual([["é", 1]]);
    expect(await x.listed({ start: "a:2", end: "c", reverse: true })).toEqual([["b", 2], [
      "a:2",
      "z",
    ]]);
    expect(await x.listed({ limit: 1 })).toEqual([["a:1", { deep: true }]]);
    expect(await x.listedAfter([["a:3", 3], ["b", 20]], ["a:1"], { limit: 3 })).toEqual([
      ["a:2", "z"],
      ["a:3", 3],
      ["b", 20],
    ]);
    await expect(x.listed({ limit: 0 })).rejects.toEqual(fails("bad_request"));
  });

  it("fails with `app` if onStart throws, and the next call starts the resource again", async () => {
    const a = await cluster().node("a");
    for (let i = 0; i < 2; i++) {
      await expect(a.resource("counters", "unstartable").total()).rejects.toMatchObject({
        code: "app",
        message: "it won't start",
      });
    }
    expect((await a.lookup("counters", "unstartable")).verdict).toBe("unowned");
  });
});

describe("deadlines", () => {
  it("a call that is abandoned in the mailbox never starts, and a running one sees its signal abort", async () => {
    const clock = fakeClock();
    const made = cluster(undefined, clock);
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.call("counters", "x", "echo", [0]);
    for (const node of [a, b]) {
      const name = `gate ${node.node}`;
      const running = node.resource("counters", "x", { timeoutMs: 150 }).wait(name);
      await until(() => log.includes(`waiting ${name}`), "the first call waits");
      const queued = node.resource("counters", "x", { timeoutMs: 60 }).add(100);
      await expect(clock.run(queued)).rejects.toEqual(fails("timeout"));
      await expect(clock.run(running)).rejects.toEqual(fails("timeout", true));
      await until(() => log.includes(`aborted ${name}`), "the first call is aborted");
    }
    expect(await a.resource("counters", "x").total()).toBe(0);
  });

  it("a call ends when its caller's signal aborts", async () => {
    const a = await cluster().node("a");
    const controller = new AbortController();
    const running = a.resource("counters", "x", { signal: controller.signal }).wait("g");
    await until(() => log.includes("waiting g"), "the call waits");
    controller.abort();
    await expect(running).rejects.toEqual(fails("timeout"));
    const late = a.resource("counters", "x", { signal: controller.signal }).echo(1);
    await expect(late).rejects.toEqual(fails("timeout", false));
  });

  it("a full mailbox refuses with `overloaded`, and serves again later", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await a.call("narrow", "x", "echo", [0]);
    const running = a.resource("narrow", "x").wait("full");
    await until(() => log.includes("waiting full"), "the call waits");
    const queued = [a.resource("narrow", "x").add(1), b.resource("narrow", "x").add(1)];
    await until(() => a.stats().queued === 2, "two are queued");
    await expect(b.resource("narrow", "x").add(1)).rejects.toEqual(fails("overloaded", false));
    await expect(a.resource("narrow", "x").add(1)).rejects.toEqual(fails("overloaded", false));
    Gate.of("full").open();
    await Promise.all([running, ...queued]);
    expect(await a.resource("narrow", "x").total()).toBe(2);
  });

  it("waiting calls are counted until they run or are refused", async () => {
    const clock = fakeClock();
    const made = cluster(undefined, clock);
    const [a, b] = [await made.node("a"), await made.node("b")];
    const name = crypto.randomUUID();
    const running = a.resource("counters", name).wait(name);
    await until(() => log.includes(`waiting ${name}`), "the turn runs");
    const waiting = [a, a, b].map((node) => node.resource("counters", name).echo(1));
    await until(() => a.stats().queued === 3, "three wait");
    expect(b.stats().queued).toBe(0);
    Gate.of(name).open();
    await Promise.all([running, ...waiting]);
    expect(a.stats().queued).toBe(0);
    const hung = a.resource("impatient", name);
    const given = [hung.hang(), hung.echo(1), hung.echo(2)];
    await until(() => a.stats().queued === 2, "two wait");
    await clock.run(Promise.allSettled(given));
    expect(a.stats().queued).toBe(0);
  });

  it("a hanging turn is ended, and the key is served under a higher epoch", async () => {
    const clock = fakeClock();
    const a = await cluster(undefined, clock).node("a");
    const stub = a.resource("impatient", "x");
    const first = await stub.add(1);
    const hung = stub.hang();
    const behind = stub.add(1);
    await expect(clock.run(hung)).rejects.toEqual(fails("timeout", true));
    expect((await clock.run(behind)).total).toBe(2);
    expect((await behind).epoch).toBeGreaterThan(first.epoch);
  });
});

it("a loop of calls without I/O does not starve the node's heartbeats", async () => {
  const a = await cluster().node("a");
  const { incarnation } = a;
  const stub = a.resource("counters", "x");
  let timers = 0;
  const timer = setInterval(() => timers++, 1);
  for (let i = 0; i < 100_000; i++) await stub.echo(i);
  clearInterval(timer);
  expect(timers).toBeGreaterThan(2);
  expect(a.incarnation).toBe(incarnation);
});

describe("call chains", () => {
  it("a chain that returns to a busy resource fails at once", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await b.call("counters", "y", "echo", [0]);
    const call = a.resource("counters", "x").via(["counters/y", "counters/x"], 1);
    await expect(call).rejects.toMatchObject({
      code: "reentrant_call",
      message: expect.stringContaining("counters/x → counters/y → counters/x"),
    });
    expect(await a.resource("counters", "x").total()).toBe(0);
  });

  it("a chain may re-enter a type that allows it, in the same transaction", async () => {
    const made = cluster();
    const [a, b] = [await made.node("a"), await made.node("b")];
    await b.call("counters", "y", "echo", [0]);
    expect(await a.resource("open", "x").via(["counters/y", "open/x"], 5)).toBe(5);
    expect(await b.resource("open", "x").total()).toBe(5);
  });

  it("a call inside a turn has no more time than the turn's caller", async () => {
    const clock = fakeClock();
    const a = await cluster(undefined, clock).node("a");
    const started = a.resource("counters", "y").wait("inner");
    await until(() => log.includes("waiting inner"), "the inner one is busy");
    const call = a.resource("counters", "x", { timeoutMs: 80 }).via(["counters/y"], 1);
    await until(() => a.stats().queued === 1, "its own call waits");
    await expect(clock.run(call)).rejects.toEqual(fails("timeout"));
    Gate.of("inner").open();
    await started;
    await until(() => a.stats().inFlight === 0, "nothing is in flight");
    expect(await a.resource("counters", "y").total()).toBe(0);
  });
});

it("a stub can be awaited and logged without a call", async () => {
  const a = await cluster().node("a");
  const stub = a.resource("counters", "x");
  expect(await stub).toBe(stub);
  expect(String(Object.keys(stub))).toBe("");
  expect((stub as unknown as Record<string, unknown>)["constructor"]).toBeUndefined();
  expect(a.stats().calls).toBe(0);
  expect(Counter.name).toBe("Counter");
});
