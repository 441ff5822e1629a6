/** Each rule of the market: an entry that breaks it is reported, one that keeps it is not. */
import { expect, test } from "vitest";
import type { ListenerStats, PlbStats } from "../../mod.ts";
import { makeMarketPlan } from "../../sim/draw/draw_market.ts";
import { MARKET_CHECKERS } from "../../sim/market/checkers/all.ts";
import {
  type MarketCheckContext,
  MarketHistory,
  type MarketObserver,
  type ModuleCallRecord,
  type ProcessSample,
  type Publication,
  type Run,
} from "../../sim/market/history.ts";
import type { SentMessage } from "../../sim/market/message_faults.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";

/** The violations that one rule reports while `deed` runs. */
function violationsOf(
  name: string,
  deed: (it: Required<MarketObserver>) => void,
  market = makeMarketPlan(1).market,
): string[] {
  const reports: string[] = [];
  const checker = MARKET_CHECKERS.find((it) => it.name === name);
  const process = { id: "node-1#2", heldMs: 0, runs: 0 };
  const world = {
    scheduler: { now: 5_000 },
    nodes: () => [{ process }],
    network: { lives: new Map([["inc-2", "node-1#2"]]) },
  };
  const context = { plan: { market }, ledger: new MarketHistory(), world: () => world };
  const observer = checker?.watch(
    context as unknown as MarketCheckContext,
    (what) => reports.push(what),
  );
  deed(observer as Required<MarketObserver>);
  return reports;
}

const publication = (more: Partial<Publication> = {}): Publication => ({
  id: 0,
  process: "node-1#2",
  module: "goods-0",
  capacity: 2,
  listener: () => ({ stats: () => listenerStats() }) as never,
  running: 1,
  isClosed: false,
  ...more,
});

const run = (more: Partial<Run> = {}): Run => ({
  call: 0,
  publication: publication(),
  version: "1.0.0",
  hash: "aa",
  beganAt: 1_000,
  endedAt: 1_010,
  ...more,
});

const call = (more: Partial<ModuleCallRecord> = {}): ModuleCallRecord => ({
  id: 0,
  process: "node-1#2",
  module: "goods-0",
  name: "work",
  behavior: "return",
  timeoutMs: 1_000,
  noWait: false,
  isProbe: false,
  invokedAt: 1_000,
  heldMs: 0,
  givenUpAt: Infinity,
  returnedAt: 1_020,
  outcome: "ok",
  code: null,
  message: "",
  node: "node-1",
  version: "1.0.0",
  result: [0, "1.0.0", "aa"],
  runs: [run()],
  ...more,
});

const channel = {
  channel: "channel.1",
  buyer: "inc-1",
  version: "1.0.0",
  hash: "aa",
  grant: 2,
  issued: 5,
  used: 3,
  outstanding: 1,
  revoked: 1,
  running: 1,
};

const listenerStats = (more: Partial<ListenerStats> = {}): ListenerStats => ({
  module: "goods-0",
  version: "1.0.0",
  hash: "aa",
  capacity: 2,
  granted: 2,
  free: 0,
  running: 1,
  codes: [{ version: "1.0.0", hash: "aa" }],
  orders: [],
  channels: [channel],
  ...more,
});

const stats = {
  moduleRunning: 1,
  moduleWaiting: 0,
  creditsGranted: 2,
  creditsOutstanding: 1,
  creditsIssued: 5,
  creditsUsed: 3,
  creditsRevoked: 1,
};

const view = {
  channel: "channel.1",
  region: "east",
  node: "node-1",
  incarnation: "inc-2",
  version: "1.0.0",
  grant: 2,
  allowed: 4,
  used: 3,
  running: 1,
  rttMs: 1,
  draining: false,
};

function sample(
  listeners: ListenerStats[],
  channels: object[] = [],
  more: object = {},
): ProcessSample {
  return {
    sim: { process: { id: "node-1#2" } },
    listeners: listeners.map((stats) => ({ stats, publication: undefined })),
    buyers: [{ channels }] as unknown as PlbStats[],
    marketStats: () => ({ ...stats, ...more }),
  } as unknown as ProcessSample;
}

