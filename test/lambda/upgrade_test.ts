/**
 * Covers code updates in src/lambda/sell/listener.ts and src/lambda/buy/plb.ts: versions, and new
 * code under load.
 */
import { expect, test } from "vitest";
import { defineModule, type ModuleProxy, type Plb } from "../../mod.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

/** The capacity that a proxy holds of each version. */
function held({ $plb }: { readonly $plb: Plb }): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { version, grant, draining } of $plb.stats().channels) {
    if (!draining) sums[version] = (sums[version] ?? 0) + grant;
  }
  return sums;
}

test("with 64 callers no call fails while the code is replaced", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  const listener = a.publish(calc(gate, "1.0.0"), { capacity: 4 });
  const proxy = await b.discover("calc", { version: "^1", capacity: 4 });
  let isOver = false;
  const versions = new Set<string>();
  const callers = Array.from({ length: 64 }, async () => {
    let calls = 0;
    while (!isOver) {
      versions.add((await proxy.$plb.call("pi", [2])).version);
      calls++;
    }
    return calls;
  });
  await until(() => gate.served > 200, "the load is on");
  listener.update(calc(gate, "1.1.0"));
  // No request runs at this moment, so the drop of the old code doesn't show that the new one is
  // used.
  await until(() => versions.has("1.1.0"), "the new code runs");
  await until(() => listener.stats().codes.length === 1, "the old code was dropped");
  listener.update(calc(gate, "1.2.0"));
  await until(() => versions.has("1.2.0"), "the newest runs");
  await until(() => listener.stats().codes.length === 1, "the old code was dropped again");
  isOver = true;
  const calls = (await Promise.all(callers)).reduce((sum, it) => sum + it, 0);
  expect(gate.most).toBeLessThanOrEqual(4);
  expect(gate.served).toBe(calls);
  expect([...versions]).toEqual(["1.0.0", "1.1.0", "1.2.0"]);
  await until(() => proxy.$plb.capacity() === 4, "all capacity moved over");
});

test("running calls end on the old code, and count against capacity until then", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const [old, next] = [new CallGate(), new CallGate()];
  const listener = a.publish(calc(old, "1.0.0"), { capacity: 2 });
  const proxy = await b.discover("calc", { version: "^1", capacity: 2 });
  const running = proxy.hold(7);
  await until(() => old.running === 1, "a call runs on the old code");
  listener.update(calc(next, "1.1.0"));
  await until(() => proxy.$plb.stats().version === "1.1.0", "the proxy was swapped");
  const calls = [proxy.hold(8), proxy.hold(9)];
  await until(() => next.running === 1, "one call runs on the new code");
  expect(listener.stats()).toMatchObject({ granted: 2, running: 2, version: "1.1.0" });
  expect(listener.stats().codes.map(({ version }) => version)).toEqual(["1.1.0", "1.0.0"]);
  old.open();
  expect(await running).toBe(7);
  await until(() => next.running === 2, "its capacity moved over");
  expect(listener.stats().codes).toHaveLength(1);
  next.open();
  expect(await Promise.all(calls)).toEqual([8, 9]);
});

test("a buyer that doesn't accept the new version stays on the old one while that is sold", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  const listener = a.publish(calc(gate, "1.0.0"), { capacity: 2 });
  const proxy = await b.discover("calc", { version: "~1.0", capacity: 1 });
  listener.update(calc(gate, "2.0.0"));
  const newer = await b.discover("calc", { capacity: 1 });
  expect((await newer.$plb.call("pi", [1])).version).toBe("2.0.0");
  expect((await proxy.$plb.call("pi", [1])).version).toBe("1.0.0");
  await expect(b.discover("calc", { version: "^1", timeoutMs: 100 })).rejects.toMatchObject({
    code: "unavailable",
  });
  await proxy.$plb.close();
  await until(() => listener.stats().codes.length === 1, "the old code was dropped");
});

test("a proxy's functions follow the versions", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const one = defineModule({ name: "calc", version: "1.0.0", functions: { old: () => 1 } });
  const two = defineModule({ name: "calc", version: "1.1.0", functions: { fresh: () => 2 } });
  const listener = a.publish(one, { capacity: 1 });
  // deno-lint-ignore no-explicit-any
  const proxy: any = await b.discover("calc", { version: "*" });
  expect(Object.keys(proxy)).toEqual(["old"]);
  await expect(proxy.fresh()).rejects.toMatchObject({ code: "not_found", maybeExecuted: false });
  expect(proxy.$plb.stats().calls).toBe(0);
  listener.update(two);
  await until(() => "fresh" in proxy, "the proxy was swapped");
  expect(await proxy.fresh()).toBe(2);
  await expect(proxy.old()).rejects.toMatchObject({
    code: "not_found",
    message: 'calc 1.1.0 has no function "old"; it has: fresh',
  });
});

test("without a range the newest stable version with free capacity is bought, older ones for the rest", async () => {
  const made = market();
  const a = await made.node("a", LASTING);
  const gate = new CallGate();
  a.publish(calc(gate, "1.9.0"), { capacity: 9 });
  a.publish(calc(gate, "1.10.0"), { capacity: 1 });
  a.publish(calc(gate, "2.0.0-beta.1"), { capacity: 9 });
  const newest = await a.discover("calc", { capacity: 3, waitFor: "all" });
  expect(newest.$plb.stats()).toMatchObject({ version: "1.10.0", granted: 3 });
  expect(held(newest)).toEqual({ "1.10.0": 1, "1.9.0": 2 });
  const beta = await a.discover("calc", { version: "2.0.0-beta.1" });
  expect(beta.$plb.stats().version).toBe("2.0.0-beta.1");
});

