/** The frames of client sockets on a server that hands over all of a chunk at once. */
import { beforeEach, expect, test } from "vitest";
import { type FrameQueue, FrameTurns } from "../../adapters/platform/frame_turns.ts";
import { FRAMES_TURN_MS, MAX_HELD_BYTES, MAX_SOCKET_BUFFER_BYTES } from "../../src/limits.ts";

/** How long one frame takes, in ms. */
const FRAME_MS = 2;

let now: number;
let heard: string[];
let next: (() => void)[];
let turns: FrameTurns;

beforeEach(() => {
  now = 0;
  heard = [];
  next = [];
  turns = new FrameTurns({ now: () => now, later: (run) => void next.push(run) });
});

/** The event loop goes on, so many times. */
function goOn(times = 1): void {
  for (; times > 0; times--) for (const run of next.splice(0)) run();
}

function queue(name: string): FrameQueue {
  return turns.queue({
    message: (data) => {
      now += FRAME_MS;
      heard.push(typeof data === "string" ? `${name}${data}` : `${name}${data.join()}`);
    },
    full: () => heard.push(`${name} is full`),
  });
}

function flood(frames: FrameQueue, count: number): void {
  for (let i = 0; i < count; i++) frames.push(String(i));
}

test("frames that take long are held until the event loop goes on, and then come one a turn", () => {
  flood(queue("a"), 1_000);
  const atOnce = heard.length;
  // The first ones, before it is asked, aren't timed.
  expect(atOnce).toBeLessThan(FRAMES_TURN_MS / FRAME_MS + 20);
  goOn();
  expect(heard.length).toBe(atOnce + 1);
  goOn(2_000);
  expect(heard).toEqual(Array.from({ length: 1_000 }, (_, i) => `a${i}`));
  expect(next).toEqual([]);
});

test("few frames a turn are handled as they come", () => {
  const frames = queue("a");
  for (let turn = 0; turn < 100; turn++) {
    flood(frames, 3);
    goOn();
  }
  expect(heard.length).toBe(300);
});

test("a large frame counts as many", () => {
  const frames = queue("a");
  frames.push("x".repeat(100_000));
  now += 1_000;
  frames.push("later");
  expect(heard.length).toBe(1);
  goOn();
  expect(heard.at(-1)).toBe("alater");
});

test("sockets with held frames take turns, and one without is handled at once", () => {
  flood(queue("a"), 100);
  const before = heard.length;
  flood(queue("b"), 3);
  flood(queue("c"), 3);
  goOn(6);
  expect(heard.slice(before).map((it) => it[0])).toEqual(["a", "b", "c", "a", "b", "c"]);
  queue("d").push("!");
  expect(heard.at(-1)).toBe("d!");
});

test("bytes are copied where they are held: the server may use theirs again", () => {
  const frames = queue("a");
  flood(frames, 40);
  const bytes = new Uint8Array([1, 2, 3]);
  frames.push(bytes);
  bytes.fill(0);
  goOn(100);
  expect(heard.at(-1)).toBe("a1,2,3");
});

test("the end of a socket comes after its frames", () => {
  const frames = queue("a");
  flood(frames, 40);
  frames.end(() => heard.push("end"));
  expect(heard).not.toContain("end");
  goOn(100);
  expect(heard.length).toBe(41);
  expect(heard.at(-1)).toBe("end");
  const quiet = queue("b");
  quiet.end(() => heard.push("end of b"));
  expect(heard.at(-1)).toBe("end of b");
});

test("what is held of one socket is bounded: then nothing of it is heard any more", () => {
  const frames = queue("a");
  const size = 100_000;
  let pushed = 0;
  while (heard.at(-1) !== "a is full") frames.push(new Uint8Array(size).fill(pushed++));
  expect((pushed - 20) * size).toBeLessThan(MAX_SOCKET_BUFFER_BYTES);
  const before = heard.length;
  goOn(1_000);
  expect(heard.length).toBe(before);
  const empty = queue("b");
  flood(empty, 40);
  for (let i = 0; heard.at(-1) !== "b is full"; i++) {
    expect(i).toBeLessThan(MAX_SOCKET_BUFFER_BYTES / 64);
    empty.push("");
  }
});

test("what is held of all sockets is bounded, and room again once they are gone", () => {
  flood(queue("first"), 40);
  const held = MAX_SOCKET_BUFFER_BYTES - 1_000;
  const all = Array.from({ length: MAX_HELD_BYTES / MAX_SOCKET_BUFFER_BYTES + 1 }, (_, i) => {
    const frames = queue(`${i}`);
    frames.push("");
    now += FRAMES_TURN_MS;
    frames.push(new Uint8Array(held));
    return frames;
  });
  expect(heard.filter((it) => it.endsWith("is full"))).toEqual([`${all.length - 1} is full`]);
  for (const frames of all) {
    frames.drop();
    frames.end(() => {});
  }
  goOn(100);
  heard = [];
  flood(queue("z"), 40);
  const last = queue("y");
  last.push(new Uint8Array(held));
  expect(heard).not.toContain("y is full");
});
