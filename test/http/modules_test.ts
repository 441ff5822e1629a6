/**
 * Modules over HTTP: calls, purchases and listings.
 *
 * Covers adapters/http/purchases.ts.
 */
import { expect, test, vi } from "vitest";
import { type AtlasNode, defineModule } from "../../mod.ts";
import { Purchases } from "../../adapters/http/purchases.ts";
import { MAX_BODY_BYTES, PURCHASE_IDLE_MS } from "../../src/limits.ts";
import { encodeValue, unpack } from "../../src/model/value.ts";
import { fakeClock } from "../../testing.ts";
import { calc, CallGate, LASTING, market, until } from "../lambda/market.ts";
import { counter } from "./counter.ts";

const json = (value: unknown) => ({ body: JSON.stringify(value) });

test("a call over HTTP gives result, node and version, and a range picks the version", async () => {
  const { ask, seller } = await counter();
  const shop = new CallGate();
  seller.publish(calc(shop, "1.0.0"), { capacity: 1 });
  seller.publish(calc(shop, "2.0.0"), { capacity: 1 });
  expect(await ask("POST", "/v1/modules/calc/pi", json([3]))).toMatchObject({
    status: 200,
    body: { result: "3.141", node: "seller", version: "2.0.0" },
  });
  const pinned = await ask("POST", "/v1/modules/calc/pi?version=%5E1", json([3]));
  expect(pinned.body).toEqual({ result: "3.141", node: "seller", version: "1.0.0" });
});

test("a purchase may have several orders, over HTTP and by a client", async () => {
  const { ask, client, seller } = await counter();
  const shop = new CallGate();
  seller.publish(calc(shop, "1.0.0"), { capacity: 8 });
  seller.publish(calc(shop, "2.0.0"), { capacity: 8 });
  const orders = [{ version: "^1", capacity: 2 }, { version: "^2" }];
  const bought = await ask("POST", "/v1/modules/calc", json({ orders, waitFor: "all" }));
  expect(bought.status).toBe(201);
  const held = (stats: unknown) =>
    (stats as { orders: { version: string; granted: number }[] }).orders
      .map(({ version, granted }) => [version, granted]);
  expect(held(bought.body)).toEqual([["^1", 2], ["^2", 1]]);
  const proxy = await client().discover("calc", { orders, waitFor: "all" });
  expect(proxy.$plb.stats()).toMatchObject({ wanted: 3, granted: 3 });
  expect(held(proxy.$plb.stats())).toEqual([["^1", 2], ["^2", 1]]);
  const refused = await ask("POST", "/v1/modules/calc", json({ orders: [], capacity: 1 }));
  expect(refused).toMatchObject({ status: 400, body: { error: { code: "bad_request" } } });
  await proxy.$plb.close();
});

test("a function without a result answers null in JSON, and undefined in MessagePack", async () => {
  const { ask, client, seller } = await counter();
  const quiet = defineModule({ version: "1.0.0", functions: { nothing() {} } });
  seller.publish(quiet, { name: "quiet", capacity: 1 });
  expect((await ask("POST", "/v1/modules/quiet/nothing")).body).toEqual({
    result: null,
    node: "seller",
    version: "1.0.0",
  });
  expect((await client().request("quiet", "nothing", [])).result).toBeUndefined();
});

test("arguments and results may be MessagePack", async () => {
  const { http, seller } = await counter();
  seller.publish(calc(new CallGate()), { capacity: 1 });
  const type = "application/msgpack";
  const response = await http.fetch(
    new Request("http://atlas.test/v1/modules/calc/pi", {
      method: "POST",
      body: encodeValue([2], "arguments") as Uint8Array<ArrayBuffer>,
      headers: { "content-type": type, accept: type },
    }),
  );
  expect(response.headers.get("content-type")).toBe(type);
  expect(unpack(new Uint8Array(await response.arrayBuffer()))).toEqual({
    result: "3.14",
    node: "seller",
    version: "1.0.0",
  });
});

