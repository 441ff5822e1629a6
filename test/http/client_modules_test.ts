/** Modules through the client: proxies over purchases, and the ends of purchases. */
import { expect, test } from "vitest";
import { createHttpApp, type HttpApp } from "../../adapters/http/app.ts";
import type { AtlasNode } from "../../mod.ts";
import { calc, type CalcApp, CallGate, LASTING, market, until } from "../lambda/market.ts";
import { clientOf, counter } from "./counter.ts";

const front = (node: AtlasNode<CalcApp>): HttpApp =>
  createHttpApp({ node: () => node as unknown as AtlasNode });

test("a proxy is typed, and has exactly the module's functions", async () => {
  const { client, seller } = await counter();
  const listener = seller.publish(calc(new CallGate()), { capacity: 2 });
  const proxy = await client().discover("calc", { capacity: 2, version: "^1" });
  const pi: string = await proxy.pi(4);
  expect(pi).toBe("3.1415");
  expect(Object.keys(proxy)).toEqual(["fail", "hold", "pi"]);
  expect("nothing" in proxy).toBe(false);
  expect(await (proxy as Promise<unknown> & typeof proxy)).toBe(proxy);
  expect((proxy as unknown as Record<symbol, unknown>)[Symbol.iterator]).toBeUndefined();
  expect(proxy.$plb.capacity()).toBe(2);
  expect(proxy.$plb.stats()).toMatchObject({
    module: "calc",
    version: "1.0.0",
    wanted: 2,
    granted: 2,
    tokens: 2,
    calls: 1,
    channels: [{ node: "seller", grant: 2 }],
  });
  expect(await proxy.$plb.call("pi", [1])).toEqual({
    result: "3.1",
    node: "seller",
    version: "1.0.0",
  });
  await proxy.$plb.close();
  await until(() => listener.stats().granted === 0, "the capacity is back");
  await expect(proxy.pi(1)).rejects.toMatchObject({
    code: "unavailable",
    message: "the proxy of calc was closed",
    retryable: false,
    maybeExecuted: false,
  });
});

test("a hundred calls run two at a time; new capacity is used, and shown", async () => {
  const { client, seller, market } = await counter();
  const shop = new CallGate();
  seller.publish(calc(shop), { capacity: 2 });
  const proxy = await client().discover("calc", { capacity: 4 });
  const calls = Array.from({ length: 100 }, (_, n) => proxy.hold(n));
  await until(() => shop.running === 2, "two run");
  expect(proxy.$plb.capacity()).toBe(0);
  (await market.node("more", LASTING)).publish(calc(shop), { capacity: 2 });
  await until(() => shop.running === 4, "four run");
  shop.open();
  expect(await Promise.all(calls)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(shop.most).toBe(4);
  await until(() => proxy.$plb.capacity() === 4, "the client sees it");
});

test("each failure has the market's error", async () => {
  const { http, seller } = await counter();
  /** The node has less time than its client, so that its answer arrives; it is asked once. */
  let isHasty = true;
  const hastily: HttpApp["fetch"] = async (request) => {
    if (request.method === "GET") return await http.fetch(request);
    request.headers.set("atlas-timeout-ms", "100");
    const response = await http.fetch(request);
    const { error } = await response.json();
    return Response.json({ error: { ...error, retryable: false } }, { status: response.status });
  };
  const atlas = clientOf(() => isHasty ? { ...http, fetch: hastily } : http);
  await expect(atlas.discover("calc", { capacity: 3, version: "^1" })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringMatching(/within \d+ ms: capacity 3 of calc, \^1$/),
    maybeExecuted: false,
  });
  isHasty = false;
  await expect(atlas.discover("calc", { capacity: 0 })).rejects.toMatchObject({
    code: "bad_request",
    message: expect.stringMatching(/^capacity is 0/),
  });
  await expect(atlas.discover("calc", { timeoutMs: 0 })).rejects.toMatchObject({
    code: "bad_request",
  });
  const shop = new CallGate();
  seller.publish(calc(shop), { capacity: 1 });
  const proxy = await atlas.discover("calc");
  await expect((proxy as unknown as Record<string, () => unknown>)["nothing"]?.()).rejects
    .toMatchObject({
      code: "not_found",
      message: 'calc 1.0.0 has no function "nothing"; it has: fail, hold, pi',
      maybeExecuted: false,
    });
  expect(proxy.$plb.stats().calls).toBe(0);
  await expect(proxy.fail()).rejects.toMatchObject({ code: "app", maybeExecuted: true });
  await expect(proxy.hold((() => 1) as unknown as number)).rejects.toMatchObject({
    code: "bad_request",
    maybeExecuted: false,
  });
  const abort = new AbortController();
  const held = proxy.$plb.call("hold", [1], { signal: abort.signal, timeoutMs: 60_000 });
  await until(() => shop.running === 1, "it runs");
  await expect(proxy.$plb.call("pi", [1], { noWait: true })).rejects.toMatchObject({
    code: "overloaded",
  });
  isHasty = true;
  await expect(proxy.$plb.call("pi", [1])).rejects.toMatchObject({
    code: "timeout",
    maybeExecuted: false,
  });
  isHasty = false;
  abort.abort();
  await expect(held).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
  await until(() => shop.aborted === 1, "its function saw that");
  shop.open();
  expect(await proxy.pi(1)).toBe("3.1");
});

