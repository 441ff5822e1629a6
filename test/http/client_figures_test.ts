/** The figures of a client's proxy: those of its node, on a fake clock. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { errorResponse, noPurchase } from "../../adapters/http_wire/errors.ts";
import { AtlasError } from "../../src/errors.ts";
import type { Balancer } from "../../src/api/modules.ts";
import { encodeValue } from "../../src/model/value.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A node's counter that reports its purchases as a test wants. */
class Desk {
  /** The requests that it got, the newest last. */
  readonly asked: string[] = [];
  granted = 2;
  /** Whether it is reachable. */
  isUp = true;
  /** Whether it knows its purchases. */
  knows = true;
  /** What its next calls fail with. */
  failure: AtlasError | null = null;
  #bought = 0;
  #forgotten = 0;

  /** Buys through it. */
  async discover(): Promise<Balancer> {
    const fetch = async (url: string, { method = "" }: RequestInit): Promise<Response> => {
      const { pathname } = new URL(url);
      this.asked.push(`${method} ${pathname}`);
      if (!this.isUp) throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
      return this.#answer(method, pathname);
    };
    const { $plb } = await connect("http://atlas.test", { fetch }).discover("calc", {
      capacity: 4,
    });
    return $plb;
  }

  /** The number of such requests that it got. */
  count(what: string): number {
    return this.asked.filter((it) => it.startsWith(what)).length;
  }

  /** Knows none of the purchases that it made. */
  forget(): void {
    this.#forgotten = this.#bought;
  }

  #answer(method: string, path: string): Response {
    if (path === "/v1/modules/calc") return this.#view(`p${++this.#bought}`);
    if (!this.knows || this.#bought === this.#forgotten) return errorResponse(noPurchase("p"));
    if (path.startsWith("/v1/purchases/")) {
      return method === "DELETE" ? Response.json({}) : this.#view(path.slice(14));
    }
    if (this.failure) return errorResponse(this.failure);
    const body = encodeValue({ result: 1, node: "n", version: "1.0.0" }, "answer");
    return new Response(body as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": "application/msgpack" },
    });
  }

  #view(id: string): Response {
    const { granted } = this;
    const channels = granted === 0 ? [] : [{ node: "seller", grant: granted }];
    const version = granted === 0 ? null : "1.0.0";
    return Response.json({ id, functions: ["pi"], version, granted, waits: 0, channels });
  }
}

const BUY = "POST /v1/modules/calc";
const LOOK = "GET /v1/purchases/";

test("changes of capacity are seen within a second, without any call", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  expect(plb.capacity()).toBe(2);
  for (const granted of [4, 1, 0, 3]) {
    desk.granted = granted;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(plb.capacity()).toBe(granted);
    expect(plb.stats()).toMatchObject({ granted, tokens: granted, wanted: 4 });
  }
});

test("after a failed call the node is asked at once", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  desk.granted = 1;
  desk.failure = new AtlasError("unavailable", "its seller is gone", { maybeExecuted: true });
  await expect(plb.call("pi", [1])).rejects.toMatchObject({ code: "unavailable" });
  await vi.advanceTimersByTimeAsync(0);
  expect(plb.capacity()).toBe(1);
});

test("there is no credit of an unreachable node, until it can be reached again", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  desk.isUp = false;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(plb.capacity()).toBe(0);
  expect(plb.stats()).toMatchObject({ version: null, granted: 0, tokens: 0, channels: [] });
  desk.isUp = true;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(plb.capacity()).toBe(2);
  expect(desk.count(BUY)).toBe(1);
});

test("a purchase that its node lost is made again automatically, at most once a minute", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  desk.knows = false;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(plb.capacity()).toBe(0);
  expect(desk.count(BUY)).toBe(1);
  desk.knows = true;
  await vi.advanceTimersByTimeAsync(31_000);
  expect(plb.capacity()).toBe(2);
  expect(desk.count(BUY)).toBe(2);
});

test("a restarted or replaced node that lacks the purchase is soon bought from again", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  desk.isUp = false;
  await vi.advanceTimersByTimeAsync(1_000);
  desk.forget();
  desk.isUp = true;
  await vi.advanceTimersByTimeAsync(2_000);
  expect(plb.capacity()).toBe(2);
  expect(desk.count(BUY)).toBe(2);
});

test("a call for a lost purchase doesn't wait for the minute between two new purchases", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  desk.knows = false;
  await vi.advanceTimersByTimeAsync(1_000);
  desk.knows = true;
  expect(await plb.call("pi", [1])).toMatchObject({ result: 1 });
  expect(plb.capacity()).toBe(2);
});

test("a closed proxy has no credit and sends no requests", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  const closed = plb.close();
  expect(plb.capacity()).toBe(0);
  await closed;
  expect(plb.stats()).toMatchObject({
    version: null,
    granted: 0,
    tokens: 0,
    running: 0,
    waiting: 0,
    channels: [],
  });
  expect(desk.asked.at(-1)).toBe("DELETE /v1/purchases/p1");
  await vi.advanceTimersByTimeAsync(120_000);
  expect(desk.asked.at(-1)).toBe("DELETE /v1/purchases/p1");
});

test("closing cancels a purchase under way, and calls that wait for it", async () => {
  const desk = new Desk();
  const plb = await desk.discover();
  desk.knows = false;
  await vi.advanceTimersByTimeAsync(1_000);
  desk.isUp = false;
  const waiting = plb.call("pi", [1]).catch((error) => error);
  await vi.advanceTimersByTimeAsync(100);
  const asked = desk.count(BUY);
  expect(asked).toBeGreaterThan(1);
  await Promise.all([plb.close(), vi.advanceTimersByTimeAsync(0)]);
  expect(await waiting).toMatchObject({ message: "the proxy of calc was closed" });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(desk.count(BUY)).toBe(asked);
});

test("an unreferenced proxy is no longer refreshed", async ({ skip }) => {
  const gc = await collector();
  if (!gc) return skip("this runtime has no collector that a test can call");
  const desk = new Desk();
  // The stack has no reference to it.
  await (async () => void (await desk.discover()))();
  let looks = -1;
  while (looks !== desk.count(LOOK)) {
    looks = desk.count(LOOK);
    gc();
    await vi.advanceTimersByTimeAsync(1_000);
  }
});

/** Runs V8's collector; JavaScriptCore's also keeps objects that only seem to be referenced. */
async function collector(): Promise<(() => void) | null> {
  if ("Bun" in globalThis || "Deno" in globalThis) return null;
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}
