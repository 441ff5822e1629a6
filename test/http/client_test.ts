/**
 * The client's retries: what is repeated, what is never repeated, and the error of each failure.
 *
 * Covers adapters/client/request.ts.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { errorBody } from "../../adapters/http_wire/errors.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { AtlasError, type AtlasErrorOptions, type ErrorCode } from "../../src/errors.ts";
import type { Server } from "../../src/ports/runtime.ts";
import { freePort } from "../support/ports.ts";

const servers: Server[] = [];
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** The recorded parts of a request: the request itself can't be read once it is answered. */
interface Seen {
  url: string;
  headers: Headers;
}

/** A real HTTP server that answers the n-th request, from 1 on, as `script` says. */
async function scripted(
  script: (n: number) => Response | Promise<Response>,
): Promise<{ url: string; requests: Seen[] }> {
  const requests: Seen[] = [];
  const runtime = await detectRuntime();
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_024,
    fetch: async (request) => {
      requests.push({ url: request.url, headers: new Headers(request.headers) });
      await request.arrayBuffer();
      return await script(requests.length);
    },
  });
  servers.push(server);
  return { url: `http://127.0.0.1:${server.port}`, requests };
}

function failure(code: ErrorCode, options: AtlasErrorOptions = {}): Response {
  const body = errorBody(new AtlasError(code, `a scripted ${code}`, options));
  return Response.json(body, { status: 500 });
}

/** Node's error if no server listens on a port. */
const REFUSED = "ECONNREFUSED";

const success = () => Response.json({ result: "done", rrp: "rrp:r/n/t/a", epoch: 7 });

/** A URL on which no server listens. */
async function nowhere(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}

/** A client of several nodes whose `fetch` answers by host name; records the hosts asked. */
function clientOf(answers: Record<string, () => Promise<Response>>) {
  const asked: string[] = [];
  const fetch = (url: string, { signal }: RequestInit): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { host } = new URL(url);
      asked.push(host);
      signal?.addEventListener("abort", () => reject(signal.reason));
      (answers[host] as () => Promise<Response>)().then(resolve, reject);
    });
  const urls = Object.keys(answers).map((host) => `http://${host}`);
  return { asked, atlas: connect(urls, { fetch, timeoutMs: 100 }) };
}

/** The outcome of a call, with fake timers that advance only while it waits for them. */
async function inTime<T>(call: Promise<T>): Promise<T> {
  let isOver = false;
  const over = () => void (isOver = true);
  call.then(over, over);
  while (!isOver) await vi.advanceTimersToNextTimerAsync();
  return await call;
}

const never = () => new Promise<Response>(() => {});
const answer = () => Promise.resolve(success());

describe("a call is repeated", () => {
  test("if the error says that it did not run", async () => {
    const { url, requests } = await scripted((n) => n < 3 ? failure("unavailable") : success());
    expect(await connect(url).call("t", "a", "m", [])).toEqual({
      result: "done",
      rrp: "rrp:r/n/t/a",
      epoch: 7,
      path: [],
    });
    expect(requests).toHaveLength(3);
  });

  test("if it has an idempotency key, with the same key each time", async () => {
    const { url, requests } = await scripted((n) =>
      n < 3 ? failure("unavailable", { maybeExecuted: true }) : success()
    );
    await connect(url).call("t", "a", "m", [], { idempotencyKey: "k-1" });
    expect(requests.map((request) => request.headers.get("idempotency-key"))).toEqual([
      "k-1",
      "k-1",
      "k-1",
    ]);
  });

  test("at the next node if one can't be reached", async () => {
    const { url, requests } = await scripted(success);
    const atlas = connect([await nowhere(), await nowhere(), url]);
    await atlas.call("t", "a", "m", []);
    await atlas.call("t", "a", "m", []);
    expect(requests).toHaveLength(2);
  });
});

describe("a call is not repeated", () => {
  test("if it may have run and has no idempotency key", async () => {
    const { url, requests } = await scripted(() => failure("unavailable", { maybeExecuted: true }));
    await expect(connect(url).call("t", "a", "m", [])).rejects.toMatchObject({
      name: "AtlasError",
      code: "unavailable",
      maybeExecuted: true,
    });
    expect(requests).toHaveLength(1);
  });

  test.each(["app", "not_found", "bad_request", "unauthorized"] as const)(
    "after %s",
    async (code) => {
      const { url, requests } = await scripted(() => failure(code));
      const call = connect(url).call("t", "a", "m", [], { idempotencyKey: "k" });
      await expect(call).rejects.toMatchObject({ code, message: `a scripted ${code}` });
      expect(requests).toHaveLength(1);
    },
  );

  test("past its deadline", async () => {
    const { url } = await scripted(() => failure("unavailable"));
    await expect(connect(url).call("t", "a", "m", [], { timeoutMs: 1_000 })).rejects
      .toMatchObject({ code: "unavailable" });
  });
});