test("a hundred calls run two at a time, and all finish; two more make it four", async () => {
  const { ask, seller, market } = await counter();
  const shop = new CallGate();
  seller.publish(calc(shop), { capacity: 2 });
  const calls = Array.from(
    { length: 100 },
    (_, n) => ask("POST", "/v1/modules/calc/hold", json([n])),
  );
  await until(() => shop.running === 2, "two run");
  (await market.node("more", LASTING)).publish(calc(shop), { capacity: 2 });
  await until(() => shop.running === 4, "four run");
  shop.open();
  const answers = await Promise.all(calls);
  expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(200));
  expect(answers.map(({ body }) => body.result)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(shop.most).toBe(4);
});

test("each failure has its code, and its error says whether the call ran", async () => {
  const { ask, seller } = await counter();
  const shop = new CallGate();
  const fails = async (path: string, options: object, status: number, error: object) =>
    expect(await ask("POST", path, options)).toMatchObject({ status, body: { error } });
  const soon = { headers: { "atlas-timeout-ms": "100" } };
  await fails("/v1/modules/calc/pi?version=%5E1", soon, 503, {
    code: "unavailable",
    message: "nobody sold any within 100 ms: capacity 1 of calc, ^1",
    maybeExecuted: false,
    retryable: true,
  });
  seller.publish(calc(shop), { capacity: 1 });
  await fails("/v1/modules/calc/nothing", json([]), 404, {
    code: "not_found",
    message: 'calc 1.0.0 has no function "nothing"; it has: fail, hold, pi',
    maybeExecuted: false,
  });
  await fails("/v1/modules/calc/fail", json([]), 500, {
    code: "app",
    message: "failed on purpose",
    maybeExecuted: true,
  });
  const functions = { give: () => () => 1, flood: () => "x".repeat(MAX_BODY_BYTES) };
  seller.publish(defineModule({ functions }), { name: "odd", capacity: 1 });
  for (const name of ["give", "flood"]) {
    await fails(`/v1/modules/odd/${name}`, json([]), 500, {
      code: "app",
      message: expect.stringMatching(`^${name}: the result `),
      maybeExecuted: true,
    });
  }
  for (
    const [path, options, status, code] of [
      ["/v1/modules/calc/constructor", json([]), 404, "not_found"],
      ["/v1/modules/c%20c/pi", json([]), 400, "invalid_rrp"],
      ["/v1/modules/calc/pi?version=one", json([]), 400, "bad_request"],
      ["/v1/modules/calc/pi", json({}), 400, "bad_request"],
      ["/v1/modules/calc/pi", { headers: { "atlas-timeout-ms": "0" } }, 400, "bad_request"],
      ["/v1/modules/calc/pi", { headers: { "atlas-no-wait": "1" } }, 400, "bad_request"],
      ["/v1/modules/calc", json([]), 400, "bad_request"],
      ["/v1/modules/calc", json({ capacty: 1 }), 400, "bad_request"],
      ["/v1/modules/calc", json({ capacity: "many" }), 400, "bad_request"],
      ["/v1/modules/calc", json({ noWait: "yes" }), 400, "bad_request"],
      ["/v1/modules/calc", json({ capacity: 1, timeoutMs: 0 }), 400, "bad_request"],
    ] as [string, object, number, string][]
  ) await fails(path, options, status, { code, maybeExecuted: false });
});

test("past its deadline, a call that ran is distinguished from one that waited", async () => {
  const clock = fakeClock();
  const { ask, seller, node } = await counter(clock);
  const shop = new CallGate();
  seller.publish(calc(shop), { capacity: 1 });
  const call = (name: string, ms: number) =>
    ask("POST", `/v1/modules/calc/${name}`, {
      ...json([1]),
      headers: { "atlas-timeout-ms": String(ms) },
    });
  const held = call("hold", 40_000);
  await until(() => shop.running === 1, "it runs");
  const waiting = call("pi", 20_000);
  await until(() => node.stats().moduleWaiting === 1, "it waits");
  const timeout = (maybeExecuted: boolean) => ({
    status: 504,
    body: { error: { code: "timeout", maybeExecuted } },
  });
  await clock.advance(25_000);
  expect(await waiting).toMatchObject(timeout(false));
  await clock.advance(25_000);
  expect(await held).toMatchObject(timeout(true));
  await until(() => shop.aborted === 1, "its function saw that");
});

