/** Covers src/lambda/scoped_modules.ts: modules used from inside a resource. */
import { expect, test } from "vitest";
import { defineApp, type ModuleProxy, Resource } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { calc, type CalcApp, CallGate, LASTING, market, until, untilBy } from "./market.ts";

class Office extends Resource {
  #proxy: ModuleProxy | null = null;

  async discovered(digits: number): Promise<unknown> {
    this.#proxy ??= await this.node.discover("calc", { capacity: 2 });
    return await this.#proxy["pi"]?.(digits);
  }

  async requested(digits: number): Promise<unknown> {
    return await this.node.request("calc", "pi", [digits]);
  }

  async held(): Promise<unknown> {
    this.#proxy ??= await this.node.discover("calc");
    return await this.#proxy["hold"]?.(1).catch((error) => {
      outcomes.push(error);
      throw error;
    });
  }

  /** The errors of invalid options, for each way to buy. */
  async refused(options: never): Promise<unknown> {
    const proxy = await this.node.discover("calc");
    const asked = [
      this.node.discover("calc", options),
      this.node.request("calc", "pi", [1], options),
      proxy.$plb.call("pi", [1], options),
      this.node.call("offices", "other", "seen", [], options),
    ];
    const settled = await Promise.allSettled(asked);
    return settled.map((it) =>
      it.status === "rejected" && `${it.reason.code}: ${it.reason.message}`
    );
  }

  async seen(): Promise<unknown> {
    const [modules, books, authorities] = await Promise.all([
      this.node.modules(),
      this.node.exchange("calc"),
      this.node.authorities(),
    ]);
    return [modules.length, books.length > 0, authorities.length];
  }
}

const outcomes: unknown[] = [];
const app = defineApp({
  resources: { offices: { class: Office, idleAfterMs: 10 } },
}) as unknown as CalcApp;

test("a resource discovers, requests and lists modules; its capacity is returned when it stops", async () => {
  const clock = fakeClock();
  const made = market(clock);
  const a = await made.node("a", LASTING);
  const b = await made.node("b", LASTING, app);
  const listener = a.publish(calc(new CallGate()), { capacity: 4 });
  const office = b.resource("offices", "one") as unknown as Office;
  expect(await office.discovered(2)).toBe("3.14");
  expect(listener.stats().granted).toBe(2);
  expect(await office.requested(3)).toEqual({ result: "3.141", node: "a", version: "1.0.0" });
  expect(await office.seen()).toEqual([1, true, 2]);
  await untilBy(clock, () => b.stats().resources === 0, "it is let go");
  await untilBy(clock, () => listener.stats().granted === 0, "the capacity is back");
});

test("unknown options are rejected in a resource, too", async () => {
  const made = market();
  const a = await made.node("a", LASTING, app);
  a.publish(calc(new CallGate()), { capacity: 4 });
  const office = a.resource("offices", "one") as unknown as Office;
  for (
    const [options, message] of [
      [null, "bad_request: options is null, it must be an object"],
      [{ signal: 1 }, "bad_request: signal is 1, it must be an AbortSignal"],
      [{ timeoutMs: "5" }, 'bad_request: timeoutMs is "5", it must be 1 to 300000'],
    ] as const
  ) expect(await office.refused(options as never)).toEqual(Array(4).fill(message));
});

test("module calls of a resource end with its caller's deadline", async () => {
  const clock = fakeClock();
  const made = market(clock);
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING, app)];
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 1 });
  const call = b.call("offices", "late", "held", [], { timeoutMs: 150 });
  await until(() => gate.running === 1, "its function runs");
  await expect(clock.run(call)).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
  await until(() => outcomes.length === 1, "the module call was given up, too");
  expect(outcomes[0]).toMatchObject({ code: "timeout", maybeExecuted: true });
  await until(() => gate.aborted === 1, "its function saw that");
});
