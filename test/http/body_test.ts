/** Bodies that come late or never: no request waits longer than its `Atlas-Timeout-Ms`. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpApp } from "../../adapters/http/app.ts";
import { isUnread } from "../../adapters/http_wire/fetched_request.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import type { CallOptions } from "../../src/api/calls.ts";
import { type Serving, serving } from "./serving.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

const bytes = (text: string) => new TextEncoder().encode(text);

/** A request with the body from `source`. */
function posting(
  path: string,
  source: UnderlyingDefaultSource<Uint8Array>,
  headers: Record<string, string>,
): Request {
  // The source is not read before the body is.
  const body = new ReadableStream<Uint8Array>(source, { highWaterMark: 0 });
  const init = { method: "POST", body, headers, duplex: "half" };
  return new Request(`http://atlas.test${path}`, init);
}

describe("a body that never ends", () => {
  const paths = ["/v1/resources/probes/late/add", "/v1/modules/calc/pi", "/v1/modules/calc"];
  test.each(paths.flatMap((path) =>
    [
      [path, "of 3 bytes", { "content-length": "3" }],
      [path, "in chunks", { "transfer-encoding": "chunked" }],
    ] as const
  ))("of POST %s %s is refused at the deadline, and nothing runs", async (
    path,
    _kind,
    headers,
  ) => {
    let isCancelled = false;
    const { turns } = served.node.stats();
    const request = posting(path, {
      start: (stream) => stream.enqueue(bytes("[1")),
      cancel: () => void (isCancelled = true),
    }, { "atlas-timeout-ms": "50", ...headers });
    const response = await served.http.fetch(request);
    expect(response.status).toBe(504);
    expect(await response.json()).toEqual({
      error: {
        code: "timeout",
        message: "the body did not come whole within 50 ms",
        retryable: true,
        maybeExecuted: false,
      },
    });
    // A body that the server reads in full can't be cancelled: the server closes the connection
    // instead.
    expect(isCancelled || isUnread(request)).toBe(true);
    if ("transfer-encoding" in headers) expect(isCancelled).toBe(true);
    expect(served.node.stats().turns).toBe(turns);
  });
});

test("the time that a body takes counts for the call's timeout", async () => {
  const asked: (CallOptions | undefined)[] = [];
  const node = Object.create(served.node, {
    call: {
      value: (...args: Parameters<AtlasNode["call"]>) => {
        asked.push(args[4]);
        return served.node.call(...args);
      },
    },
  });
  const request = posting("/v1/resources/probes/slow/add", {
    async pull(stream) {
      const began = performance.now();
      while (performance.now() < began + 5) await new Promise((resolve) => setTimeout(resolve, 1));
      stream.enqueue(bytes("[1]"));
      stream.close();
    },
  }, { "atlas-timeout-ms": "60000" });
  expect((await createHttpApp({ node: () => node }).fetch(request)).status).toBe(200);
  expect(asked[0]?.timeoutMs).toBeGreaterThan(0);
  expect(asked[0]?.timeoutMs).toBeLessThan(60_000);
});
