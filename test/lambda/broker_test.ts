/** Covers src/lambda/exchange/broker.ts: orders without room, and sellers with several orders. */
import { expect, test } from "vitest";
import { Broker } from "../../src/lambda/exchange/broker.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";
import type { Order } from "../../src/lambda/bus/order.ts";
import { fakeClock } from "../../testing.ts";
import { ORDER as FIRST_ORDER } from "../support/lone_market.ts";

const contact = { region: "r", node: "n", incarnation: "b-1", address: "x" };
const ORDER: Order = { ...FIRST_ORDER, quantity: 4, trader: "/plb.1", contact };

function makeBroker(most?: number) {
  const clock = fakeClock();
  const sent: [string, BusMessage][] = [];
  const logged: string[] = [];
  const context = {
    address: "/broker",
    self: () => contact,
    now: () => clock.now(),
    random: () => 0.5,
    send: (to: string, message: BusMessage) => void sent.push([to, message]),
    watch: () => {},
    unwatch: () => {},
    after: (ms: number, run: () => void) => clock.after(ms, run),
    log: (_level: string, event: string) => void logged.push(event),
  };
  const broker = new Broker("/bootstrap", most);
  broker.begin(context as never);
  const order = (more: Partial<Order>) =>
    broker.receive({ kind: "order", order: { ...ORDER, ...more } }, more.trader ?? ORDER.trader);
  order({});
  broker.receive({
    kind: "topology",
    contact,
    authorities: [],
    exchanges: [{ module: "calc", exchange: "e-1/exchange.1", contact }],
  }, "e-1/authority");
  sent.length = 0;
  return { broker, clock, order, sent, logged };
}

test("an order for which an exchange has no room is sent there again at its latest revision", async () => {
  const { broker, clock, order, sent, logged } = makeBroker();
  broker.receive({ kind: "full", id: 1, revision: 1 }, "e-1/exchange.1");
  // These are ignored: one comes from a node that isn't its exchange, one is for an old revision.
  broker.receive({ kind: "full", id: 1, revision: 1 }, "e-2/exchange.9");
  order({ revision: 2, quantity: 3 });
  broker.receive({ kind: "full", id: 1, revision: 1 }, "e-1/exchange.1");
  sent.length = 0;
  await clock.advance(2_000);
  expect(sent).toEqual([["e-1/exchange.1", {
    kind: "order",
    order: { ...ORDER, revision: 2, quantity: 3 },
  }]]);
  expect(logged).toEqual(["order waits"]);
  await clock.advance(60_000);
  expect(sent).toHaveLength(1);
});

test("a broker without room for an order logs it for the trader, and serves others", () => {
  const { broker, order, sent, logged } = makeBroker(1);
  order({ id: 2, revision: 7, trader: "/plb.2" });
  expect(sent).toEqual([["/plb.2", { kind: "full", id: 2, revision: 7 }]]);
  expect(logged).toEqual(["order refused"]);
  broker.receive({ kind: "cancel", id: 1 }, "/plb.1");
  sent.length = 0;
  order({ id: 2, revision: 8, trader: "/plb.2" });
  expect(sent.map(([, { kind }]) => kind)).not.toContain("full");
});

test("matches with two orders of one seller add up; from two exchanges the larger match counts", () => {
  const { broker, sent } = makeBroker();
  broker.receive({
    kind: "topology",
    contact,
    authorities: [],
    exchanges: [{ module: "calc", exchange: "f-1/exchange.1", contact }],
  }, "f-1/authority");
  sent.length = 0;
  const match = (exchange: string, offer: number, quantity: number) =>
    broker.receive({
      kind: "match",
      id: 1,
      revision: 1,
      seller: "s-1/listener.1",
      offer,
      contact,
      quantity,
      version: "1.0.0",
    }, exchange);
  match("e-1/exchange.1", 1, 1);
  match("e-1/exchange.1", 2, 1);
  match("f-1/exchange.1", 1, 2);
  match("f-1/exchange.1", 2, 1);
  const passed = sent.map(([, message]) => "quantity" in message ? message.quantity : 0);
  expect(passed).toEqual([1, 1, 1]);
});
