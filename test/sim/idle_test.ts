/** A counter on a fake clock: a minute of idleness takes no time. */
import { expect, test } from "vitest";
import { defineApp, Resource } from "../../mod.ts";
import { testNode } from "../../testing.ts";

class Counter extends Resource {
  async add() {
    const total = ((await this.storage.get<number>("n")) ?? 0) + 1;
    await this.storage.put("n", total);
    return total;
  }
}

const app = defineApp({ resources: { counters: { class: Counter, idleAfterMs: 60_000 } } });

test("an idle counter leaves memory after a minute, and its value stays", async () => {
  const { node, clock, close } = await testNode(app);
  const counter = node.resource("counters", "visits");

  expect(await counter.add()).toBe(1);
  await clock.advance(30_000);
  expect(node.stats().resources).toBe(1);
  await clock.advance(90_000);
  expect(node.stats().resources).toBe(0);

  expect(await counter.add()).toBe(2);
  await close();
});
