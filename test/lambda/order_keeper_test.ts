/**
 * Covers src/lambda/buy/order_keeper.ts: a buyer that is matched with sellers without capacity, on
 * a fake clock.
 */
import { expect, test } from "vitest";
import { BROKER } from "../../src/lambda/bus/address.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";
import { CallCounters, ModuleMetrics } from "../../src/lambda/bus/metrics.ts";
import type { Order } from "../../src/lambda/bus/order.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { PlbProcess } from "../../src/lambda/buy/plb.ts";
import type { Clock } from "../../src/ports/clock.ts";
import { TimerWheel } from "../../src/time/timer_wheel.ts";
import { loneBus } from "../support/lone_market.ts";

/** More orders than a buyer places before it backs off. */
const MOST_ORDERS = 100;
const SELF = { region: "r", node: "n", incarnation: "i", address: "a" };

/** A clock that stands still; `wind` fires all pending timers. */
function standingClock(): { clock: Clock; wind: () => void } {
  let due = new Set<() => void>();
  const clock: Clock = {
    now: () => 1,
    wall: () => 1,
    after(_ms, run) {
      due.add(run);
      return { cancel: () => void due.delete(run) };
    },
  };
  const wind = (): void => {
    const runs = due;
    due = new Set();
    for (const run of runs) run();
  };
  return { clock, wind };
}

/** The greatest quantity of one match: the buyer orders the rest again. */
const FOUND = 3;

/** Answers every order with a match for part of its quantity. */
class MatchingBroker extends Process {
  readonly orders: Order[] = [];
  readonly #seller: Process;

  constructor(seller: Process) {
    super();
    this.#seller = seller;
  }

  receive(message: BusMessage): void {
    // A buyer that never stops would never end the test.
    if (message.kind !== "order" || this.orders.length >= MOST_ORDERS) return;
    const { order } = message;
    this.orders.push(order);
    const { id, revision, trader } = order;
    const quantity = Math.min(order.quantity, FOUND);
    if (quantity === 0) return;
    const { address: seller } = this.#seller;
    const found = { id, revision, seller, offer: 1, contact: SELF, quantity, version: "1.0.0" };
    this.context.send(trader, { kind: "match", ...found });
  }
}

/** Has no free capacity. */
class SoldOutSeller extends Process {
  receive(message: BusMessage, from: string): void {
    if (message.kind !== "open") return;
    this.context.send(from, {
      kind: "refuse",
      nonce: message.nonce,
      free: 0,
      why: "nothing is free",
    });
  }
}

test("refused capacity is not ordered again before the backoff", async () => {
  const { clock, wind } = standingClock();
  const bus = loneBus(clock, { self: () => SELF });
  const seller = new SoldOutSeller();
  bus.spawn("listener", seller);
  const broker = new MatchingBroker(seller);
  bus.spawn(BROKER, broker);
  const plb = new PlbProcess({
    name: "m",
    orders: [{ wanted: 4, asked: 4, range: null, prefer: "spread" }],
    state: { isClosing: false },
    bias: "none",
    noWait: false,
    callTimeoutMs: 1_000,
    deadlines: new TimerWheel(clock),
    counters: new CallCounters(new ModuleMetrics(), "m"),
    onChange: () => {},
    onClosed: () => {},
  });
  bus.spawn("plb", plb);
  const asked = async (): Promise<number[]> => {
    await new Promise((resolve) => setImmediate(resolve));
    return broker.orders.splice(0).map(({ quantity }) => quantity);
  };
  // It orders the whole quantity, then the rest, then nothing; and the same again after the
  // backoff.
  expect(await asked()).toEqual([4, 1, 0]);
  expect(await asked()).toEqual([]);
  wind();
  expect(await asked()).toEqual([4, 1, 0]);
  bus.stop();
});
