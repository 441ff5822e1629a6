/** Channels under simulation: no message is lost, told twice or out of place. */
import { expect, test } from "vitest";
import app from "../../examples/channels/app.ts";
import { simulate } from "../../testing.ts";

const CHANNELS = ["lobby", "garden", "attic"];

test("a channel's history has no gaps, and all that was acknowledged", async () => {
  const report = await simulate(app, {
    seeds: 50,
    nodes: ["us-east-1/a", "us-east-1/b", "eu-west-1/c"],
    faults: "wild",
    clients: 4,

    // What each client does, again and again, while nodes crash and paths are blocked.
    async workload({ atlas, random, caller, now }) {
      const channel = atlas.resource("channels", random.pick(CHANNELS), { timeoutMs: 2_000 });
      if (random.chance(0.8)) await channel.send(caller, `at ${now()}`);
      else await channel.history();
    },

    // What must hold after healing.
    async check({ atlas, history, fail }) {
      for (const id of CHANNELS) {
        const messages = await atlas.resource("channels", id).history();
        messages.forEach(({ seq }, i) => {
          if (seq !== i + 1) fail(`${id}: message ${i + 1} has number ${seq}`);
        });
        for (const call of history) {
          if (call.id !== id || call.method !== "send" || call.outcome !== "ok") continue;
          const [from, text] = call.args;
          const kept = messages[(call.result as { seq: number }).seq - 1];
          if (kept?.from !== from || kept?.text !== text) {
            fail(`${id}: ${from} was told that "${text}" is kept, and it isn't there`);
          }
        }
      }
    },
  });
  expect(report.answered).toBeGreaterThan(report.calls / 2);
});
