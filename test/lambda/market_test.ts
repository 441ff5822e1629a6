/**
 * How orders are matched and calls are spread.
 *
 * Covers src/lambda/introspection.ts.
 */
import { expect, test } from "vitest";
import type { ExchangeView } from "../../mod.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

test("an order is filled by several sellers as they appear", async () => {
  const made = market();
  const nodes = [await made.node("a"), await made.node("b"), await made.node("c")];
  const buyer = await made.node("d");
  nodes[0]?.publish(calc(new CallGate()), { capacity: 2 });
  const proxy = await buyer.discover("calc", { capacity: 5 });
  expect(proxy.$plb.stats()).toMatchObject({ wanted: 5, granted: 2, tokens: 2 });
  nodes[1]?.publish(calc(new CallGate()), { capacity: 1 });
  await until(() => proxy.$plb.stats().granted === 3, "the second part is bought");
  nodes[2]?.publish(calc(new CallGate()), { capacity: 8 });
  await until(() => proxy.$plb.capacity() === 5, "all is bought");
  expect(nodes[2]?.listeners()[0]?.stats()).toMatchObject({ granted: 2, free: 6 });
});

test("several orders of one trader coexist", async () => {
  const made = market();
  const [a, b] = [await made.node("a"), await made.node("b")];
  a.publish(calc(new CallGate(), "1.0.0"), { capacity: 2 });
  a.publish(calc(new CallGate(), "2.0.0"), { capacity: 3 });
  const [one, two, newest] = await Promise.all([
    b.discover("calc", { version: "^1", capacity: 2 }),
    b.discover("calc", { version: "2.0.0", capacity: 2 }),
    b.discover("calc", { capacity: 1 }),
  ]);
  expect([one, two, newest].map((proxy) => proxy.$plb.stats().version)).toEqual([
    "1.0.0",
    "2.0.0",
    "2.0.0",
  ]);
  expect([one, two, newest].map((proxy) => proxy.$plb.capacity())).toEqual([2, 2, 1]);
});

test("1,000 calls split over capacities 1 to 4 in proportion", async () => {
  const made = market();
  const shops = [1, 2, 3, 4].map(() => new CallGate());
  for (const [at, gate] of shops.entries()) {
    (await made.node(`n${at}`, LASTING)).publish(calc(gate), { capacity: at + 1 });
  }
  const buyer = await made.node("buyer", LASTING);
  const proxy = await buyer.discover("calc", { capacity: 10, waitFor: "all" });
  expect(proxy.$plb.capacity()).toBe(10);
  const workers = Array.from({ length: 10 }, async () => {
    for (let n = 0; n < 100; n++) await proxy.pi(1);
  });
  await Promise.all(workers);
  shops.forEach((gate, at) => {
    expect(gate.most).toBeLessThanOrEqual(at + 1);
    expect(gate.served).toBeGreaterThan(100 * (at + 1) * 0.75);
    expect(gate.served).toBeLessThan(100 * (at + 1) * 1.25);
  });
});

test("near capacity is bought first, and replaces remote capacity", async () => {
  const made = market();
  const [far, near] = [new CallGate(), new CallGate()];
  const away = (await made.node("far", { region: "away" })).publish(calc(far), { capacity: 4 });
  const buyer = await made.node("buyer", { region: "home" });
  const proxy = await buyer.discover("calc", { capacity: 4 });
  expect(proxy.$plb.stats().channels).toMatchObject([{ region: "away", grant: 4 }]);
  const home = await made.node("near", { region: "home" });
  home.publish(calc(near), { capacity: 3 });
  const regions = () =>
    proxy.$plb.stats().channels.filter(({ draining }) => !draining)
      .map(({ region, grant }) => `${region} ${grant}`).sort();
  await until(() => regions().join() === "away 1,home 3", "three are near and one is far");
  home.publish(calc(near), { capacity: 3 });
  await until(() => regions().join() === "home 1,home 3", "all four are near");
  await until(() => away.stats().granted === 0, "the far capacity was given back");
  expect(await proxy.pi(1)).toBe("3.1");
});

test('`prefer: "spread"` spreads capacity over regions and nodes', async () => {
  const made = market();
  for (const place of ["home/a", "home/b", "away/c", "away/d"]) {
    const [region, name] = place.split("/") as [string, string];
    (await made.node(name, { region })).publish(calc(new CallGate()), { capacity: 8 });
  }
  const buyer = await made.node("buyer", { region: "home" });
  const seen = await made.node("seen", { region: "home" });
  await until(async () => (await seen.modules())[0]?.sellers.length === 4, "all is offered");
  const spread = await buyer.discover("calc", { capacity: 8, prefer: "spread", waitFor: "all" });
  const nodes = spread.$plb.stats().channels.map(({ node, grant }) => `${node} ${grant}`);
  expect(nodes.sort()).toEqual(["a 2", "b 2", "c 2", "d 2"]);
  const near = await buyer.discover("calc", { capacity: 8, prefer: "near", waitFor: "all" });
  expect(near.$plb.stats().channels.map(({ region }) => region)).toEqual(["home", "home"]);
});

test("modules, order books and authorities can be listed", async () => {
  const made = market();
  const [a, b] = [await made.node("a"), await made.node("b")];
  const gate = new CallGate();
  a.publish(calc(gate, "1.0.0"), { capacity: 2 });
  b.publish(calc(gate, "1.1.0"), { capacity: 3 });
  const proxy = await b.discover("calc", { version: "^1", capacity: 5, waitFor: "all" });
  const call = proxy.hold(1);
  await until(() => gate.running === 1, "the call runs");
  const [module] = await a.modules();
  expect(module).toMatchObject({
    name: "calc",
    versions: ["1.0.0", "1.1.0"],
    nodes: ["local/a", "local/b"],
    capacity: 5,
    inFlight: 1,
    sellers: [{ node: "a", capacity: 2, granted: 2 }, { node: "b", capacity: 3, granted: 3 }],
  });
  const sells = ({ orders }: ExchangeView) => orders.filter(({ side }) => side === "sell");
  await until(async () => {
    const books = await a.exchange("calc");
    return books.length === 2 && books.every((book) => sells(book).length === 2);
  }, "both exchanges have both orders");
  const books = await a.exchange("calc");
  expect(books.map(({ node }) => node)).toEqual(["a", "b"]);
  expect(await a.authorities()).toMatchObject([
    { node: "a", authorities: 1, brokers: 2, modules: ["calc"] },
    { node: "b", authorities: 1, brokers: 2, modules: ["calc"] },
  ]);
  expect(await a.exchange("nothing")).toEqual([]);
  gate.open();
  await call;
});
