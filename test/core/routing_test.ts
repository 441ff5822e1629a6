/**
 * Covers src/routing/router.ts, src/routing/locator.ts and src/routing/relayed_call.ts: calls
 * between regions, their homes, gateways and deadlines.
 */
import { describe, expect, it } from "vitest";
import { memoryStore } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { Gate, log, until, untilBy } from "./cluster.ts";
import { Regions } from "./regions.ts";

const fails = (code: string, message: RegExp, maybeExecuted = false) =>
  expect.objectContaining({ code, message: expect.stringMatching(message), maybeExecuted });

describe("a key whose home is another region", () => {
  it("is claimed only there: a first call takes one registry step in the home region and one request over a link", async () => {
    const made = new Regions();
    const [us, eu] = [await made.node("us/a"), await made.node("eu/b")];
    await eu.call("counters", "eu~x", "add", [1]);
    // The nodes are linked first, so that only the calls are counted.
    await us.call("counters", "eu~other", "echo", [0]);
    made.resetCounts();
    const cold = await us.call("counters", "eu~x", "add", [1]);
    expect(cold).toMatchObject({ result: { total: 2 }, path: ["us/a", "eu/b"] });
    expect(cold.rrp).toBe("rrp:eu/b/counters/eu~x");
    expect(made.keyCalls("us/a")).toEqual(["eu lookup"]);
    expect(made.requests()).toEqual(["us/a>eu/b request"]);
    made.resetCounts();
    await us.call("counters", "eu~x", "add", [1]);
    expect(made.keyCalls("us/a")).toEqual([]);
    expect(made.requests()).toEqual(["us/a>eu/b request"]);
    expect(us.stats().claims).toBe(0);
  });

  it("is claimed by a node there at the request of a caller elsewhere", async () => {
    const made = new Regions();
    const us = await made.node("us/a");
    await made.node("eu/b");
    const answers = await Promise.all(
      [1, 2, 3].map(() => us.call("counters", "eu~new", "add", [1])),
    );
    expect(answers.map(({ result }) => (result as { total: number }).total)).toEqual([1, 2, 3]);
    expect(answers[0]?.rrp).toBe("rrp:eu/b/counters/eu~new");
    expect(made.keyCalls("us/a")).toEqual(["eu lookup"]);
  });

  it("can't be called, and is claimed nowhere else, while its region is away", async () => {
    const clock = fakeClock();
    const made = new Regions({ clock });
    const us = await made.node("us/a");
    await made.node("eu/b");
    made.setLink("us/a", "eu/b", false);
    const echo = () => clock.run(us.call("counters", "eu~x", "echo", [1], { timeoutMs: 300 }));
    await expect(echo()).rejects.toEqual(fails("timeout", /no node of region eu can be reached/));
    expect(us.stats().claims).toBe(0);
    made.setLink("us/a", "eu/b", true);
    await untilBy(clock, () => echo().then(() => true, () => false), "the region is back");
  });

  it("times out with the name of the node it waited for", async () => {
    const clock = fakeClock();
    const made = new Regions();
    const mute = Object.assign(memoryStore(), {
      homeOf: () => "eu",
      lookup: () => new Promise<never>(() => {}),
    });
    // Only this node's clock advances, so it notices the deadline first.
    const us = await made.node("us/a", { clock });
    const deaf = await made.node("us/deaf", { clock, store: mute });
    await made.node("eu/b");
    const asked = deaf.call("counters", "eu~x", "echo", [1], { timeoutMs: 50 });
    await expect(clock.run(asked)).rejects.toEqual(
      fails("timeout", /passed, and its home, region eu, did/),
    );
    await us.call("counters", "eu~x", "echo", [1]);
    const sent = us.call("counters", "eu~x", "wait", ["long"], { timeoutMs: 200 });
    await expect(clock.run(sent)).rejects.toEqual(
      fails("timeout", /passed, and eu\/b did not answer/, true),
    );
  });

  it("times out with the reason of the wait if another node notices the deadline", async () => {
    const clock = fakeClock();
    const made = new Regions({ clock });
    // That node believes that the key's home is a third region, which has no nodes.
    made.homeOf = (_key, asking) => asking === "us" ? "eu" : "ap";
    const us = await made.node("us/a");
    await made.node("eu/b");
    made.setLink("us/a", "eu/b", false);
    const call = us.call("counters", "x", "echo", [1], { timeoutMs: 2_000 });
    await untilBy(clock, () => made.keyCalls("us/a").length > 1, "the call was tried in vain");
    made.setLink("us/a", "eu/b", true);
    await expect(clock.run(call)).rejects.toEqual(
      fails("timeout", /no node of region ap .*; before that: no node of region eu can be reached/),
    );
  });

  it("is refused if no node there knows the type", async () => {
    const made = new Regions();
    const us = await made.node("us/a");
    await made.node("eu/b");
    await expect(us.call("nothings", "eu~x", "echo", [1])).rejects.toEqual(
      fails("not_found", /no node runs resources of type nothings/),
    );
  });

  it("is not watched by other regions, and neither is its owner's heartbeat", async () => {
    const clock = fakeClock();
    const made = new Regions();
    await made.node("eu/b");
    const us = await made.node("us/a", { clock, lease: { heartbeatMs: 20, leaseMs: 200 } });
    await us.call("counters", "eu~x", "echo", [0]);
    made.resetCounts();
    const count = (method: string) =>
      made.storeCalls.filter((call) => call.node === "us/a" && call.method === method).length;
    // Longer than a takeover takes, without a heartbeat of the other node.
    await clock.advance(700);
    expect(count("renew")).toBeGreaterThan(30);
    expect(count("kill")).toBe(0);
    expect((await us.call("counters", "eu~x", "echo", [1])).rrp).toBe("rrp:eu/b/counters/eu~x");
  });

  it("is refused by a node elsewhere that is asked to own it", async () => {
    const clock = fakeClock();
    const made = new Regions({ clock });
    made.homeOf = (_key, asking) => asking === "us" ? "eu" : "ap";
    const us = await made.node("us/a");
    await made.node("eu/b");
    const call = us.call("counters", "x", "echo", [1], { timeoutMs: 300 });
    await expect(clock.run(call)).rejects.toMatchObject({ code: "timeout" });
  });
});

