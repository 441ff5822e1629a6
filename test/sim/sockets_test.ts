/** Client sockets in simulated clusters, with faults: each event once, in order, or a gap. */
import { expect, test } from "vitest";
import { runSockets } from "./sockets.ts";

const SEEDS = 40;

test("clients get every event once and in order, or a gap is reported", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations } = await runSockets(seed);
    expect(violations, `seed ${seed}`).toEqual([]);
  }
}, 300_000);

test("a seed gives the same trace each time", async () => {
  expect((await runSockets(5)).hash).toBe((await runSockets(5)).hash);
});
