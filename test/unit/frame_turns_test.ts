/**
 * Covers adapters/platform/frame_turns.ts: the frames of client sockets on a server that delivers
 * all frames of a chunk at once.
 */
import { beforeEach, expect, test } from "vitest";
import { type FrameQueue, FrameTurns } from "../../adapters/platform/frame_turns.ts";
import { FRAMES_TURN_MS, MAX_HELD_BYTES, MAX_SOCKET_BUFFER_BYTES } from "../../src/limits.ts";

/** How long one frame takes, in ms. */
const FRAME_MS = 2;

let now: number;
let handled: string[];
let next: (() => void)[];
let turns: FrameTurns;

beforeEach(() => {
  now = 0;
  handled = [];
  next = [];
  turns = new FrameTurns({ now: () => now, later: (run) => void next.push(run) });
});

/** Waits for this many turns of the event loop. */
function goOn(times = 1): void {
  for (; times > 0; times--) for (const run of next.splice(0)) run();
}

function queue(name: string): FrameQueue {
  return turns.queue({
    message: (data) => {
      now += FRAME_MS;
      handled.push(typeof data === "string" ? `${name}${data}` : `${name}${data.join()}`);
    },
    full: () => handled.push(`${name} is full`),
  });
}

function pushMany(frames: FrameQueue, count: number): void {
  for (let i = 0; i < count; i++) frames.push(String(i));
}

test("slow frames are held until the event loop turns, and then delivered one a turn", () => {
  pushMany(queue("a"), 1_000);
  const atOnce = handled.length;
  // The first frames are not timed: the event loop is checked only after them.
  expect(atOnce).toBeLessThan(FRAMES_TURN_MS / FRAME_MS + 20);
  goOn();
  expect(handled.length).toBe(atOnce + 1);
  goOn(2_000);
  expect(handled).toEqual(Array.from({ length: 1_000 }, (_, i) => `a${i}`));
  expect(next).toEqual([]);
});

test("a few frames a turn are delivered at once", () => {
  const frames = queue("a");
  for (let turn = 0; turn < 100; turn++) {
    pushMany(frames, 3);
    goOn();
  }
  expect(handled.length).toBe(300);
});

test("a large frame counts as several", () => {
  const frames = queue("a");
  frames.push("x".repeat(100_000));
  now += 1_000;
  frames.push("later");
  expect(handled.length).toBe(1);
  goOn();
  expect(handled.at(-1)).toBe("alater");
});

test("sockets with held frames take turns, and a socket without held frames is served at once", () => {
  pushMany(queue("a"), 100);
  const before = handled.length;
  pushMany(queue("b"), 3);
  pushMany(queue("c"), 3);
  goOn(6);
  expect(handled.slice(before).map((it) => it[0])).toEqual(["a", "b", "c", "a", "b", "c"]);
  queue("d").push("!");
  expect(handled.at(-1)).toBe("d!");
});

test("the bytes of held frames are copied, because the server may reuse its buffer", () => {
  const frames = queue("a");
  pushMany(frames, 40);
  const bytes = new Uint8Array([1, 2, 3]);
  frames.push(bytes);
  bytes.fill(0);
  goOn(100);
  expect(handled.at(-1)).toBe("a1,2,3");
});

test("a socket's close is delivered after its frames", () => {
  const frames = queue("a");
  pushMany(frames, 40);
  frames.end(() => handled.push("end"));
  expect(handled).not.toContain("end");
  goOn(100);
  expect(handled.length).toBe(41);
  expect(handled.at(-1)).toBe("end");
  const quiet = queue("b");
  quiet.end(() => handled.push("end of b"));
  expect(handled.at(-1)).toBe("end of b");
});

test("held bytes of one socket are bounded, and beyond that no frame of it is delivered", () => {
  const frames = queue("a");
  const size = 100_000;
  let pushed = 0;
  while (handled.at(-1) !== "a is full") frames.push(new Uint8Array(size).fill(pushed++));
  expect((pushed - 20) * size).toBeLessThan(MAX_SOCKET_BUFFER_BYTES);
  const before = handled.length;
  goOn(1_000);
  expect(handled.length).toBe(before);
  const empty = queue("b");
  pushMany(empty, 40);
  for (let i = 0; handled.at(-1) !== "b is full"; i++) {
    expect(i).toBeLessThan(MAX_SOCKET_BUFFER_BYTES / 64);
    empty.push("");
  }
});

test("held bytes of all sockets are bounded, and freed when sockets are gone", () => {
  pushMany(queue("first"), 40);
  const held = MAX_SOCKET_BUFFER_BYTES - 1_000;
  const all = Array.from({ length: MAX_HELD_BYTES / MAX_SOCKET_BUFFER_BYTES + 1 }, (_, i) => {
    const frames = queue(`${i}`);
    frames.push("");
    now += FRAMES_TURN_MS;
    frames.push(new Uint8Array(held));
    return frames;
  });
  expect(handled.filter((it) => it.endsWith("is full"))).toEqual([`${all.length - 1} is full`]);
  for (const frames of all) {
    frames.drop();
    frames.end(() => {});
  }
  goOn(100);
  handled = [];
  pushMany(queue("z"), 40);
  const last = queue("y");
  last.push(new Uint8Array(held));
  expect(handled).not.toContain("y is full");
});
