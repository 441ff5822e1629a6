/** Bodies that come late or never, as `Atlas-Timeout-Ms` has it: nobody waits longer. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpApp } from "../../adapters/http/app.ts";
import type { AtlasNode, CallOptions } from "../../src/api.ts";
import { type Serving, serving } from "./serving.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

const bytes = (text: string) => new TextEncoder().encode(text);

/** A request whose body is what `source` gives. */
function posting(
  path: string,
  source: UnderlyingDefaultSource<Uint8Array>,
  headers: Record<string, string>,
): Request {
  // Nothing is asked of the source before the body is read.
  const body = new ReadableStream<Uint8Array>(source, { highWaterMark: 0 });
  const init = { method: "POST", body, headers, duplex: "half" };
  return new Request(`http://atlas.test${path}`, init);
}

describe("a body that breaks off without a word", () => {
  test.each([
    "/v1/resources/probes/late/add",
    "/v1/modules/calc/pi",
    "/v1/modules/calc",
  ])("of POST %s is given up at the deadline, and nothing runs", async (path) => {
    let isCancelled = false;
    const { turns } = served.node.stats();
    const request = posting(path, {
      start: (stream) => stream.enqueue(bytes("[1")),
      cancel: () => void (isCancelled = true),
    }, { "atlas-timeout-ms": "50", "content-length": "3" });
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
    expect(isCancelled).toBe(true);
    expect(served.node.stats().turns).toBe(turns);
  });
});

test("the time that a body takes is the call's", async () => {
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