describe("gateways", () => {
  async function divided(options = {}) {
    const made = new Regions();
    const [g, h, owner] = [
      await made.node("eu/g"),
      await made.node("eu/h"),
      await made.node("eu/owner"),
    ];
    const gateways = { eu: [made.address("eu/g"), made.address("eu/h")] };
    const us = await made.node("us/a", { gateways, ...options });
    made.setLink("us/a", "eu/owner", false);
    await owner.call("counters", "eu~x", "add", [1]);
    return { made, us, g, h, owner };
  }

  it.each([true, false])(
    "forward calls, whether the members of the owner's region are seen or not: %s",
    async (seen) => {
      const { made, us } = await divided();
      made.seen = seen;
      const answer = await us.call("counters", "eu~x", "add", [1]);
      expect(answer).toMatchObject({ result: { total: 2 }, rrp: "rrp:eu/owner/counters/eu~x" });
      expect(answer.path).toEqual(["us/a", expect.stringMatching(/^eu\/[gh]$/), "eu/owner"]);
      made.resetCounts();
      await us.call("counters", "eu~x", "add", [1]);
      expect(made.keyCalls("us/a")).toEqual([]);
      expect(made.requests()).toHaveLength(2);
    },
  );

  it("suffice for an unknown owner, also if the members of its region are not seen", async () => {
    const made = new Regions();
    made.seen = false;
    await made.node("eu/g");
    const us = await made.node("us/a", { gateways: { eu: [made.address("eu/g")] } });
    const answer = await us.call("counters", "eu~fresh", "add", [1]);
    expect(answer).toMatchObject({ rrp: "rrp:eu/g/counters/eu~fresh", path: ["us/a", "eu/g"] });
  });

  it("replace each other; a call running over a broken one may have executed", async () => {
    const { made, us, g, h } = await divided();
    await us.call("counters", "eu~x", "echo", [1]);
    const waiting = us.call("counters", "eu~x", "wait", ["door"]);
    await until(() => log.includes("waiting door"), "the call runs");
    const first = made.lastTarget("us/a");
    const [present, other] = first === "eu/g" ? [g, "eu/h"] : [h, "eu/g"];
    made.setLink("us/a", first, false);
    const [lost] = await Promise.allSettled([waiting, present.close({ drainMs: 0 })]);
    expect(lost).toMatchObject({ reason: { code: "unavailable", maybeExecuted: true } });
    Gate.of("door").open();
    const answer = await us.call("counters", "eu~x", "add", [1]);
    expect(answer.path).toEqual(["us/a", other, "eu/owner"]);
  });

  it("that drain let running calls finish, and get no more", async () => {
    const { made, us, g, h } = await divided();
    await us.call("counters", "eu~x", "echo", [1]);
    const waiting = us.call("counters", "eu~x", "wait", ["drain"]);
    await until(() => log.includes("waiting drain"), "the call runs");
    const first = made.lastTarget("us/a");
    await (first === "eu/g" ? g : h).drain();
    const path = async () => (await us.call("counters", "eu~other", "echo", [2])).path;
    await until(async () => !(await path()).includes(first), "the other gateway is taken");
    Gate.of("drain").open();
    expect((await waiting).path).toEqual(["us/a", first, "eu/owner"]);
  });

  it("are used until the owner has dialled the caller, if the caller can't dial it", async () => {
    const { us, owner } = await divided();
    expect((await us.call("counters", "eu~x", "echo", [1])).path).toHaveLength(3);
    await us.call("counters", "us~y", "echo", [1]);
    // The owner dials the caller: its link serves both directions.
    await owner.call("counters", "us~y", "echo", [1]);
    expect((await us.call("counters", "eu~x", "echo", [1])).path).toEqual(["us/a", "eu/owner"]);
  });

  it("are replaced by a direct link only once the calls through them have arrived", async () => {
    const { made, us, owner } = await divided();
    await us.call("counters", "eu~x", "echo", [1]);
    await us.call("counters", "us~y", "echo", [1]);
    const waiting = us.call("counters", "eu~x", "wait", ["column"]);
    await until(() => log.includes("waiting column"), "it runs");
    await owner.call("counters", "us~y", "echo", [1]);
    made.resetCounts();
    const next = [1, 2, 3].map((n) => us.call("counters", "eu~x", "add", [n]));
    expect(made.requests()).toEqual([]);
    Gate.of("column").open();
    expect((await waiting).path).toHaveLength(3);
    const answers = await Promise.all(next);
    expect(answers.map(({ result }) => (result as { total: number }).total)).toEqual([2, 4, 7]);
    expect(answers.map(({ path }) => path.length)).toEqual([2, 2, 2]);
  });

  it("are named in errors with the reason of each failure", async () => {
    const clock = fakeClock();
    const { made, us } = await divided({ clock });
    made.setLink("us/a", "eu/g", false);
    made.setLink("us/a", "eu/h", false);
    const call = us.call("counters", "eu~x", "echo", [1], { timeoutMs: 200 });
    await expect(clock.run(call)).rejects.toEqual(
      fails("timeout", /no gateway of region eu can be reached \(the link is closed\)/),
    );
  });

  it("of the wrong region are not used", async () => {
    const clock = fakeClock();
    const made = new Regions({ clock });
    const us = await made.node("us/b");
    const a = await made.node("us/a", { gateways: { eu: [made.address("us/b")] } });
    const call = a.call("counters", "eu~x", "echo", [1], { timeoutMs: 200 });
    await expect(clock.run(call)).rejects.toEqual(fails("timeout", /a node of region us answers/));
    expect(us.stats().relays).toBe(0);
  });

  it.each([
    [{ "bad region": ["x"] }, "invalid_rrp"],
    [{ eu: [] }, "bad_request"],
    [{ eu: [""] }, "bad_request"],
    [{ eu: "https://x" }, "bad_request"],
    [{ eu: Array.from({ length: 17 }, (_, i) => `https://${i}`) }, "bad_request"],
  ])("given as %j are refused", async (gateways, code) => {
    const node = new Regions().node("us/a", { gateways: gateways as never });
    await expect(node).rejects.toMatchObject({ code });
  });
});