describe("of several nodes, one that accepts requests and never answers", () => {
  beforeEach(() => void vi.useFakeTimers());

  const members = () => Promise.resolve(Response.json({ nodes: [] }));

  test("leaves reads time for the next one, and the next one is asked first from then on", async () => {
    const { asked, atlas } = clientOf({ silent: never, mute: never, fine: members });
    for (let i = 0; i < 3; i++) expect(await inTime(atlas.members())).toEqual([]);
    expect(asked).toEqual(["silent", "mute", "fine", "fine", "fine"]);
  });

  test("leaves calls with an idempotency key time, too", async () => {
    const { asked, atlas } = clientOf({ silent: never, fine: answer });
    const call = atlas.call("t", "a", "m", [], { idempotencyKey: "k" });
    const { epoch } = await inTime(call);
    expect([epoch, ...asked]).toEqual([7, "silent", "fine"]);
  });

  test("is skipped by the call after one that can't be repeated", async () => {
    const { asked, atlas } = clientOf({ silent: never, fine: answer });
    const call = () => inTime(atlas.call("t", "a", "m", [], { timeoutMs: 10 }));
    await expect(call()).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
    expect(asked).toEqual(["silent"]);
    expect((await call()).epoch).toBe(7);
    expect(asked).toEqual(["silent", "fine"]);
  });

  test("still counts if it was only slow", async () => {
    const slow = Promise.withResolvers<Response>();
    const { asked, atlas } = clientOf({
      slow: () => slow.promise,
      silent: () => {
        slow.resolve(success());
        return never();
      },
    });
    const call = atlas.call("t", "a", "m", [], { idempotencyKey: "k" });
    expect((await inTime(call)).epoch).toBe(7);
    expect(asked).toEqual(["slow", "silent"]);
  });

  test("may have run the call that the next one refuses", async () => {
    const { atlas } = clientOf({
      silent: never,
      strict: () => Promise.resolve(failure("not_found")),
    });
    const call = inTime(atlas.call("t", "a", "m", [], { idempotencyKey: "k" }));
    await expect(call).rejects.toMatchObject({ code: "not_found", maybeExecuted: true });
  });

  test("is waited for if the others can't be reached", async () => {
    const slow = Promise.withResolvers<Response>();
    const { asked, atlas } = clientOf({
      slow: () => slow.promise,
      shut: () => {
        setTimeout(() => slow.resolve(Response.json({ nodes: [] })));
        return Promise.resolve(failure("unavailable"));
      },
    });
    expect(await inTime(atlas.members())).toEqual([]);
    expect(new Set(asked.slice(1))).toEqual(new Set(["shut"]));
  });
});

