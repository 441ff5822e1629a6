/** A channel alone, with letters that are lost, come twice or in another order. */
import { expect, test } from "vitest";
import { Channel } from "../../src/lambda/channel.ts";
import type { Letter } from "../../src/lambda/letters.ts";
import { newMeter } from "../../src/lambda/meter.ts";
import { Part } from "../../src/lambda/part.ts";
import { Post } from "../../src/lambda/post.ts";
import { Pool } from "../../src/lambda/pool.ts";
import { pack } from "../../src/model/value.ts";
import { Deadlines } from "../../src/time/deadlines.ts";
import { defineModule } from "../../mod.ts";
import { systemRandom } from "../../adapters/runtime/system.ts";
import { fakeClock } from "../../testing.ts";

/** Hears what it is sent. */
class Ear extends Part {
  readonly heard: Letter[] = [];
  receive(letter: Letter): void {
    this.heard.push(letter);
  }
}

function stage(grant: number, lowWatermark: number = 1) {
  const self = { region: "r", node: "n", incarnation: "i", address: "a" };
  // It stands: so the post is never out of breath, and letters are read at once.
  const clock = fakeClock();
  const post = new Post({
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
  const meter = newMeter();
  const channel = new Channel({
    name: "m",
    module: defineModule({
      functions: { hold: () => new Promise<number>((resolve) => held.push(resolve)) },
    }),
    buyer: post.hire("buyer", buyer),
    listener: post.hire("listener", listener),
    lowWatermark,
    deadlines: new Deadlines(clock),
    meter,
  });
  post.hire("channel", channel);
  const tell = async (part: Part, letter: Letter): Promise<void> => {
    channel.receive(letter, part.address);
    await quiet();
  };
  const request = (id: number): Promise<void> =>
    tell(buyer, { kind: "request", id, name: "hold", timeoutMs: 60_000, body: pack([]) });
  const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const allowed = (): number =>
    buyer.heard.reduce((most, letter) => "allowed" in letter ? letter.allowed : most, 0);
  const begin = tell(listener, { kind: "resize", grant });
  return { begin, channel, buyer, listener, held, meter, tell, request, quiet, allowed };
}

test("credit is a total: what is granted, and one for each that ended", async () => {
  const { begin, channel, held, request, quiet, allowed } = stage(2);
  await begin;
  expect(allowed()).toBe(2);
  await request(1);
  await request(2);
  expect(channel.stats()).toMatchObject({ issued: 2, used: 2, outstanding: 0, running: 2 });
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(3);
  expect(channel.stats()).toMatchObject({ issued: 3, used: 2, outstanding: 1, running: 1 });
});

test("a request beyond its credit is refused, and one that comes twice runs once", async () => {
  const { begin, channel, buyer, request } = stage(1);
  await begin;
  await request(1);
  await request(1);
  await request(2);
  expect(channel.stats()).toMatchObject({ used: 1, running: 1 });
  expect(buyer.heard.at(-1)).toMatchObject({
    kind: "failure",
    id: 2,
    error: ["overloaded", expect.any(String), true, false],
  });
});

test("requests that were lost cost nothing once the buyer probes", async () => {
  const { begin, channel, buyer, tell, request, allowed } = stage(3);
  await begin;
  await request(2);
  expect(channel.stats()).toMatchObject({ used: 2, running: 1, outstanding: 1 });
  await tell(buyer, { kind: "probe", used: 3 });
  expect(channel.stats()).toMatchObject({ used: 3, running: 1, outstanding: 2 });
  expect(allowed()).toBe(5);
  await request(1);
  await request(3);
  expect(channel.stats()).toMatchObject({ used: 3, running: 1 });
  // A probe that says more than was allowed is not believed.
  await tell(buyer, { kind: "probe", used: 99 });
  expect(channel.stats()).toMatchObject({ used: 3, issued: 5 });
});

test("demand that is lost, repeated or late changes nothing for the buyer", () => {
  const pool = new Pool("none", () => "r", () => 0);
  const contact = { region: "r", node: "n", incarnation: "i", address: "a" };
  const label = { version: "1.0.0", exports: ["f"], hash: "0" };
  const opened = { address: "i/c", listener: "i/l", contact, label, grant: 4, rttMs: 1 };
  const view = pool.add(opened);
  for (const allowed of [4, 2, 4, 9, 9, 7]) pool.credit(view, allowed);
  expect(pool.tokens).toBe(9);
});

test("a channel that drains gives credit back at once, and its grant as its runs end", async () => {
  const { begin, channel, buyer, listener, held, meter, tell, request, quiet } = stage(3);
  await begin;
  await request(1);
  await request(2);
  await tell(buyer, { kind: "drain", used: 2 });
  expect(channel.stats()).toMatchObject({ issued: 3, used: 2, outstanding: 0, revoked: 1 });
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 2 });
  await request(3);
  expect(buyer.heard.at(-1)).toMatchObject({ kind: "failure", id: 3 });
  held.shift()?.(1);
  await quiet();
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 1 });
  held.shift()?.(2);
  await quiet();
  expect(listener.heard.at(-1)).toEqual({ kind: "shrunk", grant: 0 });
  expect(channel.hasEnded).toBe(true);
  expect(meter).toMatchObject({ issued: 3, used: 2, revoked: 1, running: 0 });
});

test("below the watermark credit waits to be sent together, above it doesn't", async () => {
  const { begin, held, request, quiet, allowed } = stage(4, 0.5);
  await begin;
  await request(1);
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(4);
  await request(2);
  held.shift()?.(1);
  await quiet();
  expect(allowed()).toBe(6);
});