describe("a forwarded call", () => {
  async function chained(options = {}) {
    const made = new Regions();
    const owner = await made.node("eu/owner");
    await owner.call("counters", "eu~x", "add", [1]);
    const g = await made.node("eu/g");
    const us = await made.node("us/a", { gateways: { eu: [made.address("eu/g")] }, ...options });
    made.setLink("us/a", "eu/owner", false);
    return { made, us, g, owner };
  }

  it("keeps its deadline, and never starts if its caller no longer waits", async () => {
    // The other nodes would time out as well, but their clocks have hardly advanced.
    const clock = fakeClock();
    const { made, us, g, owner } = await chained({ clock });
    await owner.call("counters", "eu~behind", "echo", [1]);
    const blocking = us.call("counters", "eu~x", "wait", ["hall"]);
    await until(() => log.includes("waiting hall"), "the first runs");
    const late = us.call("counters", "eu~x", "wait", ["late"], { timeoutMs: 5_000 });
    await expect(clock.run(late)).rejects.toEqual(fails("timeout", /the deadline passed/, true));
    const abort = new AbortController();
    const given = us.call("counters", "eu~x", "wait", ["given"], { signal: abort.signal });
    abort.abort();
    await expect(given).rejects.toMatchObject({ code: "timeout" });
    const cancels = () => made.sent.filter((line) => line === "eu/g>eu/owner cancel").length;
    await until(() => cancels() === 2, "the gateway has told the owner");
    // This call comes after the cancels on the same link.
    await g.call("counters", "eu~behind", "echo", [1]);
    Gate.of("hall").open();
    await blocking;
    await us.call("counters", "eu~x", "echo", [1]);
    expect(log).not.toContain("waiting late");
    expect(log).not.toContain("waiting given");
  });

  it("is cancelled at the owner when its caller aborts it", async () => {
    const { us } = await chained();
    const abort = new AbortController();
    const call = us.call("counters", "eu~x", "wait", ["yard"], { signal: abort.signal });
    await until(() => log.includes("waiting yard"), "it runs");
    abort.abort();
    await expect(call).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
    await until(() => log.includes("aborted yard"), "its signal aborts");
  });

  it("runs once under its idempotency key", async () => {
    const { us } = await chained();
    const options = { idempotencyKey: "once" };
    const one = await us.call("counters", "eu~x", "add", [5], options);
    const two = await us.call("counters", "eu~x", "add", [5], options);
    expect(two.result).toEqual(one.result);
  });

  it("keeps its chain: one that returns to a busy resource fails at once", async () => {
    const { made, us } = await chained();
    made.homeOf = (key) => /\/([^~]+)~/.exec(key)?.[1] ?? null;
    await us.call("counters", "us~y", "echo", [1]);
    const call = us.call("counters", "us~y", "via", [["counters/eu~x", "counters/us~y"], 1]);
    await expect(call).rejects.toMatchObject({ code: "reentrant_call" });
  });

  it("keeps the order of one caller's calls", async () => {
    const { us } = await chained();
    const totals = await Promise.all(
      Array.from({ length: 100 }, () => us.resource("counters", "eu~x").add(1)),
    );
    expect(totals.map(({ total }) => total)).toEqual(Array.from({ length: 100 }, (_, i) => i + 2));
  });

  it("returns the owner's own refusals unchanged", async () => {
    const { us } = await chained();
    await expect(us.call("counters", "eu~x", "nope", [])).rejects.toEqual(
      fails("not_found", /counters has no method "nope"/),
    );
    await expect(us.call("counters", "eu~x", "refuse", ["unavailable"])).rejects.toEqual(
      fails("unavailable", /refused by the app/, true),
    );
  });

  it("carries every kind of value, which gateways don't decode", async () => {
    const { us } = await chained();
    const value = { bytes: new Uint8Array([1, 255]), date: new Date(1), map: new Map([[1, "a"]]) };
    expect((await us.call("counters", "eu~x", "echo", [value])).result).toEqual(value);
  });

  it("names its caller to the owner, and carries its trace with the last hop as parent", async () => {
    const { us, owner } = await chained();
    const traceparent = `00-${"a1".repeat(16)}-${"b2".repeat(8)}-01`;
    const hop = expect.stringMatching(/^00-(?:a1){16}-(?!(?:b2){8})[0-9a-f]{16}-01$/);
    const options = { traceparent, callerRegion: "sa" };
    expect((await us.call("counters", "eu~x", "who", [], options)).result).toEqual({
      caller: { region: "sa", node: "a" },
      traceparent: hop,
    });
    expect((await owner.call("counters", "eu~x", "who", [], options)).result).toEqual({
      caller: { region: "sa", node: "owner" },
      traceparent,
    });
    expect((await us.call("counters", "eu~x", "who", [])).result).toEqual({
      caller: { region: "us", node: "a" },
      traceparent: null,
    });
    expect((await owner.call("counters", "eu~x", "who", [])).result).toEqual({
      caller: { region: "eu", node: "owner" },
      traceparent: null,
    });
    const nested = await us.call("counters", "eu~y", "ask", ["counters", "us~z"], { traceparent });
    expect(nested.result).toMatchObject({ traceparent: hop, caller: { region: "eu" } });
    await expect(us.call("counters", "eu~x", "who", [], { traceparent: "00-zz" })).rejects
      .toMatchObject({ code: "bad_request" });
  });
});