test("functions of new code are found", async () => {
  const { client, seller } = await counter();
  const shop = new CallGate();
  const listener = seller.publish(calc(shop), { capacity: 1 });
  const proxy = await client().discover("calc");
  const next = { ...calc(shop, "1.1.0") };
  listener.update(next);
  await until(async () => (await proxy.$plb.call("pi", [1])).version === "1.1.0", "it was swapped");
  await until(() => proxy.$plb.stats().version === "1.1.0", "the client knows");
});

test("a purchase that its node lost is made again once, and all calls are repeated with the new one", async () => {
  const made = market();
  const seller = await made.node("seller", LASTING);
  const shop = new CallGate();
  seller.publish(calc(shop), { capacity: 2 });
  const first = await made.node("first", LASTING);
  let http = front(first);
  const asked: string[] = [];
  const atlas = clientOf(() => ({
    ...http,
    fetch: (request) => {
      asked.push(`${request.method} ${new URL(request.url).pathname}`);
      return http.fetch(request);
    },
  }));
  const proxy = await atlas.discover("calc", { capacity: 2 });
  expect(await proxy.pi(1)).toBe("3.1");
  // The process that sold it is replaced by another one of the same address.
  await http.stop(0);
  await first.close({ drainMs: 0 });
  http = front(await made.node("second", LASTING));
  const answers = await Promise.all([1, 2, 3, 4].map((n) => proxy.pi(n)));
  expect(answers).toEqual(["3.1", "3.14", "3.141", "3.1415"]);
  expect(shop.served).toBe(5);
  expect(asked.filter((it) => it === "POST /v1/modules/calc")).toHaveLength(2);
  await proxy.$plb.close();
});

test("nodes that don't know each other's purchases give a clear error", async () => {
  const made = market();
  const seller = await made.node("seller", LASTING);
  seller.publish(calc(new CallGate()), { capacity: 8 });
  const [a, b] = [front(await made.node("a", LASTING)), front(await made.node("b", LASTING))];
  // A load balancer sends purchases to one node, and everything else to the other.
  const atlas = clientOf(() => ({
    ...a,
    fetch: (request) => (request.url.endsWith("/calc") ? a : b).fetch(request),
  }));
  const proxy = await atlas.discover("calc");
  await expect(proxy.pi(1)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("use request()"),
    maybeExecuted: false,
  });
});

test("requests and listings need no purchase", async () => {
  const { client, seller } = await counter();
  const atlas = client();
  seller.publish(calc(new CallGate(), "1.2.0"), { capacity: 1 });
  expect(await atlas.request("calc", "pi", [2], { version: "^1" })).toEqual({
    result: "3.14",
    node: "seller",
    version: "1.2.0",
  });
  await expect(atlas.request("calc", "..", [])).rejects.toMatchObject({ code: "not_found" });
  await expect(atlas.request("a/b", "pi", [])).rejects.toMatchObject({ code: "invalid_rrp" });
  expect(await atlas.modules()).toMatchObject([{ name: "calc", versions: ["1.2.0"] }]);
  expect((await atlas.exchange("calc")).length).toBeGreaterThan(0);
  expect(await atlas.authorities()).toHaveLength(2);
});