test("a purchase is bought, used, read and ended", async () => {
  const { ask, seller } = await counter();
  const shop = new CallGate();
  const listener = seller.publish(calc(shop), { capacity: 3 });
  const bought = await ask("POST", "/v1/modules/calc", json({ capacity: 2, version: "^1" }));
  expect(bought).toMatchObject({
    status: 201,
    body: {
      id: expect.any(String),
      module: "calc",
      functions: ["fail", "hold", "pi"],
      version: "1.0.0",
      capacity: 2,
      wanted: 2,
    },
  });
  const { id } = bought.body;
  const headers = { "atlas-purchase": id };
  const call = (name: string, more: object = {}) =>
    ask("POST", `/v1/modules/calc/${name}`, { ...json([1]), headers: { ...headers, ...more } });
  expect((await call("pi")).body).toEqual({ result: "3.1", node: "seller", version: "1.0.0" });
  const held = [call("hold"), call("hold")];
  await until(() => shop.running === 2, "two run");
  expect((await ask("GET", `/v1/purchases/${id}`)).body).toMatchObject({ id, running: 2 });
  expect(await call("pi", { "atlas-no-wait": "1" })).toMatchObject({
    status: 429,
    body: { error: { code: "overloaded" } },
  });
  const other = await ask("POST", "/v1/modules/other/pi", { headers });
  expect([other.status, other.body.error.code]).toEqual([400, "bad_request"]);
  const ended = ask("DELETE", `/v1/purchases/${id}`);
  shop.open();
  expect((await Promise.all(held)).map(({ body }) => body.result)).toEqual([1, 1]);
  expect(await ended).toMatchObject({ status: 200, body: { id, state: "ended" } });
  await until(() => listener.stats().granted === 0, "the capacity is back");
  for (const method of ["GET", "DELETE"]) {
    expect(await ask(method, `/v1/purchases/${id}`)).toMatchObject({
      status: 404,
      body: {
        error: { code: "not_found", message: expect.stringMatching(/^there is no purchase/) },
      },
    });
  }
  expect((await call("pi")).body.error).toMatchObject({ code: "not_found", maybeExecuted: false });
});

test("purchases are limited, and end when they are idle", async () => {
  const made = market();
  const node = await made.node("a", LASTING) as unknown as AtlasNode;
  const listener = node.publish(calc(new CallGate()), { capacity: 4 });
  const few = new Purchases({ most: 1 });
  await few.open(node, "calc", {});
  await expect(few.open(node, "calc", {})).rejects.toMatchObject({ code: "overloaded" });
  few.stop();
  await until(() => listener.stats().granted === 0, "the room was closed");
  await expect(few.open(node, "calc", {})).rejects.toMatchObject({ code: "unavailable" });
  const brief = new Purchases({ idleMs: 20 });
  const { id } = await brief.open(node, "calc", { capacity: 3 });
  expect(listener.stats().granted).toBe(3);
  await until(() => listener.stats().granted === 0, "it was not used");
  await expect(brief.call(id, "calc", "pi", [1], {})).rejects.toMatchObject({ code: "not_found" });
});

test("a purchase stays as long as it is read", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    let closed = 0;
    const $plb = { stats: () => ({ granted: 1 }), close: async () => void closed++ };
    const node = { discover: async () => ({ $plb }), closed: new Promise(() => {}) };
    const room = new Purchases();
    const { id } = await room.open(node as unknown as AtlasNode, "calc", {});
    for (let looks = 0; looks < 5; looks++) {
      vi.advanceTimersByTime(PURCHASE_IDLE_MS - 1);
      expect(room.view(id)).toMatchObject({ id, capacity: 1 });
    }
    vi.advanceTimersByTime(PURCHASE_IDLE_MS);
    expect(closed).toBe(1);
    expect(() => room.view(id)).toThrow(/^there is no purchase/);
  } finally {
    vi.useRealTimers();
  }
});

