/**
 * Covers src/lambda/exchange/bootstrap.ts: how nodes find authorities, with and without a registry.
 */
import { expect, test } from "vitest";
import { type Bootstrap, memoryStore, type NodeEvent, type Peer } from "../../mod.ts";
import {
  Bootstrap as BootstrapProcess,
  KnownAuthorities,
  resolverOf,
} from "../../src/lambda/exchange/bootstrap.ts";
import { BOOTSTRAP_MS, BOOTSTRAP_SOON_MS, MAX_REMEMBERED, SEEK_MS } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";
import { calc, CallGate, market, until } from "./market.ts";

const address = (host: string, port: number): string => `${host}:${port}`;

/** Ways to name the node `a`, whose address is `in-process:1`. */
const WAYS: [string, () => Bootstrap][] = [
  ["a list of addresses", () => ({ static: ["in-process:99", "in-process:1"] })],
  ["a name that resolves to hosts", () => ({
    dns: "authorities.test",
    port: 1,
    resolve: async (name) => name === "authorities.test" ? ["in-process"] : [],
    address,
  })],
  ["a function", () => async () => ["in-process:1"]],
];

for (const [way, bootstrap] of WAYS) {
  test(`authorities mesh and brokers find them by ${way}`, async () => {
    const made = market();
    const a = await made.node("a", { role: "authority" });
    const apart = { bootstrap: bootstrap(), store: memoryStore() };
    const b = await made.node("b", { ...apart, role: "authority" });
    const c = await made.node("c", { ...apart, role: "worker" });
    expect(await b.members()).toHaveLength(2);
    const gate = new CallGate();
    a.publish(calc(gate), { capacity: 1 });
    const proxy = await c.discover("calc");
    expect(await proxy.pi(1)).toBe("3.1");
    await until(async () => (await c.authorities()).length === 2, "all are found from one");
    expect((await a.authorities()).map(({ node }) => node)).toEqual(["a", "b"]);
  });
}

test("a worker finds sellers on other workers without a registry", async () => {
  const made = market();
  await made.node("a", { role: "authority" });
  const apart = (): object => ({ bootstrap: { static: ["in-process:1"] }, store: memoryStore() });
  const [b, c] = [await made.node("b", apart()), await made.node("c", apart())];
  b.publish(calc(new CallGate()), { capacity: 1 });
  c.publish(calc(new CallGate()), { capacity: 2 });
  await until(async () => {
    const [seen] = await c.modules();
    return seen?.sellers.map(({ node }) => node).join() === "b,c";
  }, "both sellers are seen");
});

test("a bootstrap function that fails or names an absent node is called again", async () => {
  const made = market();
  let asked = 0;
  const bootstrap = async () => {
    if (++asked === 1) throw new Error("not yet");
    return ["in-process:2"];
  };
  const a = await made.node("a", { bootstrap, role: "worker", store: memoryStore() });
  await made.node("b", { role: "authority" });
  await until(async () => (await a.authorities()).length === 1, "the authority was found");
  expect(made.events.some(({ event }) => event === "bootstrap failed")).toBe(true);
});

