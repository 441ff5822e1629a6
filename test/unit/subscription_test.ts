/** Covers how src/sockets/subscription.ts paces events: several are sent together under load. */
import { expect, test } from "vitest";
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import type { CallResult } from "../../src/api/calls.ts";
import { CONNECT, EVENTS, type WireEvent } from "../../src/model/internal_methods.ts";
import { pack } from "../../src/model/value.ts";
import { systemRandom } from "../../adapters/system/clock.ts";
import { ClientSession, type SessionHost } from "../../src/sockets/client_session.ts";
import { Subscription } from "../../src/sockets/subscription.ts";

/** An owner with one socket elsewhere; sending to that socket takes `sendMs`. */
function paced(sendMs: number) {
  let now = 0;
  const timers: { readonly ms: number; readonly run: () => void }[] = [];
  const polls: ((answer: unknown) => void)[] = [];
  const clock = {
    now: () => now,
    wall: () => now,
    after: (ms: number, run: () => void) => {
      timers.push({ ms, run });
      return { cancel: () => {} };
    },
  };
  const stats = { socketEvents: 0, cutSockets: 0 };
  const subscription = new Subscription({
    clock,
    random: systemRandom,
    incarnation: () => "one",
    stats,
    empty: () => {},
    ask: (method) => {
      if (method === CONNECT) {
        return Promise.resolve({ result: [[0, false]], epoch: 1 } as CallResult);
      }
      expect(method).toBe(EVENTS);
      return new Promise((resolve) =>
        polls.push((result) => resolve({ result, epoch: 1 } as CallResult))
      );
    },
  });
  const host: SessionHost = {
    deadlines: { add: () => {}, remove: () => {} },
    stats,
    now: () => now,
    call: () => Promise.reject(new Error("no call")),
    deliverMessages: () => Promise.resolve(0),
    closed: () => {},
    ended: () => {},
  };
  const sent: number[] = [];
  const session = new ClientSession(
    host,
    { id: "a", codec: jsonCodec, after: null, former: null },
    {
      send: () => {},
      sendAll: ({ frames }) => {
        now += sendMs;
        sent.push(frames.length);
      },
      buffered: () => 0,
      close: () => {},
    },
  );
  subscription.add(session);
  /** Answers the poll with the events from `first` to `last`. */
  const answer = async (first: number, last: number): Promise<void> => {
    const events: WireEvent[] = [];
    for (let seq = first; seq <= last; seq++) events.push([seq, 1, null, pack(seq)]);
    polls.shift()?.([last, false, events, [], 0]);
    await settled();
  };
  return { polls, timers, sent, answer };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

test("the next events are asked for at once if sending took little time", async () => {
  const { polls, timers, sent, answer } = paced(0.5);
  await settled();
  await answer(1, 1);
  await answer(2, 4);
  expect([sent, polls.length, timers]).toEqual([[1, 3], 1, []]);
});

test("if sending took long, they are asked for as much later, but at most 4 ms", async () => {
  const { polls, timers, sent, answer } = paced(3);
  await settled();
  await answer(1, 1);
  expect([sent, polls.length, timers.map(({ ms }) => ms)]).toEqual([[1], 0, [3]]);
  timers[0]?.run();
  await settled();
  expect(polls.length).toBe(1);
  const slow = paced(90);
  await settled();
  await slow.answer(1, 1);
  expect(slow.timers.map(({ ms }) => ms)).toEqual([4]);
});
