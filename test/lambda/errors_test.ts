/**
 * Errors of the market and their messages.
 *
 * Covers src/lambda/buy/module_call.ts and src/lambda/market_options.ts.
 */
import { expect, test } from "vitest";
import { defineApp, defineModule, type PublishOptions } from "../../mod.ts";
import { MAX_BODY_BYTES } from "../../src/limits.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message), maybeExecuted: false });

test("errors of invalid options name the value and what is allowed", async () => {
  const functions = { one: () => 1 };
  const bad: [object, RegExp][] = [
    [{ functions, version: "one" }, /version is "one", it must be a semantic version/],
    [{ functions, capacity: 0 }, /capacity is 0, it must be a whole number from 1 to 65536/],
    [{ functions: {} }, /functions has 0 entries/],
    [{ functions: { a: 1 } }, /functions\.a is not a function/],
    [{ functions: { onStart() {} } }, /function name "onStart"/],
    [{ functions: { $plb() {} } }, /function name "\$plb"/],
    [{}, /a module needs functions/],
    [{ functions, attributes: { a: {} } }, /attributes\.a is \{\}/],
  ];
  for (const [options, message] of bad) {
    expect(() => defineModule(options as { functions: typeof functions }))
      .toThrow(refused("bad_request", message));
  }
  expect(() => defineApp({ modules: { calc: {} as never } })).toThrow(
    refused("bad_request", /module calc must be made by defineModule/),
  );
  const a = await market().node("a", LASTING);
  const module = defineModule({ functions });
  expect(() => a.publish(module, { capacity: 1 })).toThrow(refused("bad_request", /has no name/));
  const named: [PublishOptions, RegExp][] = [
    [{ name: "x" }, /capacity is undefined/],
    [{ name: "x", capacity: 1.5 }, /capacity is 1.5/],
    [{ name: "x", capacity: 1, version: "v" }, /version is "v"/],
    [{ name: "x", capacity: 1, lowWatermark: 2 }, /lowWatermark is 2, it must be 0 to 1/],
  ];
  for (const [options, message] of named) {
    expect(() => a.publish(module, options)).toThrow(refused("bad_request", message));
  }
  for (
    const [options, message] of [
      [{ capacity: -1 }, /capacity is -1/],
      [{ version: "^^1" }, /version is "\^\^1", it must be a version or a range/],
      [{ prefer: "far" }, /prefer is "far", it must be near or spread/],
      [{ timeoutMs: 0 }, /timeoutMs is 0/],
      [{ waitFor: "none" }, /waitFor is "none"/],
    ] as [object, RegExp][]
  ) await expect(a.discover("calc", options)).rejects.toEqual(refused("bad_request", message));
});

