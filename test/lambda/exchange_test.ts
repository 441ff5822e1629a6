/** An exchange by itself: who is matched when, by the letters that it writes. */
import { expect, test } from "vitest";
import { Exchange } from "../../src/lambda/exchange.ts";
import type { Letter, LetterOf } from "../../src/lambda/letters.ts";
import type { Order } from "../../src/lambda/order.ts";
import type { Desk } from "../../src/lambda/part.ts";

/** An exchange at a desk at which time stands still. */
function floor() {
  const sent: { to: string; letter: Letter }[] = [];
  const soon: (() => void)[] = [];
  const desk = {
    address: "/exchange.1",
    now: () => 0,
    send: (to: string, letter: Letter) => void sent.push({ to, letter }),
    watch: () => {},
    unwatch: () => {},
    soon: (run: () => void) => void soon.push(run),
    after: () => ({ cancel: () => {} }),
  };
  const exchange = new Exchange("calc");
  exchange.begin(desk as unknown as Desk);
  const read = (letter: Letter, from: string) => {
    exchange.receive(letter, from);
    for (const run of soon.splice(0)) run();
  };
  return {
    cancel: (id: number, broker: string) => read({ kind: "cancel", id }, broker),
    down: (address: string) => read({ kind: "down", address, reason: "" }, address),
    order: (broker: string, order: Partial<Order>) =>
      read({ kind: "order", order: { ...PLAIN, ...order } }, broker),
    /** The matches since the last look: buyer's order, version, quantity. */
    matches: () =>
      sent.splice(0).map(({ letter }) => letter as LetterOf<"match">)
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

for (const how of ["cancelled", "lost"]) {
  test(`who waits for the newest gets what is newest once that is ${how}`, () => {
    const { order, cancel, down, matches } = floor();
    order("new/broker", sell(1, "2.0.0", 0));
    order("old/broker", sell(2, "1.0.0", 3));
    order("a/broker", { id: 7, quantity: 2 });
    expect(matches()).toEqual([]);
    if (how === "cancelled") cancel(1, "new/broker");
    else down("new/broker");
    expect(matches()).toEqual([[7, "1.0.0", 2]]);
  });
}

test("what a buyer's order held is free for others once that is gone", () => {
  const { order, cancel, matches } = floor();
  order("s/broker", sell(1, "1.0.0", 1));
  order("a/broker", { id: 7 });
  order("b/broker", { id: 8 });
  expect(matches()).toEqual([[7, "1.0.0", 1]]);
  cancel(7, "a/broker");
  expect(matches()).toEqual([[8, "1.0.0", 1]]);
});
