/**
 * Covers src/lambda/sell/channel.ts: a channel alone, with messages that are lost, repeated or
 * reordered.
 */
import { expect, test } from "vitest";
import { ChannelRecord } from "../../src/lambda/sell/figures.ts";
import { Channel } from "../../src/lambda/sell/channel.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";
import { newCounters } from "../../src/lambda/bus/metrics.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { ChannelPool } from "../../src/lambda/buy/channel_pool.ts";
import { pack } from "../../src/model/value.ts";
import { TimerWheel } from "../../src/time/timer_wheel.ts";
import { defineModule } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { loneBus } from "../support/lone_market.ts";

/** Records its messages. */
class Recorder extends Process {
  readonly received: BusMessage[] = [];
  receive(message: BusMessage): void {
    this.received.push(message);
  }
}

function makeChannel(grant: number, lowWatermark: number = 1) {
  // The clock stands still, so the bus never yields and delivers messages at once.
  const clock = fakeClock();
  const bus = loneBus(clock);
  const [buyer, listener] = [new Recorder(), new Recorder()];
  const held: ((value: number) => void)[] = [];
  const counters = newCounters();
  const functions = { hold: () => new Promise<number>((resolve) => held.push(resolve)) };
  const record = new ChannelRecord(bus.spawn("buyer", buyer), defineModule({ functions }));
  const channel = new Channel({
    name: "m",
    range: "^1",
    record,
    listener: bus.spawn("listener", listener),
    lowWatermark,
    deadlines: new TimerWheel(clock),
    counters,
  });
  bus.spawn("channel", channel);
  const send = async (process: Process, message: BusMessage): Promise<void> => {
    channel.receive(message, process.address);
    await quiet();
  };
  const request = (id: number): Promise<void> =>
    send(buyer, { kind: "request", id, name: "hold", timeoutMs: 60_000, body: pack([]) });
  const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const allowed = (): number =>
    buyer.received.reduce((most, message) => "allowed" in message ? message.allowed : most, 0);
  const begin = send(listener, { kind: "resize", grant });
  const stats = () => record.stats(channel.address);
  return {
    begin,
    clock,
    channel,
    record,
    stats,
    buyer,
    listener,
    held,
    counters,
    send,
    request,
    quiet,
    allowed,
  };
}

test("credit is a total: the grant plus one for each ended request", async () => {
  const { begin, stats, held, request, quiet, allowed } = makeChannel(2);
  await begin;
  expect(allowed()).toBe(2);
  await request(1);
  await request(2);
  expect(stats()).toMatchObject({ issued: 2, used: 2, outstanding: 0, running: 2 });
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(3);
  expect(stats()).toMatchObject({ issued: 3, used: 2, outstanding: 1, running: 1 });
});

test("a request beyond its credit is refused, and a repeated one runs once", async () => {
  const { begin, stats, buyer, request } = makeChannel(1);
  await begin;
  await request(1);
  await request(1);
  await request(2);
  expect(stats()).toMatchObject({ used: 1, running: 1 });
  expect(buyer.received.at(-1)).toMatchObject({
    kind: "failure",
    id: 2,
    error: ["overloaded", expect.any(String), true, false],
  });
});

test("lost requests cost no credit once the buyer probes", async () => {
  const { begin, stats, buyer, send, request, allowed } = makeChannel(3);
  await begin;
  await request(2);
  expect(stats()).toMatchObject({ used: 2, running: 1, outstanding: 1 });
  await send(buyer, { kind: "probe", used: 3 });
  expect(stats()).toMatchObject({ used: 3, running: 1, outstanding: 2 });
  expect(allowed()).toBe(5);
  await request(1);
  await request(3);
  expect(stats()).toMatchObject({ used: 3, running: 1 });
  // A probe that claims more than was allowed is not believed.
  await send(buyer, { kind: "probe", used: 99 });
  expect(stats()).toMatchObject({ used: 3, issued: 5 });
});

test("lost, repeated or late credit messages change nothing for the buyer", () => {
  const pool = new ChannelPool("none", () => "r", () => 0);
  const contact = { region: "r", node: "n", incarnation: "i", address: "a" };
  const label = { version: "1.0.0", exports: ["f"], hash: "0" };
  const opened = { address: "i/c", listener: "i/l", contact, label, grant: 4, rttMs: 1 };
  const view = pool.add(opened, pool);
  for (const allowed of [4, 2, 4, 9, 9, 7]) pool.credit(view, allowed);
  expect(pool.tokens).toBe(9);
});