test("unknown options and options of the wrong type are rejected before anything is done", async () => {
  const a = await market().node("a", LASTING);
  const module = calc(new CallGate());
  // deno-lint-ignore no-explicit-any
  const any = (value: unknown): any => value;
  const none: [unknown, RegExp][] = [
    [null, /^options is null, it must be an object$/],
    ["x", /^options is "x", it must be an object$/],
    [[], /^options is \[\], it must be an object$/],
    [{ timoutMs: 5 }, /^there is no option "timoutMs"; there are: .*timeoutMs/],
    [{ signal: 1 }, /^signal is 1, it must be an AbortSignal$/],
    [{ signal: {} }, /^signal is \{\}, it must be an AbortSignal$/],
    [{ timeoutMs: "5" }, /^timeoutMs is "5", it must be 1 to 300000$/],
    [{ timeoutMs: NaN }, /^timeoutMs is NaN, it must be 1 to 300000$/],
  ];
  const listener = a.publish(module, { capacity: 1 });
  const proxy = await a.discover("calc");
  const calls = proxy.$plb.stats().calls;
  for (const [options, message] of none) {
    const why = refused("bad_request", message);
    await expect(a.discover("calc", any(options))).rejects.toEqual(why);
    await expect(a.request("calc", "pi", [1], any(options))).rejects.toEqual(why);
    await expect(proxy.$plb.call("pi", [1], any(options))).rejects.toEqual(why);
    await expect(a.call("rooms", "r", "say", [], any(options))).rejects.toEqual(why);
    if (String(message).includes("timeoutMs is")) continue;
    expect(() => a.resource(any("rooms"), "r", any(options))).toThrow(why);
    if (String(message).includes("signal is")) continue;
    const form = refused("bad_request", /^options is |^there is no option "timoutMs"/);
    expect(() => a.publish(module, any(options))).toThrow(form);
    expect(() => defineModule(any(options))).toThrow(form);
    await expect(listener.close(any(options))).rejects.toEqual(form);
    await expect(a.lookup("rooms", "r", any(options))).rejects.toEqual(form);
    await expect(a.count("rrp:", any(options))).rejects.toEqual(form);
    await expect(a.resources("rrp:", any(options))).rejects.toEqual(form);
  }
  for (const noWait of ["x", 1, null]) {
    const why = refused("bad_request", /^noWait is .*, it must be true or false$/);
    await expect(a.discover("calc", any({ noWait }))).rejects.toEqual(why);
    await expect(proxy.$plb.call("pi", [1], any({ noWait }))).rejects.toEqual(why);
  }
  for (const drainMs of [NaN, "5", -1, Infinity]) {
    const why = refused(
      "bad_request",
      /^drainMs is ("5"|NaN|-1|Infinity), it must be 0 to 300000$/,
    );
    await expect(listener.close(any({ drainMs }))).rejects.toEqual(why);
  }
  for (const args of [null, "ab", undefined]) {
    const why = refused("bad_request", /^args is .*, it must be an array of arguments$/);
    await expect(proxy.$plb.call("pi", any(args))).rejects.toEqual(why);
    await expect(a.request("calc", "pi", any(args))).rejects.toEqual(why);
    await expect(a.call("rooms", "r", "say", any(args))).rejects.toEqual(why);
  }
  for (const name of [null, 5, {}]) {
    const why = refused("not_found", /^calc( 1\.0\.0)? has no function (null|5|\{\})/);
    await expect(proxy.$plb.call(any(name), [1])).rejects.toEqual(why);
    await expect(a.request("calc", any(name), [1])).rejects.toEqual(why);
    await expect(a.call("rooms", "r", any(name), [])).rejects.toEqual(
      refused("not_found", /^rooms has no method (null|5|\{\})$/),
    );
  }
  await expect(a.lookup("rooms", "r", any({ require: "sure" }))).rejects.toEqual(
    refused("bad_request", /^require is "sure", it must be confirmed$/),
  );
  expect(proxy.$plb.stats().calls).toBe(calls);
  expect(listener.stats()).toMatchObject({ capacity: 1 });
  expect(await proxy.pi(1)).toBe("3.1");
});

test("discover fails if no seller has the module", async () => {
  const a = await market().node("a", LASTING);
  a.publish(calc(new CallGate(), "2.0.0"), { capacity: 1 });
  await expect(a.discover("calc", { capacity: 3, version: "^1.2", timeoutMs: 60 })).rejects.toEqual(
    refused("unavailable", /within 60 ms: capacity 3 of calc, \^1\.2$/),
  );
  await until(async () => {
    const books = await a.exchange("calc");
    return books.every(({ orders }) => orders.every(({ side }) => side === "sell"));
  }, "the order was cancelled");
});