test("an invalid result of a bootstrap function or DNS resolver is logged in one line", async () => {
  const { signal } = new AbortController();
  const list = "it must be a list of addresses, or of { region, node, incarnation, address }";
  const peer = { region: "r", node: "n", incarnation: "i", address: "" };
  for (
    const [answer, message] of [
      [null, `bootstrap answered null, ${list}`],
      ["x", `bootstrap answered "x", ${list}`],
      [["in-process:1", 1], `bootstrap answered a list with 1 in it, ${list}`],
      [[{ ...peer, address: 5 }], `bootstrap answered a list with {"region":"r"`],
      [[""], `bootstrap answered a list with "" in it, ${list}`],
    ] as const
  ) {
    const resolve = async () => answer as never;
    const logged = expect.objectContaining({
      code: "bad_request",
      message: expect.stringContaining(message),
    });
    await expect(resolverOf(resolve, () => [])(signal)).rejects.toEqual(logged);
    const named = resolverOf({ dns: "x.test", port: 1, resolve, address }, () => []);
    // Hosts are only strings.
    await expect(named(signal)).rejects.toMatchObject({ code: "bad_request" });
    const made = market();
    await made.node("a", { bootstrap: resolve, role: "authority" });
    await until(
      () => made.events.some(({ event }) => event === "bootstrap failed"),
      "it is logged",
    );
    const { fields } = made.events.find(({ event }) => event === "bootstrap failed") as NodeEvent;
    expect(fields["why"]).toContain(message);
  }
  expect(await resolverOf(async () => ["x", peer], () => [])(signal)).toEqual(["x", peer]);
});

test("a node that knew no authority is asked again soon, not only after BOOTSTRAP_MS", async () => {
  const clock = fakeClock();
  const contact = { region: "r", node: "here", incarnation: "here-1", address: "x://here" };
  const peer = { ...contact, node: "peer", incarnation: "peer-1", address: "x://peer" };
  const sent: string[] = [];
  const context = {
    address: "/bootstrap",
    self: () => contact,
    now: () => clock.now(),
    random: () => 0,
    send: (to: string, { kind }: { kind: string }) => void sent.push(`${kind} ${to}`),
    after: (ms: number, run: () => void) => clock.after(ms, run),
  };
  const seeks = (): number => sent.filter((line) => line.startsWith("find_authorities")).length;
  const process = new BootstrapProcess(async () => [peer.address], async () => peer.incarnation);
  process.begin(context as never);
  await clock.advance(1);
  expect(seeks()).toBe(1);
  process.receive({ kind: "topology", contact: peer, authorities: [], exchanges: [] });
  await clock.advance(3_000);
  expect(seeks()).toBeGreaterThan(2);
  process.receive({ kind: "topology", contact: peer, authorities: [peer], exchanges: [] });
  await clock.advance(BOOTSTRAP_MS);
  const before = seeks();
  await clock.advance(BOOTSTRAP_MS);
  expect(seeks() - before).toBe(1);
});

/** A bootstrap process with a fake context, whose list never changes. */
function bootstrapAlone(resolve: (signal: AbortSignal) => Promise<readonly string[]>) {
  const clock = fakeClock();
  const self = { region: "r", node: "here", incarnation: "here-1", address: "x://here" };
  const logged: string[] = [];
  const met: string[] = [];
  const context = {
    address: "/bootstrap",
    self: () => self,
    now: () => clock.now(),
    random: () => 0.5,
    send: () => {},
    after: (ms: number, run: () => void) => clock.after(ms, run),
    log: (_level: string, event: string) => void logged.push(event),
  };
  const process = new BootstrapProcess(resolve, (address) => {
    met.push(address);
    return Promise.reject(new Error("nobody answers"));
  });
  process.begin(context as never);
  const authority = (n: number) => ({
    ...self,
    node: `a${n}`,
    incarnation: `a${n}-1`,
    address: `x://a${n}`,
  });
  return { clock, process, logged, met, authority };
}

test("a list that never resolves is aborted, logged and resolved again", async () => {
  const asked: AbortSignal[] = [];
  const late: ((list: readonly string[]) => void)[] = [];
  const { clock, logged, met } = bootstrapAlone((signal) => {
    asked.push(signal);
    return new Promise((resolve) => late.push(resolve));
  });
  await clock.advance(BOOTSTRAP_MS - 1);
  expect([asked.length, logged]).toEqual([1, []]);
  await clock.advance(2 * BOOTSTRAP_SOON_MS);
  expect(asked.map(({ aborted }) => aborted)).toEqual([true, false]);
  expect(logged).toEqual(["bootstrap failed"]);
  // A late result still counts.
  late[0]?.(["x://late"]);
  await clock.advance(1);
  expect(met).toEqual(["x://late"]);
  await clock.advance(10 * BOOTSTRAP_MS);
  expect(asked.length).toBeGreaterThan(4);
});

