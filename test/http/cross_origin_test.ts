/**
 * CORS: what a node answers browsers for pages of other origins, and that preflights need no token.
 */
import { afterEach, expect, test } from "vitest";
import { type Serving, serving } from "./serving.ts";

const PAGE = "https://app.example";
const OTHER = "https://other.example";

const all: Serving[] = [];
afterEach(async () => {
  await Promise.all(all.splice(0).map((served) => served.close()));
});

async function open(origins?: readonly string[]): Promise<Serving> {
  const served = await serving({ token: "t0ken", ...origins && { origins } });
  all.push(served);
  return served;
}

const CALL = "/v1/resources/probes/a/echo";

/** The preflight that a browser sends before a page of `origin` may call. */
const preflight = (served: Serving, origin: string) =>
  served.ask("OPTIONS", CALL, {
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,atlas-timeout-ms",
    },
  });

const listOf = (text: string | null) => (text ?? "").toLowerCase().split(/ *, */);

test.each([
  [[PAGE, "http://localhost:5173"], PAGE],
  [["*"], "*"],
])("%j: a preflight is answered without a token, and answers may be read", async (...given) => {
  const [origins, expected] = given;
  const served = await open(origins);
  const asked = await preflight(served, PAGE);
  expect(asked.status).toBe(204);
  expect(asked.headers.get("access-control-allow-origin")).toBe(expected);
  expect(listOf(asked.headers.get("access-control-allow-methods"))).toContain("post");
  expect(listOf(asked.headers.get("access-control-allow-headers"))).toEqual(
    expect.arrayContaining([
      "authorization",
      "content-type",
      "atlas-caller-region",
      "atlas-no-wait",
      "atlas-purchase",
      "atlas-timeout-ms",
      "idempotency-key",
      "traceparent",
    ]),
  );
  expect(asked.headers.get("access-control-allow-credentials")).toBe(null);
  const headers = { origin: PAGE, authorization: "Bearer t0ken" };
  const answer = await served.ask("POST", CALL, { headers, body: "[7]" });
  expect(answer).toMatchObject({ status: 200, body: { result: 7 } });
  expect(answer.headers.get("access-control-allow-origin")).toBe(expected);
  expect(answer.headers.get("atlas-region")).toBe("test");
  expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  expect(listOf(answer.headers.get("access-control-expose-headers")).sort()).toEqual(
    ["atlas-caller-region", "atlas-path", "atlas-region", "atlas-verdict"],
  );
});

test("pages of listed origins may read errors, too: of the API, of a missing token, of a stopping node", async () => {
  const served = await open([PAGE]);
  const headers = { origin: PAGE, authorization: "Bearer t0ken" };
  const asked = [
    () => served.ask("POST", "/v1/resources/nothings/a/echo", { headers }),
    () => served.ask("POST", CALL, { headers: { origin: PAGE } }),
    async () => {
      await served.http.stop(0);
      return await served.ask("POST", CALL, { headers });
    },
  ];
  for (const [i, ask] of asked.entries()) {
    const answer = await ask();
    expect(answer.status).toBe([404, 401, 503][i]);
    expect(answer.body.error.code).toBe(["not_found", "unauthorized", "unavailable"][i]);
    expect(answer.headers.get("access-control-allow-origin")).toBe(PAGE);
    expect(listOf(answer.headers.get("vary"))).toContain("origin");
  }
});

test("other origins get no CORS headers, and if no origin is listed none gets any", async () => {
  const served = await open([PAGE]);
  const headers = { origin: OTHER, authorization: "Bearer t0ken" };
  for (
    const answer of [
      await preflight(served, OTHER),
      await served.ask("POST", CALL, { headers }),
      await preflight(await open(), PAGE),
      await (await open([])).ask("POST", CALL, { headers }),
    ]
  ) expect(answer.headers.get("access-control-allow-origin")).toBe(null);
});