test("arguments and results that can't be encoded are rejected", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const module = defineModule({
    name: "odd",
    functions: {
      echo: (value: unknown) => value,
      give: () => () => 1,
      flood: async () => new Uint8Array(MAX_BODY_BYTES),
    },
  });
  a.publish(module, { capacity: 3 });
  // deno-lint-ignore no-explicit-any
  const proxy: any = await a.discover("odd" as "calc");
  await expect(proxy.echo(() => 1)).rejects.toEqual(
    refused("bad_request", /argument\[0\] can't be encoded: it is a function/),
  );
  // Invalid results and thrown errors come from the module's own code.
  for (const node of [a, b]) {
    const failed = (name: string) =>
      node.request("odd", name, []).catch(({ code, message, maybeExecuted }) => ({
        code,
        message,
        maybeExecuted,
      }));
    expect(await failed("give")).toEqual({
      code: "app",
      message: "give: the result can't be encoded: it is a function",
      maybeExecuted: true,
    });
    expect(await failed("flood")).toEqual({
      code: "app",
      message: expect.stringMatching(
        /^flood: the result takes at least 10\d{5} bytes, more than 1048576$/,
      ),
      maybeExecuted: true,
    });
  }
  const value = { list: [1, new Map([["a", new Date(5)]])], bytes: new Uint8Array([1]) };
  expect(await proxy.echo(value)).toEqual(value);
  expect(proxy.$plb.capacity()).toBe(1);
  expect(await proxy).toBe(proxy);
});

test("a listener closed during a call lets it finish; waiting calls go to other sellers", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const [one, two] = [new CallGate(), new CallGate()];
  const listener = a.publish(calc(one), { capacity: 1 });
  const proxy = await b.discover("calc", { capacity: 1 });
  const running = proxy.hold(1);
  await until(() => one.running === 1, "it runs");
  const closed = listener.close();
  const waiting = proxy.hold(2);
  b.publish(calc(two), { capacity: 1 });
  await until(() => two.running === 1, "the other runs elsewhere");
  one.open();
  two.open();
  expect(await Promise.all([running, waiting])).toEqual([1, 2]);
  await closed;
  expect(() => listener.update(calc(one, "3.0.0"))).toThrow(refused("unavailable", /was closed/));
});

test("calls that outlast their listener's drainMs fail as maybe executed", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  const listener = a.publish(calc(gate), { capacity: 1 });
  const proxy = await b.discover("calc");
  const running = proxy.hold(1).catch((error) => error);
  await until(() => gate.running === 1, "it runs");
  await listener.close({ drainMs: 20 });
  expect(await running).toMatchObject({ code: "unavailable", maybeExecuted: true });
});

test("a closed proxy and a closed node reject calls", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 1 });
  const proxy = await b.discover("calc");
  const [running, waiting] = [proxy.hold(1), proxy.hold(2).catch((error) => error)];
  await until(() => gate.running === 1, "it runs");
  const closed = proxy.$plb.close();
  expect(await waiting).toMatchObject({
    code: "unavailable",
    message: "the proxy of calc was closed",
    retryable: false,
    maybeExecuted: false,
  });
  gate.open();
  expect(await running).toBe(1);
  await closed;
  await expect(proxy.pi(1)).rejects.toMatchObject({ code: "unavailable", retryable: false });
  expect(() => proxy.$plb.resize(2)).toThrow(expect.objectContaining({ retryable: false }));
  const soon = b.discover("nothing" as "calc").catch((error) => error);
  await b.close();
  expect(await soon).toEqual(refused("unavailable", /the node was closed/));
  await expect(b.discover("calc")).rejects.toEqual(refused("unavailable", /the node was closed/));
});

test("an app's modules are published by its nodes under their keys", async () => {
  const app = defineApp({
    modules: {
      sums: defineModule({ capacity: 2, functions: { add: (a: number, b: number) => a + b } }),
      asked: defineModule({ functions: { never: () => 0 } }),
    },
  });
  const made = market();
  const a = await made.node("a", LASTING, app as never);
  const b = await made.node("b", LASTING, app as never);
  const sums = await (b as unknown as Node).discover("sums", { capacity: 4, waitFor: "all" });
  expect(await sums.add(1, 2)).toBe(3);
  expect(a.listeners().map(({ name }) => name)).toEqual(["sums"]);
  type Node = import("../../mod.ts").AtlasNode<typeof app>;
});
