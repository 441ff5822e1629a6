/**
 * Loss of nodes, traders and authorities, and what becomes of their capacity and orders.
 *
 * Covers src/lambda/exchange/authority.ts.
 */
import { expect, test } from "vitest";
import { calc, CallGate, market, until } from "./market.ts";

test("running calls of a dead node fail as maybe executed, and capacity is bought elsewhere", async () => {
  const made = market();
  const [a, b, c] = [await made.node("a"), await made.node("b"), await made.node("c")];
  const [one, two] = [new CallGate(), new CallGate()];
  a.publish(calc(one), { capacity: 2 });
  const proxy = await c.discover("calc", { capacity: 2 });
  const running = [proxy.hold(1), proxy.hold(2)].map((call) => call.catch((error) => error));
  await until(() => one.running === 2, "both calls run");
  const waiting = proxy.hold(3);
  await made.kill("a");
  for (const error of await Promise.all(running)) {
    expect(error).toMatchObject({ code: "unavailable", maybeExecuted: true, retryable: true });
  }
  b.publish(calc(two), { capacity: 2 });
  two.open();
  expect(await waiting).toBe(3);
  expect(one.running + one.aborted).toBe(2);
});

test("two authorities keep two exchanges, a third adds none, and a lost one is replaced", async () => {
  const made = market();
  const a = await made.node("a", { role: "authority" });
  const w = await made.node("w", { role: "worker" });
  w.publish(calc(new CallGate()), { capacity: 1 });
  const books = async () => (await w.exchange("calc")).map(({ node }) => node);
  await until(async () => (await books()).length === 1, "the one authority has one exchange");
  await made.node("b", { role: "authority" });
  await until(async () => (await books()).length === 2, "two authorities have two exchanges");
  await made.node("c", { role: "authority" });
  await until(async () => (await w.authorities()).length === 3, "all are known to the worker");
  await until(
    async () => (await a.authorities()).every(({ authorities }) => authorities === 2),
    "all authorities know each other",
  );
  await until(async () => {
    const open = await w.exchange("calc");
    return open.length === 2 && open.every(({ orders }) => orders.length > 0);
  }, "the surplus exchange is closed, and both others have the order");
  for (const { orders } of await w.exchange("calc")) {
    expect(orders).toMatchObject([{ side: "sell", node: "w", quantity: 1, version: "1.0.0" }]);
  }
  const [lost] = await books();
  await made.kill(lost as string);
  await until(async () => {
    const left = await books();
    return left.length === 2 && !left.includes(lost as string);
  }, "another authority has taken its place");
});

test("a node that starts before any authority finds one later", async () => {
  const made = market();
  const a = await made.node("a", { role: "worker" });
  const b = await made.node("b", { role: "worker" });
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 1 });
  const soon = b.discover("calc");
  await made.node("late", { role: "authority" });
  expect(await (await soon).pi(1)).toBe("3.1");
});

test("workers link only to authorities and to their trading partners", async () => {
  const made = market();
  await made.node("a", { role: "authority" });
  const workers = await Promise.all(
    [1, 2, 3, 4].map((n) => made.node(`w${n}`, { role: "worker" })),
  );
  workers.forEach((worker) => worker.publish(calc(new CallGate()), { capacity: 1 }));
  await until(async () => (await workers[0]?.modules())?.[0]?.capacity === 4, "all is offered");
  await workers[3]?.discover("calc", { capacity: 1 });
  const links = workers.map((worker) => worker.stats().links);
  // The last worker dialled all traders; the others have links to the authority and to those two.
  expect(Math.max(...links.slice(1, 3))).toBeLessThanOrEqual(3);
});

test("orders of a lost trader and of a lost broker are removed everywhere", async () => {
  const made = market();
  await made.node("a", { role: "authority" });
  const [b, c] = [
    await made.node("b", { role: "worker" }),
    await made.node("c", { role: "worker" }),
  ];
  const listener = b.publish(calc(new CallGate()), { capacity: 1 });
  c.publish(calc(new CallGate()), { capacity: 1 });
  const d = await made.node("d", { role: "worker" });
  d.discover("calc", { capacity: 9 }).catch(() => {});
  const orders = async () => (await d.exchange("calc")).flatMap(({ orders }) => orders);
  await until(async () => (await orders()).length === 3, "all orders stand");
  await listener.close();
  await until(async () => (await orders()).length === 2, "the closed listener's order is gone");
  await made.kill("c");
  await until(async () => (await orders()).length === 1, "the dead node's order is gone");
});

test("a node whose lease lapsed sells and buys again under its new incarnation", async () => {
  const made = market();
  const [a, b] = [await made.node("a"), await made.node("b")];
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 3 });
  const proxy = await b.discover("calc", { capacity: 2 });
  const here = await a.discover("calc", { capacity: 1 });
  const held = here.hold(5);
  const { incarnation } = a;
  await made.store.kill(incarnation, await seqOf(made, incarnation));
  await until(() => a.state === "serving" && a.incarnation !== incarnation, "a is back");
  const isNew = () =>
    proxy.$plb.stats().channels.map((channel) => channel.incarnation).join() === a.incarnation;
  await until(() => isNew() && proxy.$plb.capacity() === 2, "its capacity is bought again");
  expect(await proxy.pi(2)).toBe("3.14");
  // Requests of the node itself don't use its links.
  gate.open();
  expect(await held).toBe(5);
});

async function seqOf(made: ReturnType<typeof market>, incarnation: string): Promise<number> {
  const { members } = await made.store.members();
  return members.find((member) => member.incarnation === incarnation)?.seq ?? 0;
}
