/** A channel alone, with letters that are lost, come twice or in another order. */
import { expect, test } from "vitest";
import { ChannelRecord } from "../../src/lambda/sell/figures.ts";
import { Channel } from "../../src/lambda/sell/channel.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";
import { newCounters } from "../../src/lambda/metrics.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { MessageBus } from "../../src/lambda/bus/message_bus.ts";
import { ChannelPool } from "../../src/lambda/buy/channel_pool.ts";
import { pack } from "../../src/model/value.ts";
import { TimerWheel } from "../../src/time/timer_wheel.ts";
import { defineModule } from "../../mod.ts";
import { systemRandom } from "../../adapters/system/clock.ts";
import { fakeClock } from "../../testing.ts";

/** Hears what it is sent. */
class Ear extends Process {
  readonly heard: BusMessage[] = [];
  receive(letter: BusMessage): void {
    this.heard.push(letter);
  }
}

function stage(grant: number, lowWatermark: number = 1) {
  const self = { region: "r", node: "n", incarnation: "i", address: "a" };
  // It stands: so the post is never out of breath, and letters are read at once.
  const clock = fakeClock();
  const post = new MessageBus({
    clock,
    random: systemRandom,
    self: () => self,
    member: () => undefined,
    present: () => undefined,
    dial: () => Promise.reject(new Error("nobody")),
    meet: () => Promise.resolve(null),
    onEvent: () => {},
  });
  const [buyer, listener] = [new Ear(), new Ear()];
  const held: ((value: number) => void)[] = [];
  const meter = newCounters();
  const functions = { hold: () => new Promise<number>((resolve) => held.push(resolve)) };
  const books = new ChannelRecord(post.spawn("buyer", buyer), defineModule({ functions }));
  const channel = new Channel({
    name: "m",
    range: "^1",
    record: books,
    listener: post.spawn("listener", listener),
    lowWatermark,
    deadlines: new TimerWheel(clock),
    counters: meter,
  });
  post.spawn("channel", channel);
  const tell = async (part: Process, letter: BusMessage): Promise<void> => {
    channel.receive(letter, part.address);
    await quiet();
  };
  const request = (id: number): Promise<void> =>
    tell(buyer, { kind: "request", id, name: "hold", timeoutMs: 60_000, body: pack([]) });
  const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const allowed = (): number =>
    buyer.heard.reduce((most, letter) => "allowed" in letter ? letter.allowed : most, 0);
  const begin = tell(listener, { kind: "resize", grant });
  const stats = () => books.stats(channel.address);
  return {
    begin,
    clock,
    channel,
    books,
    stats,
    buyer,
    listener,
    held,
    meter,
    tell,
    request,
    quiet,
    allowed,
  };
}

test("credit is a total: what is granted, and one for each that ended", async () => {
  const { begin, stats, held, request, quiet, allowed } = stage(2);
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

test("a request beyond its credit is refused, and one that comes twice runs once", async () => {
  const { begin, stats, buyer, request } = stage(1);
  await begin;
  await request(1);
  await request(1);
  await request(2);
  expect(stats()).toMatchObject({ used: 1, running: 1 });
  expect(buyer.heard.at(-1)).toMatchObject({
    kind: "failure",
    id: 2,
    error: ["overloaded", expect.any(String), true, false],
  });
});

test("requests that were lost cost nothing once the buyer probes", async () => {
  const { begin, stats, buyer, tell, request, allowed } = stage(3);
  await begin;
  await request(2);
  expect(stats()).toMatchObject({ used: 2, running: 1, outstanding: 1 });
  await tell(buyer, { kind: "probe", used: 3 });
  expect(stats()).toMatchObject({ used: 3, running: 1, outstanding: 2 });
  expect(allowed()).toBe(5);
  await request(1);
  await request(3);
  expect(stats()).toMatchObject({ used: 3, running: 1 });
  // A probe that says more than was allowed is not believed.
  await tell(buyer, { kind: "probe", used: 99 });
  expect(stats()).toMatchObject({ used: 3, issued: 5 });
});

test("demand that is lost, repeated or late changes nothing for the buyer", () => {
  const pool = new ChannelPool("none", () => "r", () => 0);
  const contact = { region: "r", node: "n", incarnation: "i", address: "a" };
  const label = { version: "1.0.0", exports: ["f"], hash: "0" };
  const opened = { address: "i/c", listener: "i/l", contact, label, grant: 4, rttMs: 1 };
  const view = pool.add(opened, pool);
  for (const allowed of [4, 2, 4, 9, 9, 7]) pool.credit(view, allowed);
  expect(pool.tokens).toBe(9);
});

test("a channel that drains gives credit back at once, and its grant as its runs end", async () => {
  const { begin, channel, stats, buyer, listener, held, meter, tell, request, quiet } = stage(3);
  await begin;
  await request(1);
  await request(2);
  await tell(buyer, { kind: "drain", used: 2 });
  expect(stats()).toMatchObject({ issued: 3, used: 2, outstanding: 0, revoked: 1 });
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 2 });
  await request(3);
  expect(buyer.heard.at(-1)).toMatchObject({ kind: "failure", id: 3 });
  held.shift()?.(1);
  await quiet();
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 1 });
  held.shift()?.(2);
  await quiet();
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 0 });
  expect(channel.hasStopped).toBe(true);
  expect(meter).toMatchObject({ issued: 3, used: 2, revoked: 1, running: 0 });
});

