/**
 * The async context suite on this runtime: the guarantees of the port, over each kind of
 * asynchronous continuation.
 */
import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { systemContext } from "../../adapters/system/async_context.ts";
import type { AsyncContext } from "../../src/ports/async_context.ts";

const context: AsyncContext = systemContext;

/** Ways in which code goes on later; each MUST run `then` in the context it was started in. */
const WAYS: Record<string, (then: () => void) => unknown> = {
  "an await": async (then) => {
    await null;
    then();
  },
  "awaits in a chain": async (then) => {
    const deep = async (left: number): Promise<void> => {
      await null;
      if (left > 0) await deep(left - 1);
    };
    await deep(5);
    then();
  },
  "an await of a rejection": async (then) => {
    await Promise.reject(new Error("x")).catch(() => {});
    then();
  },
  "a promise that somebody else resolves": (then) => outside.then(then),
  "an await of a thenable": async (then) => {
    await { then: (resolve: () => void) => (then(), resolve()) };
  },
  "a thenable that a promise was resolved with": (then) =>
    Promise.resolve({ then: (resolve: () => void) => (then(), resolve()) }),
  "a timer": (then) => new Promise<void>((resolve) => setTimeout(() => resolve(then()), 1)),
  "a microtask": (then) => new Promise<void>((resolve) => queueMicrotask(() => resolve(then()))),
  "an async generator": async (then) => {
    async function* items(): AsyncGenerator<number> {
      yield 1;
      await null;
      then();
      yield 2;
    }
    for await (const item of items()) expect(item).toBeGreaterThan(0);
  },
  "parallel work": async (then) => {
    await Promise.all([1, 2].map((ms) => new Promise((resolve) => setTimeout(resolve, ms))));
    then();
  },
  "an emitter": (then) => {
    const emitter = new EventEmitter();
    emitter.on("go", then);
    emitter.emit("go");
  },
  "an abort": (then) => {
    const controller = new AbortController();
    controller.signal.addEventListener("abort", then);
    controller.abort();
  },
};

let release = (): void => {};
const outside = new Promise<void>((resolve) => (release = resolve));
setTimeout(() => release(), 20);

test("outside of every context there is none", () => {
  expect(context.current()).toBeUndefined();
});

test("run returns the function's result, throws its error, and restores the context", () => {
  const [a, b] = [{}, {}];
  expect(context.run(a, () => 5)).toBe(5);
  const refusal = new Error("no");
  expect(() =>
    context.run(a, () => {
      throw refusal;
    })
  ).toThrow(refusal);
  context.run(a, () => {
    context.run(b, () => expect(context.current()).toBe(b));
    expect(context.current()).toBe(a);
  });
  expect(context.current()).toBeUndefined();
});

test("awaiting a promise from inside doesn't bring the caller inside", async () => {
  await context.run({}, async () => await null);
  expect(context.current()).toBeUndefined();
});

test.each(Object.keys(WAYS))(
  "%s continues in its own context",
  async (name) => {
    const way = WAYS[name] as (then: () => void) => unknown;
    const values = [{ n: 0 }, { n: 1 }, { n: 2 }];
    const seen: unknown[] = [];
    await Promise.all(
      values.map((value, n) => context.run(value, () => way(() => (seen[n] = context.current())))),
    );
    expect(seen.map((it, n) => it === values[n])).toEqual([true, true, true]);
  },
);

test("the awaiting code doesn't get the resolver's context", async () => {
  let resolve = (): void => {};
  const waiting = context.run({ who: "waits" }, async () => {
    await new Promise<void>((given) => (resolve = given));
    return context.current();
  });
  context.run({ who: "resolves" }, () => resolve());
  expect(await waiting).toEqual({ who: "waits" });
});
