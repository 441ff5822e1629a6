/**
 * The HTTP API over a real node: every route, every refusal, and no internals in any answer.
 *
 * Covers adapters/http_wire/inputs.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpApp } from "../../adapters/http/app.ts";
import { errorResponse, STATUS_OF } from "../../adapters/http_wire/errors.ts";
import { AtlasError, ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { MAX_BODY_BYTES } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";
import { ask, hanging, type Serving, serving } from "./serving.ts";
import { until } from "../support/until.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

const call = (id: string, method: string, args: unknown, headers?: Record<string, string>) =>
  served.ask("POST", `/v1/resources/probes/${id}/${method}`, {
    body: JSON.stringify(args),
    ...(headers ? { headers } : {}),
  });

test("every code has a status", () => {
  expect(Object.keys(STATUS_OF).sort()).toEqual(Object.keys(ERROR_CODES).sort());
});

test("a call that may have run is not answered 421, which fetch would repeat by itself", async () => {
  const answered = async (maybeExecuted: boolean) => {
    const path = ["test/one"];
    const answer = errorResponse(new AtlasError("not_owner", "moved", { maybeExecuted, path }));
    expect(answer.headers.get("atlas-path")).toBe("test/one");
    return [answer.status, (await answer.json()).error];
  };
  const error = { message: "moved", retryable: true };
  expect(await answered(false)).toEqual([
    421,
    { code: "not_owner", ...error, maybeExecuted: false },
  ]);
  expect(await answered(true)).toEqual([
    503,
    { code: "unavailable", ...error, maybeExecuted: true },
  ]);
});

describe("a node answers", () => {
  test("health, readiness and members", async () => {
    expect(await served.ask("GET", "/healthz")).toMatchObject({ status: 200 });
    expect(await served.ask("GET", "/readyz")).toMatchObject({
      status: 200,
      body: { state: "serving" },
    });
    const { body } = await served.ask("GET", "/v1/nodes");
    expect(body.self).toBe(served.node.incarnation);
    expect(body.nodes).toMatchObject([{
      region: "test",
      node: "one",
      incarnation: served.node.incarnation,
      state: "live",
      hosts: ["probes", "small"],
    }]);
  });

  test("a call with result, owner and epoch", async () => {
    const { status, body, headers } = await call("a", "add", [2]);
    expect(status).toBe(200);
    expect(body).toEqual({ result: 2, rrp: "rrp:test/one/probes/a", epoch: expect.any(Number) });
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  });

  test("a call without a body has no arguments, without a result answers null", async () => {
    const answer = await served.ask("POST", "/v1/resources/probes/a/echo");
    expect(answer.body.result).toEqual([]);
    expect((await call("a", "echo", [null])).body.result).toBe(null);
    expect((await call("a", "answerNothing", [])).body).toEqual({
      result: null,
      rrp: "rrp:test/one/probes/a",
      epoch: expect.any(Number),
    });
    expect((await served.client().call("probes", "a", "answerNothing", [])).result).toBeUndefined();
  });

  test("an id is decoded exactly once", async () => {
    const { body } = await call("50%2525%20of%2Fall%3Aé", "echo", [1]);
    expect(body.rrp).toBe("rrp:test/one/probes/50%2525%20of%2Fall:%C3%A9");
    const lookup = await served.ask("GET", "/v1/resources/probes/50%2525%20of%2Fall:%C3%A9");
    expect(lookup.body.key).toBe("probes/50%2525%20of%2Fall:%C3%A9");
    expect(lookup.body.rrp).toBe(body.rrp);
  });

  test("lookups", async () => {
    await call("b", "add", [1]);
    const confirmed = await served.ask("GET", "/v1/resources/probes/b?require=confirmed");
    expect(confirmed.body).toMatchObject({
      key: "probes/b",
      rrp: "rrp:test/one/probes/b",
      verdict: "confirmed",
    });
    const nobody = await served.ask("GET", "/v1/resources/probes/nobody");
    expect(nobody.body).toMatchObject({ rrp: null, epoch: 0, verdict: "unowned" });
  });

  test("repeated calls with an idempotency key with the first call's answer", async () => {
    const headers = { "idempotency-key": "order 1/é".replace("é", "e") };
    expect((await call("idem", "add", [5], headers)).body.result).toBe(5);
    expect((await call("idem", "add", [5], headers)).body.result).toBe(5);
    expect((await call("idem", "add", [5])).body.result).toBe(10);
  });
});

describe("a node refuses", () => {
  test.each<[ErrorCode, string, string]>([
    ["not_found", "nothing", "/v1/resources/nothing/a/echo"],
    ["not_found", "no such method", "/v1/resources/probes/a/nothing"],
    ["not_found", "constructor", "/v1/resources/probes/a/constructor"],
    ["not_found", "__proto__", "/v1/resources/probes/a/__proto__"],
    ["not_found", "hasOwnProperty", "/v1/resources/probes/a/hasOwnProperty"],
    ["not_found", "onStart", "/v1/resources/probes/a/onStart"],
    ["not_found", "storage", "/v1/resources/probes/a/storage"],
    ["invalid_rrp", "NUL", "/v1/resources/probes/a%00b/echo"],
    ["invalid_rrp", "CRLF", "/v1/resources/probes/a%0D%0Ab/echo"],
    ["invalid_rrp", "encoded dots", "/v1/resources/probes/..%2F..%2Fb/echo"],
    ["invalid_rrp", "invalid UTF-8", "/v1/resources/probes/%ff%fe/echo"],
    ["invalid_rrp", "broken encoding", "/v1/resources/probes/50%/echo"],
    ["invalid_rrp", "a long id", `/v1/resources/probes/${"x".repeat(257)}/echo`],
    ["invalid_rrp", "an id of 1 MiB", `/v1/resources/probes/${"x".repeat(2 ** 20)}/echo`],
    ["invalid_rrp", "braces as type", "/v1/resources/%7B%7D/a/echo"],
    ["not_found", "an empty id", "/v1/resources/probes//echo"],
    ["not_found", "an unknown route", "/v2/nodes"],
    ["not_found", "the wrong method", "/v1/nodes"],
    ["not_found", "the dashboard", "/"],
  ])("%s: %s", async (code, _what, path) => {
    const { status, body } = await served.ask("POST", path, { body: "[]" });
    expect(body.error.code).toBe(code);
    expect(status).toBe(STATUS_OF[code]);
    expect(body.error).toEqual({
      code,
      message: expect.any(String),
      retryable: false,
      maybeExecuted: false,
    });
    expect(body.error.message.length).toBeLessThan(300);
  });

  test("an id may contain braces", async () => {
    expect((await call("%7B%7D", "echo", [1])).status).toBe(200);
  });

  test.each(["../nodes", "%2e%2e/%2e%2e/x", "a/..", "..;/x"])(
    "GET …/probes/%s causes no internal error",
    async (path) => {
      const { status } = await served.ask("GET", `/v1/resources/probes/${path}`);
      expect(status).toBeLessThan(500);
    },
  );

  test.each([
    ["an object", "{}"],
    ["text", '"a"'],
    ["not JSON", "[1,"],
    ["10,000 levels", "[".repeat(10_000) + "]".repeat(10_000)],
    ["invalid UTF-8", new Uint8Array([0x5b, 0x22, 0xff, 0x22, 0x5d])],
  ])("a body that is %s", async (_what, body) => {
    const answer = await served.ask("POST", "/v1/resources/probes/a/echo", { body });
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "bad_request" } } });
  });

  test("a body that is too large", async () => {
    const body = JSON.stringify(["x".repeat(MAX_BODY_BYTES)]);
    expect(await served.ask("POST", "/v1/resources/probes/a/echo", { body })).toMatchObject({
      status: 413,
      body: { error: { code: "payload_too_large", maybeExecuted: false } },
    });
  });

  test.each([
    ["atlas-timeout-ms", "0"],
    ["atlas-timeout-ms", "1.5"],
    ["atlas-timeout-ms", "300001"],
    ["atlas-timeout-ms", "soon"],
    ["idempotency-key", ""],
    ["idempotency-key", "k".repeat(257)],
  ])("header %s: %s", async (name, value) => {
    const { status, body } = await call("a", "echo", [], { [name]: value });
    expect(status).toBe(400);
    expect(body.error.code).toBe("bad_request");
    expect(body.error.message.toLowerCase()).toContain(`header ${name}`);
  });

  test("a lookup whose require is not `confirmed`", async () => {
    const { body } = await served.ask("GET", "/v1/resources/probes/a?require=maybe");
    expect(body.error.message).toContain('"maybe"');
  });
});

describe("user code that", () => {
  test("throws is answered with its message, without a stack", async () => {
    const { status, body, text } = await call("a", "fail", []);
    expect(status).toBe(500);
    expect(body.error).toMatchObject({ code: "app", message: "it broke at secret_file.ts" });
    expect(text).not.toMatch(/at .*\d+:\d+|stack/);
  });

  test.each([
    ["name"],
    ["stack"],
    ["message"],
    ["name", "Error"],
    ["code", "toString"],
    ["code", "E_MINE"],
    ["code", 5],
  ])("throws an odd error: its %s is %j", async (...args) => {
    const { status, body } = await call("odd", "failOddly", args, { "atlas-timeout-ms": "20000" });
    // An error that looks like Atlas's own `timeout` keeps its code.
    const code = args[0] === "message" ? "timeout" : "app";
    expect(status).toBe(STATUS_OF[code]);
    expect(body.error).toMatchObject({ code, maybeExecuted: true });
    const read = args[0] === "message" ? expect.stringContaining("can't be printed") : "odd";
    expect(body.error.message).toEqual(read);
  });

  test.each(Object.keys(ERROR_CODES))(
    "throws %s: the status is that of the error's code",
    async (code) => {
      const { status, body } = await call("a", "refuse", [code]);
      expect(body.error.code).toBe(code === "not_owner" ? "unavailable" : code);
      expect(status).toBe(STATUS_OF[body.error.code as ErrorCode]);
      expect(body.error).toMatchObject({ message: "refused by the app", maybeExecuted: true });
      const thrown = served.client().call("probes", "a", "refuse", [code]);
      await expect(thrown).rejects.toMatchObject(body.error);
    },
  );

  test("returns a value that can't be encoded is answered with an error", async () => {
    const { status, body } = await call("a", "unencodable", []);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body.error.message).toContain("function");
  });

  test("hangs sees its signal abort at the deadline, and the call ends", async () => {
    const clock = fakeClock();
    const still = await serving({ clock });
    const before = hanging();
    const headers = { "atlas-timeout-ms": "5000" };
    const asked = still.ask("POST", "/v1/resources/probes/slow/hang", { headers });
    await until(() => hanging().running > before.running);
    await clock.advance(5_100);
    const { status, body } = await asked;
    expect([status, body.error.code, body.error.maybeExecuted]).toEqual([504, "timeout", true]);
    await until(() => hanging().aborted > before.aborted);
    await still.close();
  });

  test("hangs sees its signal abort when its caller disconnects", async () => {
    const before = hanging();
    const abort = new AbortController();
    const asked = served.ask("POST", "/v1/resources/probes/gone/hang", { signal: abort.signal });
    asked.catch(() => {});
    await until(() => hanging().running > before.running);
    abort.abort();
    await until(() => hanging().aborted > before.aborted);
  });

  test("fills its mailbox, so that further calls fail as overloaded", async () => {
    const gone = new AbortController();
    const statuses: number[] = [];
    const all = Array.from({ length: 4 }, async () => {
      const { status } = await served.ask("POST", "/v1/resources/small/full/hang", {
        signal: gone.signal,
      });
      statuses.push(status);
    });
    await until(() => statuses.length > 0);
    expect(new Set(statuses)).toEqual(new Set([429]));
    gone.abort();
    await Promise.allSettled(all);
  });
});

describe("a token", () => {
  let guarded: Serving;
  beforeAll(async () => {
    guarded = await serving({ token: "t0ken" });
  });
  afterAll(() => guarded.close());

  test.each(["/v1/nodes", "/v1/unknown", "/v1", "/"])("guards %s", async (path) => {
    for (
      const authorization of ["Bearer wrong", "Basic t0ken", "Bearer ", "t0ken", "Bearer t0ken2"]
    ) {
      const answer = await guarded.ask("GET", path, { headers: { authorization } });
      expect(answer).toMatchObject({ status: 401, body: { error: { code: "unauthorized" } } });
    }
    const answer = await guarded.ask("GET", path);
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe("Bearer");
  });

  test("is accepted, and health needs none", async () => {
    const headers = { authorization: "bearer t0ken" };
    expect((await guarded.ask("GET", "/v1/nodes", { headers })).status).toBe(200);
    for (const path of ["/healthz", "/readyz", "/metrics"]) {
      expect((await guarded.ask("GET", path)).status).toBe(200);
    }
  });

  test("reaches the node through the client", async () => {
    expect(await guarded.client({ token: "t0ken" }).members()).toHaveLength(1);
    await expect(guarded.client().members()).rejects.toMatchObject({ code: "unauthorized" });
  });
});

describe("the client over a node", () => {
  test("gives stubs, lookups and pages of the same form", async () => {
    const atlas = served.client();
    expect(await atlas.resource("probes", "c 1").add(3)).toBe(3);
    expect(await atlas.lookup("probes", "c 1", { require: "confirmed" })).toMatchObject({
      key: "probes/c%201",
      verdict: "confirmed",
    });
    const { resources } = await atlas.resources("rrp:test/one/probes/c%201");
    expect(resources).toMatchObject([{ rrp: "rrp:test/one/probes/c%201" }]);
  });

  test("returns values unchanged", async () => {
    const value = {
      date: new Date(1),
      bytes: new Uint8Array([1, 2]),
      map: new Map<unknown, unknown>([[1, "a"], ["b", new Set([2])]]),
      big: 2n ** 60n,
      gone: undefined,
      none: null,
    };
    const echoed = await served.client().call("probes", "c", "echo", [value]);
    expect(echoed.result).toEqual(value);
  });

  test("returns errors with their code", async () => {
    const failing = served.client().call("probes", "c", "fail", []);
    await expect(failing).rejects.toMatchObject({
      name: "AtlasError",
      code: "app",
      message: "it broke at secret_file.ts",
    });
  });
});

describe("a node that starts and stops", () => {
  test("is unavailable on all routes before it is ready", async () => {
    const early = createHttpApp({ node: () => null });
    expect((await ask(early, "GET", "/healthz")).status).toBe(200);
    for (const path of ["/readyz", "/v1/nodes", "/v1/resources/probes/a"]) {
      const { status, body } = await ask(early, "GET", path);
      expect([status, body.error.code, body.error.retryable]).toEqual([503, "unavailable", true]);
    }
    expect((await ask(early, "GET", "/metrics")).status).toBe(200);
  });

  test("is not ready while it drains, and still answers", async () => {
    const leaving = await serving();
    expect(await leaving.ask("POST", "/v1/drain")).toMatchObject({
      status: 202,
      body: { state: "draining", node: "one" },
    });
    await until(async () => (await leaving.ask("GET", "/readyz")).status === 503);
    expect((await leaving.ask("GET", "/healthz")).status).toBe(200);
    expect((await leaving.ask("GET", "/v1/nodes")).status).toBe(200);
    await leaving.close();
  });

  test("answers running requests as it stops, and refuses later ones", async () => {
    const clock = fakeClock();
    const leaving = await serving({ clock });
    const before = hanging();
    const inside = leaving.ask("POST", "/v1/resources/probes/last/hang", {
      headers: { "atlas-timeout-ms": "5000" },
    });
    await until(() => hanging().running > before.running);
    const stopped = leaving.http.stop(60_000);
    expect((await leaving.ask("GET", "/healthz")).status).toBe(503);
    await clock.advance(5_100);
    expect((await inside).status).toBe(504);
    await stopped;
    await leaving.close();
  });
});
