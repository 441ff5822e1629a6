/**
 * Steps that the registry refuses: which error callers get, and what happens to owner and state.
 *
 * Covers src/registry/guarded_store.ts.
 */
import { describe, expect, it } from "vitest";
import { AtlasError, memoryStore, type Store } from "../../mod.ts";
import { stepRefused } from "../../src/model/refusal.ts";
import { fakeClock } from "../../testing.ts";
import { BRISK, cluster, until } from "./cluster.ts";

type Step = keyof Store;
type Answer = () => Error | null;

/** A memory store whose steps fail as `before` and `after` say: before they are applied, or after. */
function failing(): {
  store: Store;
  before: Map<Step, Answer>;
  after: Map<Step, Answer>;
  count: Map<Step, number>;
} {
  const [before, after] = [new Map<Step, Answer>(), new Map<Step, Answer>()];
  const count = new Map<Step, number>();
  const store = new Proxy(memoryStore(), {
    get: (target, name: Step) => {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        count.set(name, (count.get(name) ?? 0) + 1);
        const refused = before.get(name)?.();
        if (refused) return Promise.reject(refused);
        const reply = (value as (...args: unknown[]) => unknown).apply(target, args);
        const lost = after.get(name)?.();
        return lost ? (reply as Promise<unknown>).then(() => Promise.reject(lost)) : reply;
      };
    },
  });
  return { store, before, after, count };
}

const HOST = "the Redis at 10.0.0.1:6379";

function refusal(reply: string): Answer {
  return () => stepRefused(reply, `${HOST}: ${reply}`);
}

const FULL = refusal("OOM command not allowed when used memory > 'maxmemory'.");
const REPLICA = refusal("READONLY You can't write against a read only replica.");

describe("a turn that the registry refuses", () => {
  for (
    const [kind, reply, message] of [
      ["is full", "OOM command not allowed", /memory is full \(OOM\)/],
      ["can't save", "MISCONF Errors writing to the AOF file", /can't save to its disk/],
      ["has used up its quota", "ERR max daily request limit exceeded. Limit: 1", /quota/],
      ["is over its capacity", "ERR DB capacity quota exceeded", /is full \(capacity quota/],
    ] as const
  ) {
    it(`because it ${kind}, fails at once with that reason, and its owner keeps the key`, async () => {
      const clock = fakeClock();
      const { store, before } = failing();
      const node = await cluster(store, clock).node("a");
      const counter = node.resource("counters", "x", { timeoutMs: 60_000 });
      const { epoch } = await clock.run(counter.add(1));
      before.set("commit", refusal(reply));
      const asked = clock.now();
      const error = await clock.run(counter.add(1).then(() => null, (it) => it));
      expect(error).toMatchObject({ code: "unavailable", retryable: true, maybeExecuted: true });
      expect(error.message).toMatch(message);
      expect(error.message).not.toContain("10.0.0.1");
      expect(clock.now() - asked).toBeLessThan(1_000);
      expect(await clock.run(counter.total())).toBe(1);
      before.clear();
      expect(await clock.run(counter.add(1))).toEqual({ total: 2, epoch });
    });
  }

  it("temporarily is retried until it is committed", async () => {
    const clock = fakeClock();
    const { store, before, count } = failing();
    const node = await cluster(store, clock).node("a");
    const counter = node.resource("counters", "x", { timeoutMs: 60_000 });
    const { epoch } = await clock.run(counter.add(1));
    before.set("commit", REPLICA);
    const added = counter.add(1);
    await clock.advance(3_000);
    expect(count.get("commit")).toBeGreaterThan(3);
    before.clear();
    expect(await clock.run(added)).toEqual({ total: 2, epoch });
  });

  it("for longer than its deadline fails with the reason, before the deadline", async () => {
    const clock = fakeClock();
    const { store, before } = failing();
    const made = cluster(store, clock);
    const [a, b] = [await made.node("a"), await made.node("b")];
    for (const node of [a, b]) {
      const counter = node.resource("counters", "x", { timeoutMs: 2_000 });
      const { epoch } = await clock.run(counter.add(1));
      before.set("commit", REPLICA);
      await expect(clock.run(counter.add(1))).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringMatching(/it is a replica, and takes no writes \(READONLY\)/),
      });
      before.clear();
      expect(await clock.run(counter.add(1))).toMatchObject({ epoch });
    }
  });

  it("after an attempt whose answer was lost is reported as maybe executed", async () => {
    const clock = fakeClock();
    const { store, before, after } = failing();
    const node = await cluster(store, clock).node("a");
    const counter = node.resource("counters", "x", { timeoutMs: 60_000 });
    await clock.run(counter.add(1));
    after.set("commit", () => {
      after.clear();
      before.set("commit", FULL);
      return new AtlasError("unavailable", "the connection was lost");
    });
    const added = counter.add(1);
    await clock.advance(2_000);
    before.clear();
    expect(await clock.run(added)).toMatchObject({ total: 2 });
    expect(await clock.run(counter.total())).toBe(2);
  });

  it("with an idempotency key fails in the same way, and runs once when it is repeated", async () => {
    const clock = fakeClock();
    const { store, before } = failing();
    const node = await cluster(store, clock).node("a");
    const options = { idempotencyKey: "k", timeoutMs: 60_000 };
    const counter = node.resource("counters", "x", options);
    await clock.run(node.resource("counters", "x").add(1));
    before.set("commit", FULL);
    await expect(clock.run(counter.add(1))).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/OOM/),
    });
    before.clear();
    for (let i = 0; i < 2; i++) expect(await clock.run(counter.add(1))).toMatchObject({ total: 2 });
  });
});

it("a key that the registry has no room for is refused at once, with that reason", async () => {
  const clock = fakeClock();
  const { store, before } = failing();
  const node = await cluster(store, clock).node("a");
  before.set("claim", FULL);
  const asked = clock.now();
  await expect(clock.run(node.resource("counters", "x", { timeoutMs: 60_000 }).add(1)))
    .rejects.toMatchObject({
      code: "unavailable",
      retryable: true,
      maybeExecuted: false,
      message: expect.stringMatching(/^the registry refuses it: its memory is full \(OOM\)/),
    });
  expect(clock.now() - asked).toBeLessThan(1_000);
});

it("callers of a node whose lease ended get the reason why it was not renewed", async () => {
  const clock = fakeClock();
  const { store, before } = failing();
  const made = cluster(store, clock);
  const node = await made.node("a", { lease: BRISK });
  const counter = node.resource("counters", "x", { timeoutMs: 3_000 });
  await clock.run(counter.add(1));
  const running = node.resource("counters", "x", { timeoutMs: 60_000 }).hang()
    .catch((error) => error);
  const why = refusal("MISCONF Redis is configured to save RDB snapshots");
  for (const step of ["renew", "register", "leave", "commit"] as const) before.set(step, why);
  await until(async () => (await clock.advance(100), node.state === "fenced"), "it is fenced");
  const WHY = /: its node's lease can't be renewed: the registry refuses it: it can't save/;
  expect(await running).toMatchObject({ message: expect.stringMatching(WHY) });
  await expect(clock.run(counter.add(1))).rejects.toMatchObject({
    retryable: true,
    message: expect.stringMatching(WHY),
  });
  before.clear();
  await until(async () => (await clock.advance(100), node.state === "serving"), "it serves");
  expect(await clock.run(counter.add(1))).toMatchObject({ total: 2 });
});
