/**
 * Covers src/lambda/exchange/exchange.ts and src/lambda/exchange/matching.ts: which orders are
 * matched when, as its messages show.
 */
import { expect, test } from "vitest";
import { Exchange } from "../../src/lambda/exchange/exchange.ts";
import type { BusMessage, BusMessageOf } from "../../src/lambda/bus/messages.ts";
import type { Order } from "../../src/lambda/bus/order.ts";
import type { ProcessContext } from "../../src/lambda/bus/process.ts";
import { ORDER } from "../support/lone_market.ts";

/** An exchange with a fake context whose time stands still. */
function makeExchange(most?: number) {
  const sent: { to: string; message: BusMessage }[] = [];
  const soon: (() => void)[] = [];
  const logged: string[] = [];
  const ended: string[] = [];
  const context = {
    address: "/exchange.1",
    now: () => 0,
    send: (to: string, message: BusMessage) => void sent.push({ to, message }),
    watch: () => {},
    stop: (process: string) => void ended.push(process),
    unwatch: () => {},
    defer: (run: () => void) => void soon.push(run),
    after: () => ({ cancel: () => {} }),
    log: (_level: string, event: string) => void logged.push(event),
  };
  const exchange = new Exchange("calc", most);
  exchange.begin(context as unknown as ProcessContext);
  const read = (message: BusMessage, from: string) => {
    exchange.receive(message, from);
    for (const run of soon.splice(0)) run();
  };
  return {
    cancel: (id: number, broker: string) => read({ kind: "cancel", id }, broker),
    down: (address: string) => read({ kind: "down", address, reason: "" }, address),
    ended: () => ended,
    order: (broker: string, order: Partial<Order>) =>
      read({ kind: "order", order: { ...ORDER, ...order } }, broker),
    logged,
    /** The messages since the last call. */
    messages: () => sent.splice(0).map(({ message }) => message),
    /** The matches since the last call: buyer's order, version, quantity. */
    matches: () =>
      sent.splice(0).map(({ message }) => message as BusMessageOf<"match">)
        .map(({ id, version, quantity }) => [id, version, quantity]),
  };
}

const sell = (id: number, version: string, quantity: number): Partial<Order> => ({
  id,
  side: "sell",
  version,
  quantity,
  trader: `s/listener.${id}`,
});

test("if the newest stable version is sold out, the next older one is matched at once", () => {
  const { order, matches } = makeExchange();
  order("new/broker", sell(1, "2.0.0", 0));
  order("old/broker", sell(2, "1.0.0", 3));
  order("a/broker", { id: 7, quantity: 2 });
  expect(matches()).toEqual([[7, "1.0.0", 2]]);
});

test("an order without a version gets the newest with free capacity, and older ones for the rest", () => {
  const { order, matches } = makeExchange();
  order("s/broker", sell(1, "1.0.0", 9));
  order("s/broker", sell(2, "1.2.0", 2));
  order("s/broker", sell(3, "2.0.0", 1));
  order("s/broker", sell(4, "3.0.0-beta.1", 9));
  order("a/broker", { id: 7, quantity: 5 });
  expect(matches()).toEqual([[7, "2.0.0", 1], [7, "1.2.0", 2], [7, "1.0.0", 2]]);
  order("b/broker", { id: 8, quantity: 5, range: "^1" });
  expect(matches()).toEqual([[8, "1.0.0", 5]]);
});

test("buyers of older code are matched with newer after buyers that lack capacity", () => {
  const { order, matches } = makeExchange();
  order("a/broker", { id: 7, quantity: 0, newer: 3, than: "1.0.0" });
  order("b/broker", { id: 8, quantity: 1, range: "^2" });
  order("s/broker", sell(1, "1.0.0", 9));
  expect(matches()).toEqual([]);
  order("s/broker", sell(2, "2.0.0", 3));
  expect(matches()).toEqual([[8, "2.0.0", 1], [7, "2.0.0", 2]]);
});

test("buyers of remote capacity are matched with the same version nearby, not with older", () => {
  const { order, matches } = makeExchange();
  order("a/broker", { id: 7, quantity: 0, nearby: 2, newer: 2, than: "1.1.0" });
  order("s/broker", sell(1, "1.0.0", 9));
  expect(matches()).toEqual([]);
  order("s/broker", sell(2, "1.1.0", 9));
  expect(matches()).toEqual([[7, "1.1.0", 2]]);
});

test("a sell order with regions serves only buyers in them", () => {
  const { order, matches } = makeExchange();
  order("s/broker", { ...sell(1, "1.0.0", 4), regions: ["elsewhere"] });
  order("s/broker", sell(2, "1.0.0", 1));
  order("a/broker", { id: 7, quantity: 3 });
  expect(matches()).toEqual([[7, "1.0.0", 1]]);
  const contact = { ...ORDER.contact, region: "elsewhere" };
  order("b/broker", { id: 8, quantity: 3, contact });
  expect(matches()).toEqual([[8, "1.0.0", 3]]);
});

test("an order without room is answered `full`, and satisfied orders are evicted for it", () => {
  const { order, cancel, messages, logged } = makeExchange(3);
  order("s/broker", sell(1, "1.0.0", 0));
  order("a/broker", { id: 7, quantity: 0 });
  order("a/broker", { id: 8, range: "^2" });
  expect(messages()).toEqual([]);
  // In place of the satisfied buyer's order, then of the seller's that has nothing free.
  order("b/broker", { id: 9, range: "^3" });
  order("b/broker", { id: 10, range: "^4" });
  expect(messages()).toEqual([]);
  order("c/broker", { id: 11, revision: 5, range: "^5" });
  order("c/broker", { id: 12, quantity: 0 });
  expect(messages()).toEqual([{ kind: "full", id: 11, revision: 5 }]);
  expect(logged).toEqual(["exchange full"]);
  cancel(9, "b/broker");
  order("c/broker", { id: 11, revision: 5, range: "^5" });
  expect(messages()).toEqual([]);
});

test("an evicted satisfied order returns with its next revision", () => {
  const { order, matches } = makeExchange(2);
  order("s/broker", sell(1, "1.0.0", 0));
  order("a/broker", { id: 7, range: "^2" });
  order("b/broker", { id: 8, range: "^3" });
  order("a/broker", { id: 7, revision: 2, quantity: 0, range: "^2" });
  order("s/broker", { ...sell(1, "3.1.0", 2), revision: 2 });
  expect(matches()).toEqual([[8, "3.1.0", 1]]);
});

test("capacity held for a cancelled buy order is free for others", () => {
  const { order, cancel, matches } = makeExchange();
  order("s/broker", sell(1, "1.0.0", 1));
  order("a/broker", { id: 7 });
  order("b/broker", { id: 8 });
  expect(matches()).toEqual([[7, "1.0.0", 1]]);
  cancel(7, "a/broker");
  expect(matches()).toEqual([[8, "1.0.0", 1]]);
});

test("orders of a lost broker are dropped, and an exchange stops with its authority", () => {
  const { order, down, ended, matches } = makeExchange();
  order("s/broker", sell(1, "1.0.0", 1));
  down("s/broker");
  order("a/broker", { id: 7 });
  expect(matches()).toEqual([]);
  down("/authority");
  expect(ended()).toEqual(["/exchange.1"]);
});
