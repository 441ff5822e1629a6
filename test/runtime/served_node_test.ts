/** A served node that can't be reached any more releases its resources and stops. */
import { expect, test } from "vitest";
import { servedNode } from "../../adapters/server/served_node.ts";
import { memoryStore } from "../../adapters/store/memory.ts";
import { inProcessTransport } from "../../adapters/transport/in_process.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { createNode, defineApp, Resource } from "../../mod.ts";
import { AtlasError } from "../../src/errors.ts";

class Counter extends Resource {
  add(): number {
    return this.epoch;
  }
}

test("a node whose listener is lost drains, stops, and logs the reason", async () => {
  const app = defineApp({ resources: { counters: Counter } });
  const events: string[] = [];
  const node = await createNode(app, {
    region: "local",
    node: "alone",
    store: memoryStore(),
    transport: inProcessTransport(),
    clock: systemClock,
    random: systemRandom,
    onEvent: ({ event }) => void events.push(event),
  });
  await node.resource("counters", "a").add();
  const done: string[] = [];
  let lose = (_error: AtlasError) => {};
  const served = servedNode(node, {
    url: "http://127.0.0.1:1",
    http: {
      answer: () => null,
      fetch: async () => new Response(),
      refuse: () => new Response(),
      connect: () => new Response(),
      stop: async () => void done.push("answered"),
    },
    closeServer: async () => void done.push("server"),
    closeStore: async () => void done.push("store"),
    lost: new Promise((resolve) => lose = resolve),
  });
  lose(new AtlasError("unavailable", "nobody is let in"));
  expect((await served.closed)?.message).toBe("nobody is let in");
  expect(served.state).toBe("closed");
  expect(done).toEqual(["answered", "answered", "server", "store"]);
});
