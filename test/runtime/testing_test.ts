/** The testing entry on this runtime: a seed of the simulator, and a node on a fake clock. */
import { expect, test } from "vitest";
import app from "../../examples/channels/app.ts";
import { simulate, testNode } from "../../testing.ts";

test("a simulation with the same seed repeats itself", async () => {
  const play = () =>
    simulate(app, {
      seed: 2,
      durationMs: 5_000,
      async workload({ atlas, caller }) {
        await atlas.resource("channels", "lobby").send(caller, "hi");
      },
      async check({ atlas, history, fail }) {
        const messages = await atlas.resource("channels", "lobby").history();
        const sent = history.filter(({ outcome }) => outcome === "ok").length;
        if (messages.length < sent) fail(`${sent} were sent, ${messages.length} are kept`);
      },
    });
  const first = await play();
  expect(first.answered).toBeGreaterThan(0);
  expect(await play()).toEqual(first);
});

test("a node on a fake clock deactivates idle resources", async () => {
  const { node, clock, close } = await testNode(app);
  await node.resource("channels", "lobby").send("ann", "hi");
  expect(node.stats().resources).toBe(1);
  await clock.advance(120_000);
  expect(node.stats().resources).toBe(0);
  await close();
});