test("code that differs only in what its functions close over is new code", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  class Greeter {
    readonly word: string;
    constructor(word: string) {
      this.word = word;
    }
    say(): string {
      return this.word;
    }
  }
  const make = (word: string) => {
    const greeter = new Greeter(word);
    // The source of a bound method is `[native code]`.
    return defineModule({ functions: { f: () => word, g: greeter.say.bind(greeter) } });
  };
  const modules = ["one", "two", "three"].map(make);
  expect(new Set(modules.map(({ hash }) => hash)).size).toBe(1);
  const [one, two, three] = modules as [typeof modules[0], typeof modules[0], typeof modules[0]];
  const listener = a.publish(one as never, { name: "m", capacity: 1 });
  // deno-lint-ignore no-explicit-any
  const proxy: any = await b.discover("m" as "calc");
  const hashes = new Set<string>();
  const answers = async (word: string): Promise<void> => {
    await until(async () => await proxy.f() === word, `new calls answer ${word}`);
    expect(await proxy.g()).toBe(word);
    await until(() => listener.stats().codes.length === 1, "the old code was dropped");
    hashes.add(listener.stats().hash);
  };
  await answers("one");
  listener.update(two as never);
  await answers("two");
  // Both at once: the third is not taken for the first, which a channel may still run.
  listener.update(one as never);
  listener.update(three as never);
  await answers("three");
  expect(hashes.size).toBe(3);
});

test("an update to the same code changes nothing", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const functions = { f: () => 1 };
  const make = () => defineModule({ name: "m", functions });
  const listener = a.publish(make() as never, { capacity: 1 });
  const proxy = await b.discover("m" as "calc");
  const before = listener.stats();
  listener.update(make() as never);
  await (proxy as unknown as { f(): Promise<number> }).f();
  const { hash, channels } = listener.stats();
  expect(hash).toBe(before.hash);
  expect(channels.map(({ channel }) => channel)).toEqual(
    before.channels.map(({ channel }) => channel),
  );
  expect(made.events.filter(({ event }) => event === "old code dropped")).toEqual([]);
});

test("a node with newer code excludes no buyer without a range", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  gate.open();
  a.publish(calc(gate, "1.0.0"), { capacity: 9 });
  b.publish(calc(gate, "2.0.0"), { capacity: 1 });
  const first = await b.discover("calc", { capacity: 1 });
  expect(held(first)).toEqual({ "2.0.0": 1 });
  const second = await a.discover("calc", { capacity: 1 });
  expect(held(second)).toEqual({ "1.0.0": 1 });
  const versions = new Set<string>();
  const answers = Array.from({ length: 40 }, () => b.request("calc", "pi", [1]));
  for (const { version } of await Promise.all(answers)) versions.add(version);
  expect([...versions]).toEqual(["1.0.0"]);
});

test("a proxy without a range moves to newer code as capacity becomes free, across major versions", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  gate.open();
  a.publish(calc(gate, "1.0.0"), { capacity: 4 });
  const other = await b.discover("calc", { version: "^1", capacity: 1 });
  const proxy = await b.discover("calc", { capacity: 3, waitFor: "all" });
  const newer = b.publish(calc(gate, "2.0.0"), { capacity: 2 });
  await until(() => JSON.stringify(held(proxy)) === '{"1.0.0":1,"2.0.0":2}', "two moved up");
  expect(proxy.$plb.stats()).toMatchObject({ granted: 3, version: "2.0.0" });
  await newer.close();
  await until(() => JSON.stringify(held(proxy)) === '{"1.0.0":3}', "older code serves again");
  b.publish(calc(gate, "1.4.0"), { capacity: 9 });
  await until(() => JSON.stringify(held(proxy)) === '{"1.4.0":3}', "all moved up");
  expect(held(other)).toEqual({ "1.0.0": 1 });
});

test("a proxy has the functions of all code in use", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const one = defineModule({ version: "1.0.0", functions: { both: () => 1, old: () => 1 } });
  const two = defineModule({ version: "2.0.0", functions: { both: () => 2, fresh: () => 2 } });
  a.publish(one as never, { name: "m", capacity: 2 });
  const canary = b.publish(two as never, { name: "m", capacity: 1 });
  const options = { capacity: 2, waitFor: "all" } as const;
  const proxy = await a.discover("m" as "calc", options) as unknown as
    & ModuleProxy<typeof one & typeof two>
    & { both(): Promise<number>; old(): Promise<number>; fresh(): Promise<number> };
  await until(() => Object.keys(proxy).sort().join() === "both,fresh,old", "it has both");
  expect(await Promise.all([proxy.old(), proxy.fresh()])).toEqual([1, 2]);
  await canary.close();
  await until(() => !("fresh" in proxy), "the newer code is gone");
  expect(await proxy.old()).toBe(1);
});

for (const capacity of [1, 4]) {
  test(`noWait calls find credit through 30 updates, capacity ${capacity}`, async () => {
    const made = market();
    const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
    const gate = new CallGate();
    gate.open();
    const listener = a.publish(calc(gate, "1.0.0"), { capacity });
    const proxy = await b.discover("calc", { version: "^1", capacity, waitFor: "all" });
    let isOver = false;
    const caller = (async () => {
      const versions: string[] = [];
      while (!isOver) {
        versions.push((await proxy.$plb.call("pi", [1], { noWait: true })).version);
      }
      return versions;
    })();
    const served = (count: number) => until(() => gate.served > count, "calls go on");
    for (let n = 1; n <= 30; n++) {
      const before = gate.served;
      listener.update(calc(gate, `1.${n}.0`));
      await served(before + 2);
    }
    isOver = true;
    expect(new Set(await caller).has("1.30.0")).toBe(true);
    expect(proxy.$plb.stats().channels).toHaveLength(1);
  });
}