test("above the watermark credit is sent together, and a moment later at most", async () => {
  const { begin, clock, held, request, quiet, allowed } = stage(4, 0.5);
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

test("a probe is told what was sent before; what the watermark keeps back comes in its time", async () => {
  const { begin, clock, buyer, tell, held, request, quiet, allowed } = stage(4, 0.5);
  await begin;
  await request(1);
  held.shift()?.(1);
  await quiet();
  await tell(buyer, { kind: "probe", used: 1 });
  expect(buyer.heard.at(-1)).toEqual({ kind: "credit", allowed: 4 });
  await clock.advance(10);
  await quiet();
  expect(allowed()).toBe(5);
});

for (const lowWatermark of [0, 0.25, 0.9, 1]) {
  test(`with a watermark of ${lowWatermark} an idle channel has given all its credit`, async () => {
    const { begin, clock, stats, held, request, quiet } = stage(10, lowWatermark);
    await begin;
    for (let id = 1; id <= 10; id++) await request(id);
    for (const end of held.splice(0)) end(1);
    await quiet();
    await clock.advance(10);
    await quiet();
    expect(stats()).toMatchObject({ running: 0, outstanding: 10 });
  });
}

test("a buyer that wants less gives unused credit back, and the rest as what runs ends", async () => {
  const { begin, stats, buyer, listener, held, tell, request, quiet } = stage(4);
  await begin;
  await request(1);
  await request(2);
  await request(3);
  // It has one credit left, and wants to keep two.
  await tell(buyer, { kind: "lower", used: 3, grant: 2, returned: 1 });
  expect(stats()).toMatchObject({ grant: 3, issued: 4, used: 3, revoked: 1, outstanding: 0 });
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 3 });
  held.shift()?.(1);
  await quiet();
  expect(stats()).toMatchObject({ grant: 2, issued: 4, running: 2 });
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 2 });
  held.shift()?.(2);
  await quiet();
  expect(stats()).toMatchObject({ grant: 2, issued: 5, outstanding: 1, running: 1 });
  // Once more, and a repetition changes nothing.
  for (const returned of [2, 2]) {
    await tell(buyer, { kind: "lower", used: 3, grant: 1, returned });
    expect(stats()).toMatchObject({ grant: 1, issued: 5, used: 3, revoked: 2, outstanding: 0 });
  }
  await request(4);
  expect(buyer.heard.at(-1)).toMatchObject({ kind: "failure", id: 4 });
});

test("new code that the buyer takes runs the next request, and no credit moves", async () => {
  const { begin, stats, buyer, listener, held, tell, request, quiet, allowed, books } = stage(2);
  await begin;
  await request(1);
  const old = books.module;
  const functions = { hold: () => 7 };
  const module = defineModule({ version: "1.1.0", functions });
  await tell(listener, { kind: "upgrade", module });
  expect(buyer.heard.at(-1)).toMatchObject({ kind: "upgraded", after: 1 });
  expect(stats()).toMatchObject({ version: "1.1.0", issued: 2, outstanding: 1, running: 1 });
  expect([...books.codes.keys()]).toEqual([old]);
  await request(2);
  expect(buyer.heard.at(-1)).toMatchObject({ kind: "reply", id: 2 });
  expect(listener.heard.filter(({ kind }) => kind === "code_unused")).toEqual([]);
  held.shift()?.(1);
  await quiet();
  expect(listener.heard.at(-1)).toEqual({ kind: "code_unused", module: old });
  expect(allowed()).toBe(4);
  await tell(listener, {
    kind: "upgrade",
    module: defineModule({ version: "2.0.0", functions }),
  });
  expect(stats().version).toBe("1.1.0");
});