test("capacity: no more functions run than the capacity", () => {
  const began = (running: number) =>
    violationsOf(
      "capacity",
      (it) => it.began(run({ publication: publication({ running }) }), call()),
    );
  expect(began(2)).toEqual([]);
  expect(began(3)).toEqual([
    "call 0 is number 3 to run at node-1#2, which sells 2 of goods-0",
  ]);
});

test("grants: a listener's counts balance", () => {
  const of = (more: Partial<ListenerStats>, marketStats: object = {}) =>
    violationsOf("grants", (it) => {
      for (let n = 0; n < 8; n++) it.sampled(sample([listenerStats(more)], [], marketStats));
    })[0] ?? "";
  expect(of({})).toBe("");
  expect(of({ granted: 3, free: -1 })).toContain("3 of 2 are granted");
  expect(of({ free: 1 })).toContain("2 granted and 1 free are not 2");
  expect(of({ channels: [{ ...channel, issued: 6 }] })).toContain("issued 6, which is not 3 used");
  expect(of({ channels: [{ ...channel, running: 2 }] })).toContain("1 credits out and 2 running");
  expect(of({ channels: [channel, { ...channel, channel: "b" }] })).toContain("channels hold 4");
  expect(of({ channels: [{ ...channel, revoked: -1 }] })).toContain("is below 0");
  expect(of({}, { creditsIssued: 6 })).toContain("6 credits are not 3 + 1 + 1");
  expect(of({}, { creditsGranted: 1 })).toContain("1 are said to be granted, and 2 are");
  expect(of({}, { moduleRunning: 0 })).toContain("0 requests are said to run, and 1 do");
});

test("credit: both ends of a channel agree", () => {
  const of = (buyer: object, seller: object = {}) =>
    violationsOf(
      "credit",
      (it) =>
        it.sampled(
          sample([listenerStats({ channels: [{ ...channel, ...seller }] })], [{
            ...view,
            ...buyer,
          }]),
        ),
    );
  expect(of({})).toEqual([]);
  expect(of({ used: 5 })).toEqual(["channel.1 of node-1#2: 5 sent, of 4 allowed"]);
  expect(of({ allowed: 6 })).toEqual(["channel.1 of node-1#2: 6 allowed, of 5 issued"]);
  expect(of({}, { used: 4 })).toEqual(["channel.1 of node-1#2: 4 taken, of 3 sent"]);
});

test("calls: each returns once, in time, with a correct answer", () => {
  const of = (more: Partial<ModuleCallRecord>) => {
    const it = call(more);
    const rule = (observer: Required<MarketObserver>) => {
      observer.moduleCalled(it);
      observer.moduleReturned(it);
    };
    return violationsOf("calls", rule).join("; ");
  };
  expect(of({})).toBe("");
  expect(of({ returnedAt: 2_100 })).toContain("after its deadline");
  expect(of({ givenUpAt: 980 })).toContain("long after it was given up");
  expect(of({ runs: [] })).toContain("ran 0 times");
  expect(of({ runs: [run(), run()] })).toContain("ran 2 times");
  expect(of({ runs: [run({ endedAt: Infinity })] })).toContain("was answered while it ran");
  expect(of({ result: [1, "1.0.0", "aa"] })).toContain("got the answer of call 1");
  expect(of({ version: "1.1.0" })).toContain("was said to have on 1.1.0");
  expect(of({ node: "node-2" })).toContain("was said to have at node-2");
  expect(of({ outcome: "fail", code: "timeout" })).toContain("was said not to have (timeout)");
  expect(of({ outcome: "info", code: "app" })).toContain("threw, by");
  expect(of({ outcome: "fail", code: "bad_request", runs: [] })).toContain(
    "failed with bad_request",
  );
  expect(of({ outcome: "fail", code: "overloaded", runs: [] })).toContain("was refused");
  expect(
    violationsOf("calls", (it) => {
      const lost = call({ returnedAt: Infinity, runs: [] });
      it.moduleCalled(lost);
      it.finished();
    })[0],
  ).toContain("never came back");
  expect(violationsOf("calls", (it) => it.began(run(), call({ runs: [run(), run()] })))[0])
    .toContain("runs 2 times");
  expect(violationsOf("calls", (it) => it.began(run(), call({ outcome: "fail" })))[0])
    .toContain("though it was said not to");
});

