/** Nodes on a fake clock: tests of minutes take no real time. */
import { expect, test } from "vitest";
import { type App, defineApp, Resource, type ResourceType } from "../../mod.ts";
import { fakeClock, testNode } from "../../testing.ts";

const stops: string[] = [];

class Counter extends Resource {
  async add(): Promise<number> {
    const total = ((await this.storage.get<number>("n")) ?? 0) + 1;
    await this.storage.put("n", total);
    return total;
  }

  /** Ends only when its caller has aborted. */
  async wait(): Promise<void> {
    await new Promise((resolve) => this.signal.addEventListener("abort", resolve));
  }

  override onStop(reason: string): void {
    stops.push(reason);
  }
}

const app: App<{ counters: ResourceType<Counter> }> = defineApp({
  resources: { counters: { class: Counter, idleAfterMs: 60_000 } },
});

test("an idle resource gets the reason why it stops", async () => {
  stops.length = 0;
  const { node, clock, close } = await testNode(app);
  await node.resource("counters", "visits").add();
  await clock.advance(120_000);
  expect(stops).toEqual(["idle"]);
  await close();
});

test("a call that takes too long fails at its deadline", async () => {
  const { node, clock, close } = await testNode(app);
  const waiting = node.resource("counters", "slow", { timeoutMs: 5_000 }).wait();
  await expect(clock.run(waiting)).rejects.toMatchObject({ code: "timeout" });
  expect(clock.now()).toBeGreaterThanOrEqual(5_000);
  await close();
});

test("two nodes on one clock call each other's counters, and one takes over the other's", async () => {
  const first = await testNode(app);
  const { clock, store, network } = first;
  const second = await testNode(app, { node: "node-2", clock, store, network });
  expect(await clock.run(first.node.resource("counters", "c").add())).toBe(1);
  expect(await clock.run(second.node.resource("counters", "c").add())).toBe(2);
  await first.close();
  expect(await clock.run(second.node.resource("counters", "c").add())).toBe(3);
  await second.close();
});

test("a wall clock that jumps ends the lease, as after a suspend", async () => {
  const { node, clock, close } = await testNode(app);
  const life = node.incarnation;
  clock.jump(60_000);
  await clock.advance(10_000);
  expect(node.incarnation).not.toBe(life);
  expect(node.stats().lapses).toBe(1);
  await close();
});

test("timers fire in order, each at its time, and may be cancelled", async () => {
  const clock = fakeClock();
  const fired: [string, number][] = [];
  const fire = (name: string) => (): void => void fired.push([name, clock.now()]);
  clock.after(20, fire("late"));
  clock.after(10, fire("first"));
  clock.after(10, fire("second"));
  clock.after(15, fire("never")).cancel();
  clock.after(5, () => clock.after(2, fire("set by another")));
  const wall = clock.wall();
  await clock.advance(15);
  expect(fired).toEqual([["set by another", 7], ["first", 10], ["second", 10]]);
  expect([clock.now(), clock.wall() - wall, clock.pending]).toEqual([15, 15, 1]);
});

test("advances that overlap follow each other", async () => {
  const clock = fakeClock();
  await Promise.all([clock.advance(10), clock.advance(5)]);
  expect(clock.now()).toBe(15);
});

test("impossible advances are refused", async () => {
  const clock = fakeClock();
  await expect(clock.advance(-1)).rejects.toThrow("ms is -1, it must be a number from 0");
  await expect(clock.run(new Promise(() => {}))).rejects.toThrow("not of the fake clock");
  clock.after(50, () => {});
  await expect(clock.run(new Promise(() => {}), 20)).rejects.toThrow("not done within 20 ms");
});