describe("a failed call's error:", () => {
  test("a node that refuses the connection ran nothing", async () => {
    const call = connect(await nowhere(), { timeoutMs: 50 }).call("t", "a", "m", []);
    await expect(call).rejects.toMatchObject({ code: "unavailable", maybeExecuted: false });
  });

  test("an attempt with hardly any time does not hide the error before it", async () => {
    vi.useFakeTimers();
    let count = 0;
    const refusing = () => Promise.reject(Object.assign(new TypeError("no"), { code: REFUSED }));
    const { atlas } = clientOf({ shut: () => count++ === 0 ? refusing() : never() });
    const call = inTime(atlas.call("t", "a", "m", []));
    await expect(call).rejects.toMatchObject({
      code: "unavailable",
      message: "http://shut can't be reached: no",
      // The second attempt may have reached its node.
      maybeExecuted: true,
    });
    expect(count).toBe(2);
    await expect(inTime(atlas.members())).rejects.toMatchObject({ code: "timeout" });
  });

  test("an answer that came while this process was suspended is read", async () => {
    const { atlas } = clientOf({
      fine: () => new Promise((resolve) => setTimeout(() => resolve(stall(500)))),
    });
    /**
     * Blocks the process past the deadline; the answer arrives one turn of the event loop later.
     */
    const stall = (ms: number) => {
      const until = performance.now() + ms;
      while (performance.now() < until);
      return new Promise<Response>((resolve) => setTimeout(() => resolve(success())));
    };
    expect((await atlas.call("t", "a", "m", [])).epoch).toBe(7);
  });

  test("if an earlier attempt may have run, the last one's refusal doesn't change that", async () => {
    const { url } = await scripted((n) =>
      failure("unavailable", { maybeExecuted: n === 1, retryable: n === 1 })
    );
    const call = connect(url).call("t", "a", "m", [], { idempotencyKey: "k" });
    await expect(call).rejects.toMatchObject({ code: "unavailable", maybeExecuted: true });
  });

  test("a call without an answer in time is a timeout that may have run", async () => {
    const held = Promise.withResolvers<Response>();
    const { url } = await scripted(() => held.promise);
    const call = connect(url).call("t", "a", "m", [], { timeoutMs: 50 });
    await expect(call).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
    held.resolve(success());
  });

  test("a call that its caller aborts is a timeout, and not retryable", async () => {
    const held = Promise.withResolvers<Response>();
    const abort = new AbortController();
    const { url } = await scripted(() => {
      abort.abort();
      return held.promise;
    });
    const call = connect(url).call("t", "a", "m", [], { signal: abort.signal });
    await expect(call).rejects.toMatchObject({ code: "timeout", retryable: false });
    held.resolve(success());
  });

  test("nothing is sent if the caller has already aborted", async () => {
    const { url, requests } = await scripted(success);
    const signal = AbortSignal.abort();
    const call = connect(url).call("t", "a", "m", [], { signal });
    await expect(call).rejects.toMatchObject({ code: "timeout", maybeExecuted: false });
    const request = connect(url).request("calc", "pi", [5], { signal });
    await expect(request).rejects.toMatchObject({ code: "timeout", maybeExecuted: false });
    expect(requests).toHaveLength(0);
  });

  test("after a proxy's error page the call may have run", async () => {
    const { url } = await scripted(() => new Response("<h1>502</h1>", { status: 502 }));
    await expect(connect(url).call("t", "a", "m", [])).rejects.toMatchObject({
      code: "unavailable",
      maybeExecuted: true,
    });
  });

  test("a page that isn't Atlas's is unavailable", async () => {
    const { url } = await scripted(() => new Response("<h1>hello</h1>"));
    await expect(connect(url).lookup("t", "a", { timeoutMs: 1_000 })).rejects.toMatchObject({
      code: "unavailable",
    });
  });

  test("a redirect is not followed, and names its target", async () => {
    const target = await scripted(success);
    const { url } = await scripted(() => Response.redirect(`${target.url}/`, 307));
    await expect(connect(url, { token: "t" }).call("t", "a", "m", [])).rejects.toMatchObject({
      code: "unavailable",
      message: `${url} redirects to ${target.url}/ (HTTP 307), which is not followed: ` +
        "use that URL instead",
      retryable: false,
    });
    expect(target.requests).toHaveLength(0);
  });
});

test("the deadline is sent as the remaining time, and the token as a bearer token", async () => {
  const { url, requests } = await scripted(success);
  await connect(`${url}/`, { token: "t0ken", timeoutMs: 4_000 }).call("t", "a b", "m", [1]);
  const [request] = requests as [Seen];
  expect(new URL(request.url).pathname).toBe("/v1/resources/t/a%20b/m");
  expect(request.headers.get("authorization")).toBe("Bearer t0ken");
  expect(Number(request.headers.get("atlas-timeout-ms"))).toBeLessThanOrEqual(4_000);
  expect(Number(request.headers.get("atlas-timeout-ms"))).toBeGreaterThan(0);
});

test.each([
  ["ftp://x", {}],
  ["nonsense", {}],
  ["http://me:secret@x", {}],
  [[], {}],
  ["http://x", { timeoutMs: 0 }],
  ["http://x", { timeoutMs: 300_001 }],
])("connect(%j, %j) is a bad request", (url, options) => {
  expect(() => connect(url, options)).toThrow(
    expect.objectContaining({ name: "AtlasError", code: "bad_request" }),
  );
});

test.each([
  ["invalid_rrp", "t", "", "m", {}],
  ["invalid_rrp", "t", "a/../b", "m", {}],
  ["invalid_rrp", "a/b", "a", "m", {}],
  ["not_found", "t", "a", "constructor", {}],
  ["not_found", "t", "a", "..", {}],
  ["bad_request", "t", "a", "m", { idempotencyKey: "" }],
  ["bad_request", "t", "a", "m", { idempotencyKey: "é" }],
  ["bad_request", "t", "a", "m", { idempotencyKey: "k".repeat(257) }],
  ["bad_request", "t", "a", "m", { timeoutMs: NaN }],
])("%s before anything is sent: %s %s %s %j", async (code, type, id, method, options) => {
  const atlas = connect("http://127.0.0.1:9");
  await expect(atlas.call(type, id, method, [], options)).rejects.toMatchObject({ code });
});

test("awaiting or printing a stub sends no call", async () => {
  const stub = connect("http://127.0.0.1:9").resource("t", "a");
  expect(await stub).toBe(stub);
  expect(Object.keys(stub as object)).toEqual([]);
});
