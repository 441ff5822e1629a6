/** When a lease holds, and when a check may take the result of the last one. */
import { expect, test } from "vitest";
import type { Clock } from "../../src/ports/clock.ts";
import { Lease, timing } from "../../src/registry/lease.ts";

/** A clock that is set by hand, and counts the readings of its monotonic part. */
class HandClock implements Clock {
  monotonic = 1_000;
  wallMs = 5_000;
  reads = 0;

  now(): number {
    this.reads++;
    return this.monotonic;
  }

  wall(): number {
    return Math.floor(this.wallMs);
  }

  after(): { cancel(): void } {
    return { cancel: () => {} };
  }

  pass(ms: number): void {
    this.monotonic += ms;
    this.wallMs += ms;
  }
}

/** A lease of 3 s, held since now. */
function held(): { clock: HandClock; lease: Lease; lapses: () => number } {
  const clock = new HandClock();
  let lapses = 0;
  const lease = new Lease(clock, timing("fast"), () => lapses++);
  expect(lease.confirm(lease.sendTime())).toBe(true);
  clock.reads = 0;
  return { clock, lease, lapses: () => lapses };
}

test("checks in one millisecond compare both clocks once", () => {
  const { clock, lease } = held();
  for (let n = 0; n < 5; n++) expect(lease.holds()).toBe(true);
  expect(clock.reads).toBe(0);
  clock.pass(1);
  for (let n = 0; n < 5; n++) expect(lease.holds()).toBe(true);
  expect(clock.reads).toBe(1);
  expect(lease.checkedAt).toBe(1_001);
});

test("a suspended machine has lost its lease at the first check after it wakes", () => {
  const { clock, lease, lapses } = held();
  expect(lease.holds()).toBe(true);
  clock.wallMs += 3_100;
  expect(lease.holds()).toBe(false);
  expect(lapses()).toBe(1);
});

test("a wall clock that was set back ends the lease at the next check", () => {
  const { clock, lease } = held();
  expect(lease.holds()).toBe(true);
  clock.wallMs -= 1_000;
  expect(lease.holds()).toBe(false);
});

test("in its last 2 ms each check reads both clocks", () => {
  const { clock, lease } = held();
  clock.pass(2_998.5);
  expect(lease.holds()).toBe(true);
  expect(lease.holds()).toBe(true);
  expect(clock.reads).toBe(2);
  // The wall clock still gives the same reading.
  clock.monotonic += 1.5;
  expect(lease.holds()).toBe(false);
});

test("a renewal makes the next check a full one", () => {
  const { clock, lease } = held();
  const sent = lease.sendTime();
  clock.pass(500);
  expect(lease.holds()).toBe(true);
  clock.reads = 0;
  // The wall clock of this renewal was wrong by more than the allowed stall.
  expect(lease.confirm({ ...sent, now: sent.now + 400, wall: sent.wall + 9_000 })).toBe(false);
  expect(clock.reads).toBeGreaterThan(0);
});
