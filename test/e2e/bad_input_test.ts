/**
 * Invalid requests to a real node on each runtime: each gets its documented error, and the node
 * serves on.
 */
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { MAX_BODY_BYTES, MAX_ID_BYTES } from "../../src/limits.ts";
import { type Answer, ask, type AskOptions } from "./calls.ts";
import { endAll, type NodeProcess, type RuntimeName, startNode } from "./process.ts";
import { type RawAnswer, requestRaw, sendRaw } from "./raw_http.ts";

const APP = fileURLToPath(new URL("./apps/unruly.ts", import.meta.url));
const TOKEN = "t0ken";
const BEARER = `authorization: Bearer ${TOKEN}`;

describe.each<RuntimeName>(["bun", "deno", "node"])("bad input to a node on %s:", (runtime) => {
  let node: NodeProcess;
  beforeAll(async () => {
    const env = { ATLAS_REGISTRY_URL: "memory:", ATLAS_APP: APP, ATLAS_TOKEN: TOKEN };
    node = await startNode({ runtime, env });
  });
  // After any input the node serves, and no error was uncaught.
  afterEach(async () => {
    expect((await ask(node.url, "/readyz")).status).toBe(200);
    expect((await post("channels/fine/send", '["ann","hi"]')).status).toBe(200);
    expect(node.output.stderr).not.toContain("uncaught error");
  });
  afterAll(endAll);

  function post(path: string, body: AskOptions["body"], headers = {}): Promise<Answer> {
    return ask(node.url, `/v1/resources/${path}`, {
      method: "POST",
      body,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    });
  }

  function raw(target: string, headers: string[] = [], body = "[]"): Promise<RawAnswer> {
    return requestRaw(node.url, "POST", target, [BEARER, ...headers], body);
  }

  const refused = (status: number, code: string) => ({ status, body: { error: { code } } });

  describe("names", () => {
    test.each([
      ["a path segment", "a%2F..%2Fb"],
      ["NUL", "a%00b"],
      ["CRLF", "a%0D%0ASet-Cookie:x"],
      ["a control character beyond ASCII", "%C2%85"],
      ["invalid UTF-8", "%FF"],
      ["overlong UTF-8", "%C0%AF"],
      ["a half surrogate", "%ED%A0%80"],
      ["broken percent-encoding", "100%"],
      ["one byte too many", "x".repeat(MAX_ID_BYTES + 1)],
      ["too many bytes once encoded", "%C3%A9".repeat(MAX_ID_BYTES / 3)],
    ])("an id with %s is an invalid RRP", async (_what, id) => {
      for (const type of ["channels", "unruly"]) {
        const answer = await raw(`/v1/resources/${type}/${id}/echo`);
        expect(answer.status).toBe(400);
        expect(answer.text).toContain('"code":"invalid_rrp"');
      }
    });

    test.each([
      "%7B%7D",
      "%2A%3F%5Ba%5D",
      "%25%32%45",
      "a%20b",
      "%2Fetc%2Fpasswd",
      "'\";--",
      "%F0%9F%90%88",
    ])(
      "%s is an id like any other, and never reaches the registry unencoded",
      async (id) => {
        const answer = await post(`channels/${id}/send`, '["ann","hi"]');
        expect(answer.status).toBe(200);
        expect(answer.body.rrp).not.toMatch(/[{}*?[\] "]/);
        expect(answer.body.result.seq).toBe(1);
      },
    );

    test.each(["..", ".", "%2e%2e", "%2E.", "../../../etc/passwd"])(
      "a path with the dots %s is refused",
      async (id) => {
        const { status, text } = await raw(`/v1/resources/channels/${id}/send`);
        expect([status, text]).toEqual([
          expect.toSatisfy((it) => it === 400 || it === 404),
          expect.stringMatching(/"code":"(?:invalid_rrp|not_found)"/),
        ]);
      },
    );

    test.each([
      ["braces", "/v1/resources/channels/{}/send"],
      ["NUL", "/v1/resources/channels/\0/send"],
      ["bare CR", "/v1/resources/channels/a\rb/send"],
      ["a space", "/v1/resources/channels/a b/send"],
      ["bytes that are no ASCII", "/v1/resources/channels/\u00ff\u00fe/send"],
      ["no slash", "v1"],
      ["another scheme", "ftp://x/v1/nodes"],
    ])("a raw target with %s is answered, or its connection is closed", async (_what, target) => {
      const { status } = await raw(target);
      // Input that is not HTTP is answered by the runtime, with its own text.
      expect([0, 200, 400, 404, 505]).toContain(status);
    });

    test("an id of 1 MiB is refused", async () => {
      const { status } = await raw(`/v1/resources/channels/${"x".repeat(1_048_576)}/send`);
      expect(status).toSatisfy((it: number) => it === 0 || (it >= 400 && it < 500));
    });

    test.each(["%2e", "a%20b", "%00", "x".repeat(65), "%7B%7D"])(
      "the type %s is refused",
      async (type) => {
        const { status, text } = await raw(`/v1/resources/a/../${type}/x/send`);
        expect([400, 404]).toContain(status);
        expect(text).toMatch(/"code":"(?:invalid_rrp|not_found)"/);
        if (type !== "%2e") {
          expect(await post(`${type}/x/send`, "[]")).toMatchObject(refused(400, "invalid_rrp"));
        }
      },
    );

    test.each(["nothing", "constructor", "__proto__", "toString"])(
      "type %s is not found",
      async (type) => {
        expect(await post(`${type}/x/send`, "[]")).toMatchObject(refused(404, "not_found"));
      },
    );

    test.each([
      "dance",
      "constructor",
      "__proto__",
      "onStart",
      "onStop",
      "_private",
      "then",
      "toString",
      "hasOwnProperty",
      "__defineGetter__",
      "storage",
      "prototype",
      "Send",
      "send%00",
      "x".repeat(1_000),
    ])("method %s is not found", async (method) => {
      expect(await post(`channels/x/${method}`, "[]")).toMatchObject(refused(404, "not_found"));
    });

    test.each(["rrp", "channels", "rrp:a", "rrp:a/b/c/../", "rrp:{}/", "rrp:a/b/c/d/", "%FF"])(
      "the prefix %s is refused",
      async (prefix) => {
        const { status, text } = await requestRaw(
          node.url,
          "GET",
          `/v1/resources?prefix=${prefix}`,
          [BEARER],
        );
        expect(status).toBe(400);
        expect(text).toContain('"code":"invalid_rrp"');
      },
    );
  });

  describe("bodies", () => {
    test.each(["{}", '"text"', "5", "null", "true", "[", "[1]]", '{"a":', "\u0000", "NaN", "[1,]"])(
      "the body %j is refused",
      async (body) => {
        expect(await post("unruly/x/echo", body)).toMatchObject(refused(400, "bad_request"));
      },
    );

    test("a body of invalid UTF-8 is refused", async () => {
      const body = new Uint8Array([0x5b, 0x22, 0xff, 0x22, 0x5d]);
      expect(await post("unruly/x/echo", body)).toMatchObject(refused(400, "bad_request"));
    });

    test("a JSON body with the key __proto__ is refused", async () => {
      for (const key of ["__proto__", "\\u005f_proto__"]) {
        const answer = await post("unruly/x/echo", `[{"${key}":{"admin":true}}]`);
        expect(answer).toMatchObject(refused(400, "bad_request"));
      }
    });

    test("a body nested 10,000 deep is refused, as JSON and as MessagePack", async () => {
      const json = "[".repeat(10_000) + "]".repeat(10_000);
      expect(await post("unruly/x/echo", json)).toMatchObject(refused(400, "bad_request"));
      const objects = '{"a":'.repeat(10_000) + "1" + "}".repeat(10_000);
      expect(await post("unruly/x/echo", `[${objects}]`)).toMatchObject(
        refused(400, "bad_request"),
      );
      const packed = new Uint8Array(10_001).fill(0x91);
      packed[10_000] = 0xc0;
      expect(await post("unruly/x/echo", packed, { "content-type": "application/msgpack" }))
        .toMatchObject(refused(400, "bad_request"));
    });

    test.each([
      ["less than it announces", [0xdd, 0xff, 0xff, 0xff, 0xff]],
      ["an extension that isn't in use", [0x91, 0xd4, 0x72, 0x40]],
      ["an unknown format", [0xc1]],
      ["two values", [0x90, 0x90]],
      ["no array", [0x80]],
    ])("a MessagePack body with %s is refused", async (_what, bytes) => {
      const headers = { "content-type": "application/msgpack" };
      expect(await post("unruly/x/echo", new Uint8Array(bytes), headers))
        .toMatchObject(refused(400, "bad_request"));
    });

    test("an announced body that is too large is refused", async () => {
      const body = `["${"x".repeat(MAX_BODY_BYTES)}"]`;
      expect(await post("unruly/x/echo", body)).toMatchObject(refused(413, "payload_too_large"));
    });

    test("a body that is too large is refused, also in chunks without a length", async () => {
      const chunk = "x".repeat(65_536);
      const body = `10000\r\n${chunk}\r\n`.repeat(17) + "0\r\n\r\n";
      const answer = await raw("/v1/resources/unruly/x/echo", ["transfer-encoding: chunked"], body);
      expect(answer.status).toBe(413);
      expect(answer.text).toContain('"code":"payload_too_large"');
    });

    test.each([
      ["not a number", "content-length: many"],
      ["negative", "content-length: -1"],
      ["far too large", "content-length: 99999999999999"],
    ])("a content length that is %s is refused", async (_what, header) => {
      const { status } = await raw("/v1/resources/unruly/x/echo", [header]);
      expect(status).toSatisfy((it: number) => it === 0 || (it >= 400 && it < 500));
    });

    test("bytes that are not HTTP are refused", async () => {
      for (
        const bytes of ["\0\0\0\0\r\n\r\n", "x".repeat(100_000), "\x16\x03\x01\x02\x00\r\n\r\n"]
      ) {
        const { status } = await sendRaw(node.url, bytes);
        expect(status).toSatisfy((it: number) => it === 0 || (it >= 400 && it < 500));
      }
    });
  });

  describe("headers", () => {
    test.each(["0", "-1", "soon", "300001", "1e3", ""])(
      "the header Atlas-Timeout-Ms: %s is refused",
      async (timeout) => {
        expect(await post("unruly/x/echo", "[]", { "atlas-timeout-ms": timeout }))
          .toMatchObject(refused(400, "bad_request"));
      },
    );

    test("an idempotency key that is too long is refused", async () => {
      expect(await post("unruly/x/echo", "[]", { "idempotency-key": "k".repeat(257) }))
        .toMatchObject(refused(400, "bad_request"));
    });

    test.each(["", "Bearer", "Bearer ", "Bearer wrong", `Basic ${TOKEN}`, `Bearer ${TOKEN}x`])(
      "the header Authorization: %j is refused",
      async (authorization) => {
        for (const [method, path] of [["GET", "/v1/nodes"], ["POST", "/v1/drain"], ["GET", "/"]]) {
          const answer = await ask(node.url, path as string, {
            method: method as string,
            headers: { authorization },
          });
          expect(answer).toMatchObject(refused(401, "unauthorized"));
        }
      },
    );

    test("an unknown route and an unknown method are refused", async () => {
      const headers = { authorization: `Bearer ${TOKEN}` };
      for (const path of ["/v1/nothing", "/v2/nodes", "/atlas/link", "/v1/resources/channels"]) {
        expect(await ask(node.url, path, { headers })).toMatchObject(refused(404, "not_found"));
      }
      const deleted = await ask(node.url, "/v1/nodes", { method: "DELETE", headers });
      expect(deleted).toMatchObject(refused(404, "not_found"));
    });
  });

  describe("handlers", () => {
    test.each(["throws", "throwsNothing"])(
      "an error of the method %s is answered as `app`",
      async (method) => {
        const answer = await post(`unruly/x/${method}`, "[]");
        expect(answer).toMatchObject(refused(500, "app"));
        expect(answer.body.error).toMatchObject({ maybeExecuted: true });
        expect(JSON.stringify(answer.body)).not.toMatch(/unruly\.ts|\bat /);
      },
    );

    test.each([
      "answersFunction",
      "answersSymbol",
      "answersCircle",
      "answersDepth",
      "answersTooMuch",
    ])(
      "%s",
      async (method) => {
        expect(await post(`unruly/x/${method}`, "[]")).toMatchObject(refused(500, "app"));
        // The same for an answer in MessagePack.
        const { status } = await post(`unruly/x/${method}`, "[]", {
          accept: "application/msgpack",
        });
        expect(status).toBe(500);
      },
    );

    test("a resource that can't start is answered with an error", async () => {
      expect(await post("unruly/unstartable/echo", "[1]")).toMatchObject(refused(500, "app"));
    });

    test("a hanging method ends at its caller's deadline, and then at its own limit", async () => {
      expect(await post("unruly/hung/echo", "[6]")).toMatchObject({ body: { result: 6 } });
      expect(await post("unruly/hung/hangs", "[]", { "atlas-timeout-ms": "1000" }))
        .toMatchObject({ ...refused(504, "timeout"), body: { error: { maybeExecuted: true } } });
      // Later calls wait until the turn's time limit ends it; then the resource serves again.
      expect(await post("unruly/hung/echo", "[7]", { "atlas-timeout-ms": "10000" }))
        .toMatchObject({ status: 200, body: { result: 7 } });
      expect(await post("unruly/hung/hangs", "[]")).toMatchObject(refused(504, "timeout"));
    });

    test("a full mailbox is answered with `overloaded`", async () => {
      const limits = { "atlas-timeout-ms": "4000" };
      // One call runs and four wait, in any order; none ends before the last one has arrived.
      const sent = Array.from({ length: 8 }, () => post("crowded/x/hangs", "[]", limits));
      await Promise.race(sent);
      expect(await post("crowded/x/echo", "[1]")).toMatchObject({
        ...refused(429, "overloaded"),
        body: { error: { retryable: true, maybeExecuted: false } },
      });
      expect(await post("crowded/other/echo", "[1]")).toMatchObject({ status: 200 });
      const answers = await Promise.all(sent);
      const [late, full] = [refused(504, "timeout"), refused(429, "overloaded")];
      answers.sort((a, b) => b.status - a.status);
      expect(answers).toMatchObject([late, late, late, late, late, full, full, full]);
    });
  });
});
