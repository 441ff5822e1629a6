/** The replay buffer of a resource's events: what it keeps of the memory that they came in. */
import { expect, test } from "vitest";
import { MAX_REPLAY_EVENTS } from "../../src/limits.ts";
import { Replay } from "../../src/resource/replay.ts";

test("an event keeps its own bytes, not the buffer that they came in", () => {
  const replay = new Replay(0);
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
