/** Covers src/registry/heartbeats.ts: when a node renews its lease. */
import { beforeEach, describe, expect, test } from "vitest";
import { Heartbeats } from "../../src/registry/heartbeats.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";

const HEARTBEAT_MS = 2_000;

let clock: FakeClock;
let sent: number[];
let heartbeats: Heartbeats;

beforeEach(() => {
  clock = fakeClock();
  const began = clock.now();
  sent = [];
  heartbeats = new Heartbeats(clock, HEARTBEAT_MS, () => {
    sent.push(clock.now() - began);
    heartbeats.schedule(false);
  });
  heartbeats.schedule(false);
});

const pass = (ms: number) => clock.run(new Promise<void>((resolve) => clock.after(ms, resolve)));

describe("a renewal", () => {
  test("is sent once a heartbeat, and four times while a member is suspected", async () => {
    await pass(4_100);
    expect(sent).toEqual([2_000, 4_000]);
    heartbeats.schedule(true);
    await pass(500);
    expect(sent.at(-1)).toBe(4_600);
  });

  test("that failed is sent again soon, with pauses that grow to 250 ms, until one succeeds", async () => {
    await pass(2_000);
    for (let i = 0; i < 6; i++) {
      heartbeats.failed();
      await pass(250);
    }
    expect(sent.slice(0, 5)).toEqual([2_000, 2_050, 2_350, 2_700, 3_000]);
    heartbeats.succeeded();
    const before = sent.length;
    await pass(1_900);
    expect(sent.length).toBe(before);
    await pass(350);
    expect(sent.length).toBe(before + 1);
  });

  test("that is still unanswered is not repeated before the next heartbeat", async () => {
    await pass(2_000);
    heartbeats.failed();
    await pass(1_900);
    expect(sent).toEqual([2_000, 2_050]);
  });

  test("is reported as failed once a heartbeat", async () => {
    const logged: boolean[] = [];
    for (let i = 0; i < 20; i++) {
      logged.push(heartbeats.failed());
      await pass(250);
    }
    expect(logged.filter(Boolean).length).toBe(3);
    heartbeats.succeeded();
    expect(heartbeats.failed()).toBe(true);
  });

  test("is no longer sent after the stop", async () => {
    heartbeats.failed();
    heartbeats.stop();
    await pass(10_000);
    expect(sent).toEqual([]);
    heartbeats.failed();
    await pass(10_000);
    expect(sent).toEqual([]);
  });
});
