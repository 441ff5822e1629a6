/** An exchange by itself: who is matched when, by the letters that it writes. */
import { expect, test } from "vitest";
import { Exchange } from "../../src/lambda/exchange/exchange.ts";
import type { BusMessage, BusMessageOf } from "../../src/lambda/bus/messages.ts";
import type { Order } from "../../src/lambda/bus/order.ts";
import type { ProcessContext } from "../../src/lambda/bus/process.ts";

/** An exchange at a desk at which time stands still. */
function floor(most?: number) {
  const sent: { to: string; letter: BusMessage }[] = [];
  const soon: (() => void)[] = [];
  const told: string[] = [];
  const ended: string[] = [];
  const desk = {
    address: "/exchange.1",
    now: () => 0,
    send: (to: string, letter: BusMessage) => void sent.push({ to, letter }),
    watch: () => {},
    stop: (part: string) => void ended.push(part),
    unwatch: () => {},
    defer: (run: () => void) => void soon.push(run),
    after: () => ({ cancel: () => {} }),
    log: (_level: string, event: string) => void told.push(event),
  };
  const exchange = new Exchange("calc", most);
  exchange.begin(desk as unknown as ProcessContext);
  const read = (letter: BusMessage, from: string) => {
    exchange.receive(letter, from);
    for (const run of soon.splice(0)) run();
  };
  return {
    cancel: (id: number, broker: string) => read({ kind: "cancel", id }, broker),
    down: (address: string) => read({ kind: "down", address, reason: "" }, address),
    ended: () => ended,
    order: (broker: string, order: Partial<Order>) =>
      read({ kind: "order", order: { ...PLAIN, ...order } }, broker),
    told,
    /** What was said since the last look. */
    letters: () => sent.splice(0).map(({ letter }) => letter),
    /** The matches since the last look: buyer's order, version, quantity. */
    matches: () =>
      sent.splice(0).map(({ letter }) => letter as BusMessageOf<"match">)
        .map(({ id, version, quantity }) => [id, version, quantity]),
  };
}

const PLAIN: Order = {
  id: 1,
  revision: 1,
  side: "buy",
  module: "calc",
  quantity: 1,
  nearby: 0,
  newer: 0,
  than: "",
  version: "",
  range: null,
  prefer: "near",
  regions: [],
  trader: "a/plb.1",
  contact: { region: "r", node: "n", incarnation: "a", address: "x" },
};
const sell = (id: number, version: string, quantity: number): Partial<Order> => ({
  id,
  side: "sell",
  version,
  quantity,
  trader: `s/listener.${id}`,
});

test("where the newest stable version is sold out, the next older one serves at once", () => {
  const { order, matches } = floor();
  order("new/broker", sell(1, "2.0.0", 0));
  order("old/broker", sell(2, "1.0.0", 3));
  order("a/broker", { id: 7, quantity: 2 });
  expect(matches()).toEqual([[7, "1.0.0", 2]]);
});

test("who names no version gets the newest there is room for, and older ones for the rest", () => {
  const { order, matches } = floor();
  order("s/broker", sell(1, "1.0.0", 9));
  order("s/broker", sell(2, "1.2.0", 2));
  order("s/broker", sell(3, "2.0.0", 1));
  order("s/broker", sell(4, "3.0.0-beta.1", 9));
  order("a/broker", { id: 7, quantity: 5 });
  expect(matches()).toEqual([[7, "2.0.0", 1], [7, "1.2.0", 2], [7, "1.0.0", 2]]);
  order("b/broker", { id: 8, quantity: 5, range: "^1" });
  expect(matches()).toEqual([[8, "1.0.0", 5]]);
});

test("who holds older code is told of newer, after those who lack capacity", () => {
  const { order, matches } = floor();
  order("a/broker", { id: 7, quantity: 0, newer: 3, than: "1.0.0" });
  order("b/broker", { id: 8, quantity: 1, range: "^2" });
  order("s/broker", sell(1, "1.0.0", 9));
  expect(matches()).toEqual([]);
  order("s/broker", sell(2, "2.0.0", 3));
  expect(matches()).toEqual([[8, "2.0.0", 1], [7, "2.0.0", 2]]);
});

test("who holds far code of a version is told of the same nearby, and not of older", () => {
  const { order, matches } = floor();
  order("a/broker", { id: 7, quantity: 0, nearby: 2, newer: 2, than: "1.1.0" });
  order("s/broker", sell(1, "1.0.0", 9));
  expect(matches()).toEqual([]);
  order("s/broker", sell(2, "1.1.0", 9));
  expect(matches()).toEqual([[7, "1.1.0", 2]]);
});

test("a sell order that names regions serves buyers of these only", () => {
  const { order, matches } = floor();
  order("s/broker", { ...sell(1, "1.0.0", 4), regions: ["elsewhere"] });
  order("s/broker", sell(2, "1.0.0", 1));
  order("a/broker", { id: 7, quantity: 3 });
  expect(matches()).toEqual([[7, "1.0.0", 1]]);
  const contact = { ...PLAIN.contact, region: "elsewhere" };
  order("b/broker", { id: 8, quantity: 3, contact });
  expect(matches()).toEqual([[8, "1.0.0", 3]]);
});

test("an order for which there is no room is answered, and satisfied ones make room", () => {
  const { order, cancel, letters, told } = floor(3);
  order("s/broker", sell(1, "1.0.0", 0));
  order("a/broker", { id: 7, quantity: 0 });
  order("a/broker", { id: 8, range: "^2" });
  expect(letters()).toEqual([]);
  // In place of the satisfied buyer's, then of the seller's who has nothing free.
  order("b/broker", { id: 9, range: "^3" });
  order("b/broker", { id: 10, range: "^4" });
  expect(letters()).toEqual([]);
  order("c/broker", { id: 11, revision: 5, range: "^5" });
  order("c/broker", { id: 12, quantity: 0 });
  expect(letters()).toEqual([{ kind: "full", id: 11, revision: 5 }]);
  expect(told).toEqual(["exchange full"]);
  cancel(9, "b/broker");
  order("c/broker", { id: 11, revision: 5, range: "^5" });
  expect(letters()).toEqual([]);
});

test("an order that was dropped as satisfied is back with its next revision", () => {
  const { order, matches } = floor(2);
  order("s/broker", sell(1, "1.0.0", 0));
  order("a/broker", { id: 7, range: "^2" });
  order("b/broker", { id: 8, range: "^3" });
  order("a/broker", { id: 7, revision: 2, quantity: 0, range: "^2" });
  order("s/broker", { ...sell(1, "3.1.0", 2), revision: 2 });
  expect(matches()).toEqual([[8, "3.1.0", 1]]);
});

test("what a buyer's order held is free for others once that is gone", () => {
  const { order, cancel, matches } = floor();
  order("s/broker", sell(1, "1.0.0", 1));
  order("a/broker", { id: 7 });
  order("b/broker", { id: 8 });
  expect(matches()).toEqual([[7, "1.0.0", 1]]);
  cancel(7, "a/broker");
  expect(matches()).toEqual([[8, "1.0.0", 1]]);
});

test("orders of a lost broker are gone, and an exchange ends with its authority", () => {
  const { order, down, ended, matches } = floor();
  order("s/broker", sell(1, "1.0.0", 1));
  down("s/broker");
  order("a/broker", { id: 7 });
  expect(matches()).toEqual([]);
  down("/authority");
  expect(ended()).toEqual(["/exchange.1"]);
});