test("lost authorities are dialled again with growing, bounded backoff", async () => {
  const { clock, process, met, authority } = bootstrapAlone(() => Promise.resolve([]));
  const news = (peer: Peer): void =>
    process.receive({ kind: "topology", contact: peer, authorities: [peer], exchanges: [] });
  news(authority(1));
  for (const n of [1, 2]) process.receive({ kind: "met", peer: authority(n) });
  await clock.advance(5 * BOOTSTRAP_MS);
  expect(met).toEqual([]);
  process.receive({ kind: "lost", peer: { ...authority(2), incarnation: "a2-0" } });
  process.receive({ kind: "lost", peer: authority(1) });
  process.receive({ kind: "search", now: false });
  await clock.advance(BOOTSTRAP_SOON_MS);
  expect(met).toEqual(["x://a1"]);
  await clock.advance(600_000);
  expect(met.length).toBeGreaterThan(8);
  expect(met.length).toBeLessThan(600_000 / SEEK_MS[1] + 10);
  expect(new Set(met)).toEqual(new Set(["x://a1"]));
  process.receive({ kind: "met", peer: { ...authority(1), incarnation: "a1-2" } });
  met.length = 0;
  await clock.advance(600_000);
  expect(met).toEqual([]);
});

test("at most MAX_REMEMBERED authorities are remembered", () => {
  const remembered = new KnownAuthorities();
  const peer = (n: number) => ({
    region: "r",
    node: "n",
    incarnation: `${n}`,
    address: `x://${n}`,
  });
  for (let n = 0; n < MAX_REMEMBERED; n++) remembered.met(peer(n));
  remembered.lost(peer(5), 100);
  remembered.lost(peer(6), 50);
  remembered.met(peer(MAX_REMEMBERED));
  expect(remembered.size).toBe(MAX_REMEMBERED);
  // The authority that was lost the longest was evicted.
  expect(remembered.due(100)).toEqual(["x://5"]);
});

test("a node whose bootstrap address died rejoins through any authority it has met", async () => {
  const made = market();
  const apart = () => ({ bootstrap: { static: ["in-process:1"] }, store: memoryStore() });
  await made.node("seed", { role: "authority" });
  const second = await made.node("second", { ...apart(), role: "authority" });
  const seller = await made.node("seller", { ...apart(), role: "worker" });
  const buyer = await made.node("buyer", { ...apart(), role: "worker" });
  const names = async (node: typeof buyer) =>
    (await node.authorities()).map((it) => it.node).join();
  for (const node of [second, seller, buyer]) {
    await until(
      async () => await names(node) === "second,seed" || await names(node) === "seed,second",
      "all know both",
    );
  }
  const gate = new CallGate();
  gate.open();
  seller.publish(calc(gate), { capacity: 2 });
  await (await buyer.discover("calc")).$plb.close();
  await made.kill("seed");
  await until(async () => await names(seller) === "second", "the seed is gone");
  // Every link of the seller breaks at once, as after a long pause of its process.
  made.cut("seller");
  await until(async () => await names(seller) === "second", "the seller found the other again");
  const proxy = await buyer.discover("calc");
  expect(await proxy.pi(1)).toBe("3.1");
});

test("invalid roles and bootstraps are rejected", async () => {
  const made = market();
  await expect(made.node("a", { role: "king" as never })).rejects.toMatchObject({
    code: "bad_request",
    message: "role is king, it must be authority or worker",
  });
  for (const bootstrap of [{}, { static: [] }, { dns: "x", port: 0 }, "redis", null]) {
    await expect(made.node("a", { bootstrap: bootstrap as never })).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringContaining("bootstrap must be"),
    });
  }
});