test("hot code: old code is dropped after its last call, and once", () => {
  const drop = (it: Required<MarketObserver>) =>
    it.eventLogged("node-1#2", {
      level: "info",
      event: "old code dropped",
      fields: { version: "1.0.0", hash: "aa" },
    }, 0);
  expect(violationsOf("hot code", drop)).toEqual([]);
  expect(violationsOf("hot code", (it) => {
    it.began(run(), call());
    drop(it);
  })).toEqual(["node-1#2 dropped 1.0.0 (aa), on which call 0 runs"]);
  expect(violationsOf("hot code", (it) => {
    drop(it);
    drop(it);
  })).toEqual(["node-1#2 dropped 1.0.0 (aa) twice"]);
  expect(violationsOf("hot code", (it) => {
    drop(it);
    it.began(run(), call());
  })).toEqual(["call 0 runs at node-1#2 on 1.0.0, which was dropped"]);
  const ran = (it: Required<MarketObserver>, hash: string) => {
    const old = run({ hash });
    it.began(old, call());
    it.ended(old, call());
  };
  expect(violationsOf("hot code", (it) => {
    ran(it, "bb");
    it.finished();
  })).toEqual(["node-1#2 never dropped bb"]);
  expect(violationsOf("hot code", (it) => {
    ran(it, "aa");
    drop(it);
    it.finished();
  })).toEqual(["node-1#2 dropped aa, and uses it"]);
});

test("books: no exchange holds more than an order's quantity", () => {
  const of = (held: number) =>
    violationsOf("books", (it) => {
      const order = { side: "sell", id: 1, quantity: 2, held, incarnation: "inc-1" };
      it.orderBooksRead(
        { process: { id: "node-1#2" } } as never,
        [{ node: "n", orders: [order] }] as never,
      );
    });
  expect(of(2)).toEqual([]);
  expect(of(3)[0]).toContain("3 held of sell order 1 of inc-1, which is about 2");
});

test("calm: without faults no call fails", () => {
  const failed = call({ outcome: "fail", code: "timeout" });
  const market = makeMarketPlan(1).market;
  const of = (isCalm: boolean) =>
    violationsOf("calm", (it) => it.moduleReturned?.(failed), market && { ...market, isCalm });
  expect(of(false)).toEqual([]);
  expect(of(true)).toEqual(["call 0 failed with timeout: "]);
});

test("rest: too many messages or events in 1 ms are reported", () => {
  expect(violationsOf("rest", (it) => {
    for (let at = 0; at < 6_000; at++) it.stepped(at);
  })).toEqual([]);
  expect(violationsOf("rest", (it) => {
    for (let n = 0; n < 6_000; n++) it.stepped(7 + n / 1e6);
  })).toHaveLength(1);
});

/** A message from one process to another. */
function heard(from: string, to: string, letter: object): SentMessage {
  return { process: "node-1#2", from, to, link: 1, message: letter as BusMessage };
}

const order = {
  id: 1,
  revision: 1,
  side: "buy",
  module: "goods-0",
  quantity: 2,
  nearby: 0,
  newer: 0,
  range: null,
  trader: "a/plb.1",
};
const match = { kind: "match", id: 1, revision: 1, seller: "c/listener.1", quantity: 2 };
const open = { kind: "open", nonce: 9, want: 2, replaces: null };

/** The violations that are reported for some messages, in their order. */
function read(...messages: readonly SentMessage[]): string {
  const market = makeMarketPlan(1).market;
  const roles = ["authority", "worker"] as const;
  return violationsOf(
    "messages",
    (it) => messages.forEach((letter) => it.messageSent(letter)),
    market && {
      ...market,
      roles,
    },
  ).join("; ");
}