test("a draining channel revokes credit at once, and returns its grant as runs end", async () => {
  const { begin, channel, stats, buyer, listener, held, counters, send, request, quiet } =
    makeChannel(3);
  await begin;
  await request(1);
  await request(2);
  await send(buyer, { kind: "drain", used: 2 });
  expect(stats()).toMatchObject({ issued: 3, used: 2, outstanding: 0, revoked: 1 });
  expect(listener.received.at(-1)).toEqual({ kind: "shrunk", grant: 2 });
  await request(3);
  expect(buyer.received.at(-1)).toMatchObject({ kind: "failure", id: 3 });
  held.shift()?.(1);
  await quiet();
  expect(listener.received.at(-1)).toEqual({ kind: "shrunk", grant: 1 });
  held.shift()?.(2);
  await quiet();
  expect(listener.received.at(-1)).toEqual({ kind: "shrunk", grant: 0 });
  expect(channel.hasStopped).toBe(true);
  expect(counters).toMatchObject({ issued: 3, used: 2, revoked: 1, running: 0 });
});

test("above the low watermark credit is batched, and sent after 10 ms at most", async () => {
  const { begin, clock, held, request, quiet, allowed } = makeChannel(4, 0.5);
  await begin;
  await request(1);
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(4);
  await request(2);
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(6);
  await request(3);
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(6);
  await clock.advance(10);
  await quiet();
  expect(allowed()).toBe(7);
});

test("a probe is answered with the credit issued so far; withheld credit comes later", async () => {
  const { begin, clock, buyer, send, held, request, quiet, allowed } = makeChannel(4, 0.5);
  await begin;
  await request(1);
  held.shift()?.(1);
  await quiet();
  await send(buyer, { kind: "probe", used: 1 });
  expect(buyer.received.at(-1)).toEqual({ kind: "credit", allowed: 4 });
  await clock.advance(10);
  await quiet();
  expect(allowed()).toBe(5);
});

for (const lowWatermark of [0, 0.25, 0.9, 1]) {
  test(`with low watermark ${lowWatermark} an idle channel has issued all its credit`, async () => {
    const { begin, clock, stats, held, request, quiet } = makeChannel(10, lowWatermark);
    await begin;
    for (let id = 1; id <= 10; id++) await request(id);
    for (const end of held.splice(0)) end(1);
    await quiet();
    await clock.advance(10);
    await quiet();
    expect(stats()).toMatchObject({ running: 0, outstanding: 10 });
  });
}

test("a buyer that lowers its grant returns unused credit at once, and the rest as runs end", async () => {
  const { begin, stats, buyer, listener, held, send, request, quiet } = makeChannel(4);
  await begin;
  await request(1);
  await request(2);
  await request(3);
  // It has one credit left, and wants to keep two.
  await send(buyer, { kind: "lower", used: 3, grant: 2, returned: 1 });
  expect(stats()).toMatchObject({ grant: 3, issued: 4, used: 3, revoked: 1, outstanding: 0 });
  expect(listener.received.at(-1)).toEqual({ kind: "shrunk", grant: 3 });
  held.shift()?.(1);
  await quiet();
  expect(stats()).toMatchObject({ grant: 2, issued: 4, running: 2 });
  expect(listener.received.at(-1)).toEqual({ kind: "shrunk", grant: 2 });
  held.shift()?.(2);
  await quiet();
  expect(stats()).toMatchObject({ grant: 2, issued: 5, outstanding: 1, running: 1 });
  // The buyer lowers its grant again; a repeated message changes nothing.
  for (const returned of [2, 2]) {
    await send(buyer, { kind: "lower", used: 3, grant: 1, returned });
    expect(stats()).toMatchObject({ grant: 1, issued: 5, used: 3, revoked: 2, outstanding: 0 });
  }
  await request(4);
  expect(buyer.received.at(-1)).toMatchObject({ kind: "failure", id: 4 });
});

test("new code that the buyer accepts runs the next request, without a change of credit", async () => {
  const { begin, stats, buyer, listener, held, send, request, quiet, allowed, record } =
    makeChannel(2);
  await begin;
  await request(1);
  const old = record.module;
  const functions = { hold: () => 7 };
  const module = defineModule({ version: "1.1.0", functions });
  await send(listener, { kind: "upgrade", module });
  expect(buyer.received.at(-1)).toMatchObject({ kind: "upgraded", after: 1 });
  expect(stats()).toMatchObject({ version: "1.1.0", issued: 2, outstanding: 1, running: 1 });
  expect([...record.codes.keys()]).toEqual([old]);
  await request(2);
  expect(buyer.received.at(-1)).toMatchObject({ kind: "reply", id: 2 });
  expect(listener.received.filter(({ kind }) => kind === "code_unused")).toEqual([]);
  held.shift()?.(1);
  await quiet();
  expect(listener.received.at(-1)).toEqual({ kind: "code_unused", module: old });
  expect(allowed()).toBe(4);
  await send(listener, {
    kind: "upgrade",
    module: defineModule({ version: "2.0.0", functions }),
  });
  expect(stats().version).toBe("1.1.0");
});
