/**
 * The runtime suite on the adapter of the runtime that runs this file.
 *
 * Covers adapters/platform/bun.ts.
 */
import { describe, expect, it } from "vitest";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { runtimeSuite } from "../conformance/runtime.ts";

const { name, version } = await detectRuntime();

describe(`runtime ${name} ${version}`, () => {
  runtimeSuite(detectRuntime);
});

describe("the system's clock and randomness", () => {
  it("runs timers in order, never before the call returns, and cancels them", async () => {
    const ran: string[] = [];
    const started = systemClock.now();
    await new Promise<void>((resolve) => {
      systemClock.after(200, () => {
        ran.push("late");
        resolve();
      });
      systemClock.after(-1, () => ran.push("past"));
      systemClock.after(5, () => ran.push("cancelled")).cancel();
      systemClock.after(2 ** 40, () => ran.push("far")).cancel();
      ran.push("now");
    });
    expect(ran).toEqual(["now", "past", "late"]);
    expect(systemClock.now() - started).toBeGreaterThanOrEqual(200);
  });

  it("waits out a delay that setTimeout can't hold", async () => {
    let ran = false;
    const timer = systemClock.after(2 ** 31, () => ran = true);
    await new Promise((resolve) => setTimeout(resolve, 5));
    timer.cancel();
    expect(ran).toBe(false);
  });

  it("draws UUIDs of version 4 and numbers from 0 to 1", () => {
    expect(systemRandom.uuid()).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-/);
    expect(systemRandom.uuid()).not.toBe(systemRandom.uuid());
    expect(systemRandom.next()).toBeGreaterThanOrEqual(0);
    expect(systemRandom.next()).toBeLessThan(1);
  });
});
