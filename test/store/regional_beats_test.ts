/** Heartbeats of members in other regions. */
import { expect, test } from "vitest";
import {
  type AtlasNode,
  createNode,
  defineApp,
  inProcessNetwork,
  inProcessTransport,
  Resource,
} from "../../mod.ts";
import { timing } from "../../src/registry/lease.ts";
import { fakeClock } from "../../testing.ts";
import { freshMember, own } from "../conformance/store_kit.ts";
import { Regions } from "./regions.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

function regions(): Regions {
  const world = new Regions();
  cleanups.push(() => world.close());
  return world;
}

class Counter extends Resource {
  add(): number {
    return 1;
  }
}

const app = defineApp({ resources: { counters: Counter } });

test("an owner in another region whose heartbeat stops is not confirmed", async () => {
  const world = regions();
  const clock = fakeClock();
  const { heartbeatMs } = timing("standard");
  const network = inProcessNetwork();
  const node: AtlasNode<typeof app> = await createNode(app, {
    region: "us",
    node: "one",
    store: await world.handle("us", { now: () => clock.now() }),
    transport: inProcessTransport(network),
    clock,
  });
  cleanups.push(() => clock.run(node.close({ drainMs: 100 })));
  const eu = await world.handle("eu");
  const there = freshMember({ region: "eu" });
  await eu.register(there, { ifFree: false });
  await own(eu, "counters/eu~x", { incarnation: there.incarnation });
  const confirmed = () =>
    clock.run(node.lookup("counters", "eu~x", { require: "confirmed" })).then(
      ({ verdict }) => verdict,
      ({ code }) => code,
    );
  for (let seq = 1; seq <= 5; seq++) {
    await eu.renew(there.incarnation, seq, []);
    expect(await confirmed()).toBe("confirmed");
    await clock.advance(heartbeatMs);
  }
  await clock.advance(2 * heartbeatMs);
  expect(await confirmed()).toBe("unavailable");
  await eu.renew(there.incarnation, 6, []);
  expect(await confirmed()).toBe("confirmed");
});