test("messages: matches and grants exceed no order", () => {
  const ordered = heard("a/broker", "b/exchange.1", { kind: "order", order });
  const again = heard("a/broker", "d/exchange.2", { kind: "order", order });
  const matched = heard("b/exchange.1", "a/broker", { ...match, version: "1.0.0" });
  const found = heard("d/exchange.2", "a/broker", { ...match, version: "1.0.0" });
  const opened = heard("a/plb.1", "c/listener.1", open);
  expect(read(ordered, again, matched, found, opened)).toBe("");
  expect(read(matched)).toContain("which it never got");
  expect(
    read(ordered, heard("b/exchange.1", "a/broker", { ...match, quantity: 3, version: "1.0.0" })),
  )
    .toContain("found 3 for an order of 2");
  expect(read(ordered, heard("b/exchange.1", "a/broker", { ...match, version: "1.0.0-a" })))
    .toContain("found 1.0.0-a for an order of the newest");
  expect(read(ordered, again, matched, found, opened, opened))
    .toContain("asks c/listener.1 for 4, where no exchange found more than 2");
  const accept = (grant: number) =>
    heard("c/listener.1", "a/plb.1", { kind: "accept", nonce: 9, grant });
  expect(read(ordered, matched, opened, accept(2))).toBe("");
  expect(read(ordered, matched, opened, accept(3))).toContain("asked for 2, and is granted 3");
});

test("messages: no request exceeds its credit, and none is answered twice", () => {
  const credit = heard("c/channel.1", "a/plb.1", { kind: "credit", allowed: 1 });
  const request = (id: number) => heard("a/plb.1", "c/channel.1", { kind: "request", id });
  const reply = heard("c/channel.1", "a/plb.1", { kind: "reply", id: 1, allowed: 2 });
  expect(read(credit, request(1), reply, request(2))).toBe("");
  expect(read(credit, request(1), request(2))).toContain("which allows 1");
  expect(read(credit, request(1), reply, reply)).toContain("answers request 1 twice");
  expect(read(credit, reply)).toContain("answers request 1 of 0");
  const lower = heard("a/plb.1", "c/channel.1", { kind: "lower", grant: 1, returned: 1 });
  expect(read(credit, lower)).toBe("");
  expect(read(credit, lower, request(1))).toContain("which allows 0");
  expect(read(credit, request(1), lower)).toContain("are given back that aren't there");
});

test("mesh: workers send each other no orders, but may ask for authorities", () => {
  const market = makeMarketPlan(1).market;
  const of = (kind: string, roles: readonly ("authority" | "worker")[]) =>
    violationsOf(
      "mesh",
      (it) => it.messageSent(heard("inc-1/broker", "inc-2/broker", { kind })),
      market && { ...market, roles },
    );
  expect(of("join", ["authority", "authority"])).toEqual([]);
  expect(of("join", ["authority", "worker"])).toEqual([
    "worker node-1#2 sends join to worker node-1#2",
  ]);
  expect(of("find_authorities", ["authority", "worker"])).toEqual([]);
});

test("processes: none throws, unless a mutant makes it throw", () => {
  const failed = (reason: string) =>
    violationsOf("processes", (it) =>
      it.eventLogged("node-1#2", {
        level: "warning",
        event: "process failed",
        fields: { process: "broker", reason },
      }, 0));
  expect(failed("x is undefined")).toEqual(["broker at node-1#2 failed: x is undefined"]);
  expect(failed("thrown on purpose")).toEqual([]);
});

test("every checker is tested here", () => {
  expect(MARKET_CHECKERS.map(({ name }) => name).sort()).toEqual(
    [
      "books",
      "calls",
      "calm",
      "capacity",
      "credit",
      "grants",
      "hot code",
      "mesh",
      "messages",
      "processes",
      "rest",
    ],
  );
});