test("a call that waits as its purchase ends fails as not executed", async () => {
  const made = market();
  const node = await made.node("a", LASTING) as unknown as AtlasNode;
  const shop = new CallGate();
  node.publish(calc(shop), { capacity: 1 });
  const room = new Purchases();
  const { id } = await room.open(node, "calc", {});
  const running = room.call(id, "calc", "hold", [1], {});
  await until(() => shop.running === 1, "one runs");
  const waiting = room.call(id, "calc", "pi", [1], {});
  room.stop();
  await expect(waiting).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringMatching(/^there is no purchase/),
    maybeExecuted: false,
  });
  shop.open();
  expect(await running).toMatchObject({ result: 1 });
});

test("a client that disconnects while it waits for capacity leaves no order", async () => {
  const { ask, node } = await counter();
  const abort = new AbortController();
  const asked = ask("POST", "/v1/modules/calc", { ...json({}), signal: abort.signal });
  asked.catch(() => {});
  const orders = async () => (await node.exchange("calc")).flatMap((book) => book.orders);
  await until(async () => (await orders()).length > 0, "it was ordered");
  abort.abort();
  await until(async () => (await orders()).length === 0, "the order is gone");
});

test("modules, exchanges and authorities are listed", async () => {
  const { ask, seller } = await counter();
  const shop = new CallGate();
  seller.publish(calc(shop), { capacity: 2 });
  const call = ask("POST", "/v1/modules/calc/hold", json([1]));
  await until(() => shop.running === 1, "it runs");
  await expect.poll(async () => (await ask("GET", "/v1/modules")).body).toMatchObject({
    modules: [{
      name: "calc",
      versions: ["1.0.0"],
      nodes: ["local/seller"],
      capacity: 2,
      inFlight: 1,
      sellers: [{ node: "seller", version: "1.0.0", capacity: 2, granted: 1, inFlight: 1 }],
    }],
  });
  // The exchanges learn the remaining values after the call.
  await expect.poll(async () => (await ask("GET", "/v1/exchanges/calc")).body).toMatchObject({
    module: "calc",
    exchanges: expect.arrayContaining([
      expect.objectContaining({
        orders: expect.arrayContaining([expect.objectContaining({ side: "sell", quantity: 1 })]),
      }),
    ]),
  });
  expect((await ask("GET", "/v1/exchanges/nothing")).body).toEqual({
    module: "nothing",
    exchanges: [],
  });
  await expect.poll(async () => (await ask("GET", "/v1/authorities")).body).toMatchObject({
    authorities: [{ node: "asked", authorities: 1 }, { node: "seller", modules: ["calc"] }],
  });
  shop.open();
  await call;
});

test("metrics show credits and waits by module", async () => {
  const { ask, node } = await counter();
  const shop = new CallGate();
  node.publish(calc(shop), { capacity: 1 });
  const calls = [1, 2, 3].map((n) => ask("POST", "/v1/modules/calc/hold", json([n])));
  await until(() => shop.running === 1, "one runs");
  await until(() => node.stats().moduleWaiting === 2, "two wait");
  /** Figures of one moment. */
  const figures = async (...names: string[]): Promise<number[]> => {
    const { text } = await ask("GET", "/metrics");
    return names.map((name) => {
      const line = text.split("\n").find((it) => it.startsWith(`atlas_module_${name}{`)) ?? "";
      expect(line).toContain('{module="calc"}');
      return Number(line.split(" ").at(-1));
    });
  };
  const names = ["requests_running", "capacity_granted", "calls_waiting", "calls_total"];
  expect(await figures(...names, "call_waits_total")).toEqual([1, 1, 2, 3, 3]);
  shop.open();
  await Promise.all(calls);
  expect(await figures("credits_used_total", "calls_waiting")).toEqual([3, 0]);
  expect((await figures("call_wait_seconds_total"))[0]).toBeGreaterThan(0);
  const [issued, outstanding, revoked] = await figures(
    "credits_issued_total",
    "credits_outstanding",
    "credits_revoked_total",
  ) as [number, number, number];
  expect(issued).toBe(3 + outstanding + revoked);
});
