/**
 * Covers src/time/event_loop_yield.ts: a busy message bus yields to the event loop, so that timers
 * fire.
 */
import { expect, test } from "vitest";
import type { Address } from "../../src/lambda/bus/address.ts";
import { ReadLoopYield } from "../../src/time/event_loop_yield.ts";
import { ChannelRecord } from "../../src/lambda/sell/figures.ts";
import { Channel } from "../../src/lambda/sell/channel.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";
import { newCounters } from "../../src/lambda/bus/metrics.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { pack } from "../../src/model/value.ts";
import type { Clock } from "../../src/ports/clock.ts";
import { TimerWheel } from "../../src/time/timer_wheel.ts";
import { systemClock } from "../../adapters/system/clock.ts";
import { defineModule } from "../../mod.ts";
import { loneBus } from "../support/lone_market.ts";

/** A clock that stands still unless it is advanced, and whose timers run when the event loop turns. */
class StandingClock implements Clock {
  #now = 0;
  #due: (() => void)[] = [];

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#now;
  }

  wind(ms: number): void {
    this.#now += ms;
  }

  after(_ms: number, run: () => void): { cancel(): void } {
    this.#due.push(run);
    return { cancel: () => this.#due = this.#due.filter((it) => it !== run) };
  }

  turn(): number {
    const due = this.#due;
    this.#due = [];
    for (const run of due) run();
    return due.length;
  }
}

test("while the event loop turns, reading messages does not pause and rarely checks the clock", () => {
  const clock = new StandingClock();
  const yielding = new ReadLoopYield(clock, () => expect.unreachable());
  let timers = 0;
  for (let message = 0; message < 50_000; message++) {
    clock.wind(0.1);
    yielding.spend();
    expect(yielding.holds).toBe(false);
    if (message % 10 === 9) timers += clock.turn();
  }
  // 5 s, and one each 8 ms or so.
  expect(timers).toBeGreaterThan(400);
  expect(timers).toBeLessThan(650);
});

test("without turns of the event loop, reading messages pauses after some ms, or after many messages if the clock stands still", () => {
  for (const [ms, most] of [[3.5, 12], [1, 16], [0, 4_100]] as const) {
    const clock = new StandingClock();
    let yieldings = 0;
    const yielding = new ReadLoopYield(clock, () => yieldings++);
    for (let round = 1; round <= 3; round++) {
      let messages = 0;
      for (; !yielding.holds && messages < 10_000; messages++) {
        yielding.spend();
        clock.wind(ms);
      }
      expect(messages).toBeLessThanOrEqual(most);
      expect(clock.turn()).toBe(1);
      expect(yielding).toMatchObject({ holds: false });
      expect(yieldings).toBe(round);
    }
  }
});

/** Sends a request for each credit and each answer, without end. */
class EndlessBuyer extends Process {
  #id = 0;

  receive(_letter: BusMessage, channel: Address): void {
    const body = pack([]);
    const id = ++this.#id;
    this.context.send(channel, { kind: "request", id, name: "burn", timeoutMs: 60_000, body });
  }
}

/** Grants one call at a time. */
class Seller extends Process {
  receive(): void {}

  grant(channel: Address): void {
    this.context.send(channel, { kind: "resize", grant: 1 });
  }
}

for (const kind of ["at once", "in a promise"]) {
  test(`busy functions that answer ${kind} let the event loop turn`, async () => {
    const clock = new StandingClock();
    const bus = loneBus(clock);
    let calls = 0;
    const burn = (): unknown => {
      // The loop is bounded, because otherwise a failing test would never end.
      if (++calls > 10_000) throw new Error("the event loop never turned");
      clock.wind(3.5);
      return kind === "at once" ? calls : Promise.resolve(calls);
    };
    const seller = new Seller();
    const channel = new Channel({
      name: "m",
      range: null,
      record: new ChannelRecord(
        bus.spawn("buyer", new EndlessBuyer()),
        defineModule({ functions: { burn } }),
      ),
      listener: bus.spawn("seller", seller),
      lowWatermark: 1,
      deadlines: new TimerWheel(systemClock),
      counters: newCounters(),
    });
    seller.grant(bus.spawn("channel", channel));
    for (let turn = 1; turn <= 5; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(calls).toBeGreaterThan(0);
      expect(calls).toBeLessThanOrEqual(8 * turn);
      clock.turn();
    }
    bus.stop();
  });
}
