/** Covers src/events/replay_buffer.ts: which events of a resource are kept, and how long. */
import { expect, test } from "vitest";
import { MAX_REPLAY_EVENTS, MAX_TAIL_BYTES } from "../../src/limits.ts";
import { valueToText } from "../../src/model/value.ts";
import { ReplayBuffer } from "../../src/events/replay_buffer.ts";

test("an event keeps its own bytes, not the buffer in which they arrived", () => {
  const replay = new ReplayBuffer(0);
  for (let i = 0; i < MAX_REPLAY_EVENTS; i++) {
    const received = new Uint8Array(65_536).fill(i);
    replay.add(1, null, received.subarray(100, 120));
  }
  const { events, upto } = replay.since(0, () => true);
  expect([events.length, upto]).toEqual([MAX_REPLAY_EVENTS, MAX_REPLAY_EVENTS]);
  const held = new Set(events.map(({ data }) => data.buffer));
  const bytes = [...held].reduce((sum, buffer) => sum + buffer.byteLength, 0);
  expect(bytes).toBe(MAX_REPLAY_EVENTS * 20);
  expect(events[7]?.data).toEqual(new Uint8Array(20).fill(7));
});

test("the last events are kept for the next owner, with those about to be added", () => {
  const replay = new ReplayBuffer(10);
  const data = new Uint8Array([1, 2, 3]);
  for (let i = 0; i < 3; i++) replay.add(7, i === 1 ? "one" : null, data);
  const next = new ReplayBuffer(14, replay.tail([{ epoch: 7, to: null, data }]));
  const { events, upto } = next.since(10, () => true);
  expect(upto).toBe(14);
  expect(events).toEqual(
    [11, 12, 13, 14].map((seq) => ({ seq, epoch: 7, to: seq === 12 ? "one" : null, data })),
  );
  expect([next.last, next.covers(10), next.covers(9)]).toEqual([14, true, false]);
  next.add(8, null, data);
  expect(next.since(13, () => true).events.map(({ seq }) => seq)).toEqual([14, 15]);
});

test("only the last 64 KiB of events are kept for the next owner", () => {
  const replay = new ReplayBuffer(0);
  for (let i = 0; i < 100; i++) replay.add(1, null, new Uint8Array(2_000));
  const text = replay.tail([]);
  expect(text.length).toBeLessThan(1.5 * MAX_TAIL_BYTES);
  const next = new ReplayBuffer(100, text);
  const kept = next.since(next.lostTo(0, null) as number, () => true).events.length;
  expect(kept).toBe(Math.floor(MAX_TAIL_BYTES / 2_128));
});

test.each([
  ["that were followed by others since", 12, new ReplayBuffer(11).tail([])],
  ["that can't be read", 5, "{"],
  ["of a wrong shape", 5, valueToText([5, [[1, null, "x"]]], "x")],
  [
    "of which there are too many",
    1,
    valueToText([1, [[1, null, 1], [1, null, 2]]], "x"),
  ],
])("events %s are not taken over", (_, last, text) => {
  const replay = new ReplayBuffer(last, text);
  expect([replay.covers(last), replay.covers(last - 1)]).toEqual([true, false]);
});

test("a client that lost events with a former owner can still get those since", () => {
  const replay = new ReplayBuffer(1_000);
  replay.add(2, null, new Uint8Array(1));
  expect([replay.lostTo(1_001, 2), replay.lostTo(1_000, 1), replay.lostTo(10, null)]).toEqual([
    null,
    null,
    1_000,
  ]);
  // The number 2,000 was never used: all events up to the last count as lost.
  expect(replay.lostTo(2_000, null)).toBe(1_001);
  for (let i = 0; i < MAX_REPLAY_EVENTS; i++) replay.add(2, null, new Uint8Array(1));
  expect(replay.lostTo(10, null)).toBe(replay.last);
});

test("a resume from another owner's numbers is answered with a gap", () => {
  const replay = new ReplayBuffer(1_000);
  for (let i = 0; i < 5; i++) replay.add(3, null, new Uint8Array(1));
  // Numbers of an owner that went on without the store, under epoch 1.
  expect([1_002, 1_005, 1_009].map((after) => replay.lostTo(after, 1))).toEqual([
    1_000,
    1_000,
    1_000,
  ]);
  expect([replay.lostTo(1_002, 3), replay.lostTo(1_000, 1)]).toEqual([null, null]);
});
