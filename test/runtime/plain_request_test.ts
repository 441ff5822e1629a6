/**
 * Requests in their plain form, on the runtime that runs this test: read and answered like others,
 * and left to `fetch` where a `Request` would differ.
 *
 * Covers adapters/platform/incoming_request.ts and adapters/http_wire/request_life.ts.
 */
import { afterEach, describe, expect, test } from "vitest";
import { FetchedRequest } from "../../adapters/http_wire/fetched_request.ts";
import { rawPath } from "../../adapters/http_wire/inputs.ts";
import { isAtlasError } from "../../src/errors.ts";
import type { PlainAnswer, PlainRequest, ServeOptions, Server } from "../../src/ports/runtime.ts";
import { Client, closeAll, closed, runtime } from "../support/raw_server.ts";
import { until } from "../support/until.ts";

const servers: Server[] = [];
afterEach(async () => {
  await closeAll();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** A server that asks `answer` first; what is left to `fetch` is answered "fetched". */
async function serve(answer: NonNullable<ServeOptions["answer"]>): Promise<Server> {
  const fetch = async (request: Request) => new Response(`fetched ${await request.text()}`);
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 65_536,
    answer,
    fetch,
  });
  servers.push(server);
  return server;
}

function text(body: string, headers: Record<string, string> = {}): PlainAnswer {
  return { status: 200, headers: { "content-type": "text/plain", ...headers }, body };
}

/** Reads the body, and answers it, or the code of the error. */
async function echo(request: PlainRequest): Promise<PlainAnswer> {
  try {
    return text(new TextDecoder().decode(await request.read(1_000, 30_000)));
  } catch (error) {
    return text(isAtlasError(error) ? error.code : "no AtlasError");
  }
}

/** What a client gets that sends `bytes` at once; its last request says `Connection: close`. */
async function sent(port: number, bytes: string): Promise<string> {
  const client = new Client(port, bytes);
  await closed(client);
  return client.text;
}

const CLOSE = "Host: a\r\nConnection: close\r\n";

test("method, URL, headers and body come unchanged, and the answer goes out as it is", async () => {
  const { port } = await serve(async (request) => {
    const { method, url, headers } = request;
    const body = new TextDecoder().decode(await request.read(1_000_000, 30_000));
    const names = ["x-a", "x-b", "x-none", "content-type"];
    const seen = [
      method,
      url.slice(url.indexOf("/v1")),
      ...names.map((it) => headers.get(it)),
      body,
    ];
    return { status: 201, headers: { "x-c": "3" }, body: JSON.stringify(seen) };
  });
  const body = "ü".repeat(100_000);
  const response = await fetch(`http://127.0.0.1:${port}/v1/a%20b/c?d=%2F`, {
    method: "POST",
    body,
    headers: [["x-a", "1"], ["x-b", "2"], ["x-a", " 3 "], ["content-type", "text/plain"]],
  });
  expect([response.status, response.headers.get("x-c")]).toEqual([201, "3"]);
  expect(await response.json()).toEqual([
    "POST",
    "/v1/a%20b/c?d=%2F",
    "1, 3",
    "2",
    null,
    "text/plain",
    body,
  ]);
});

test.each([
  ["whole", "Content-Length: 5\r\n\r\nhello"],
  ["in chunks", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
  ["empty", "Content-Length: 0\r\n\r\n"],
  ["not there", "\r\n"],
])("a body that is %s is read", async (kind, rest) => {
  const { port } = await serve(echo);
  const got = await sent(port, `POST /v1/x HTTP/1.1\r\n${CLOSE}${rest}`);
  expect(got.split("\r\n\r\n")[1]).toBe(["whole", "in chunks"].includes(kind) ? "hello" : "");
});

test("a body that comes in parts, and one that is asked for first, are read", async () => {
  const { port } = await serve(echo);
  const client = new Client(port, `POST / HTTP/1.1\r\n${CLOSE}Content-Length: 5\r\n\r\nhe`);
  await until(
    () => !client.tcp.connecting && client.tcp.bytesWritten > 0,
    "the first part is sent",
  );
  client.tcp.write("llo");
  await closed(client);
  expect(client.text).toContain("hello");
  const asks = "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  const patient = new Client(port, `POST / HTTP/1.1\r\n${CLOSE}${asks}`);
  await until(() => patient.text.includes("100 Continue"), "it may go on");
  patient.tcp.write("hello");
  await closed(patient);
  expect(patient.text).toMatch(/HTTP\/1\.1 200[^]*hello/);
});

test.each([
  ["announced", `Content-Length: 1001\r\n\r\n${"x".repeat(1_001)}`],
  ["in chunks", `Transfer-Encoding: chunked\r\n\r\n3e9\r\n${"x".repeat(1_001)}\r\n0\r\n\r\n`],
])("a body that is too large, %s, is refused", async (_kind, rest) => {
  const { port } = await serve(echo);
  expect(await sent(port, `POST / HTTP/1.1\r\n${CLOSE}${rest}`)).toContain("payload_too_large");
});

test("a body that doesn't come in time is refused, and its connection ends", async () => {
  const { port } = await serve(async (request) => {
    const error = await Promise.resolve(request.read(1_000, 20)).catch((thrown: unknown) => thrown);
    return text(isAtlasError(error) ? `${error.code}: ${error.message}` : "no error");
  });
  for (const rest of ["Content-Length: 5\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe"]) {
    const client = new Client(port, `POST / HTTP/1.1\r\nHost: a\r\n${rest}`);
    await closed(client);
    expect(client.text).toContain("timeout: the body did not come whole within 20 ms");
  }
});

test("a body whose client goes away is bad_request", async () => {
  const codes: string[] = [];
  const { port } = await serve(async (request) => {
    const answer = await echo(request);
    codes.push(String(answer.body));
    return answer;
  });
  for (const rest of ["Content-Length: 5\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe"]) {
    const asked = codes.length;
    const client = new Client(port, `POST / HTTP/1.1\r\nHost: a\r\n${rest}`);
    await until(() => !client.tcp.connecting && client.tcp.bytesWritten > 0, "it is sent");
    client.tcp.destroy();
    await until(() => codes.length > asked, "the reading ends");
  }
  expect(codes).toEqual(["bad_request", "bad_request"]);
});

describe("the signal", () => {
  test("aborts when the client disconnects before the answer", async () => {
    let begun = 0;
    let aborted = 0;
    const { port } = await serve((request) => {
      begun++;
      const { signal } = request;
      return new Promise((resolve) =>
        signal.addEventListener("abort", () => {
          if (signal.aborted && signal.reason instanceof Error) aborted++;
          resolve(text("too late"));
        }, { once: true })
      );
    });
    for (const [i, end] of (["end", "destroy"] as const).entries()) {
      const client = new Client(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      await until(() => begun > i, "it is served");
      client.tcp[end]();
      if (end === "end") client.tcp.destroySoon();
      await until(() => aborted > i, "it aborts");
    }
  });

  test("does not abort after the answer, and not for those who no longer listen", async () => {
    let aborted = 0;
    const { port } = await serve(({ signal }) => {
      signal.addEventListener("abort", () => aborted++, { once: true });
      const gone = () => aborted++;
      signal.addEventListener("abort", gone, { once: true });
      signal.removeEventListener("abort", gone);
      return text("fine");
    });
    const client = new Client(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => client.answers === 1, "it is answered");
    client.tcp.destroy();
    const later = new Client(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => later.answers === 1, "a later one is answered");
    expect(aborted).toBe(0);
  });

  test("of a Request aborts if that one's was aborted before it was asked for", async () => {
    const caller = new AbortController();
    const { signal } = new FetchedRequest(new Request("http://a/", { signal: caller.signal }));
    let aborted = 0;
    signal.addEventListener("abort", () => aborted++);
    caller.abort(new Error("gone"));
    await until(() => aborted === 1, "it aborts");
    expect([signal.aborted, signal.reason]).toEqual([true, new Error("gone")]);
  });
});

test("what has no plain answer is left to fetch, with its body", async () => {
  const { port } = await serve(() => null);
  const got = await sent(port, `POST / HTTP/1.1\r\n${CLOSE}Content-Length: 5\r\n\r\nhello`);
  expect(got).toContain("fetched hello");
});

test("an app that throws or rejects is answered with 500, without details", async () => {
  const { port } = await serve((request) => {
    if (request.url.endsWith("/now")) throw new Error("secret");
    return Promise.reject(new Error("secret"));
  });
  for (const path of ["/now", "/later"]) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
  }
});

test.each([
  "/a/../b",
  "/a/./b",
  "/a/%2e%2E/b",
  "/a/..",
  "/a\\b",
  "/a b",
  '/"',
  "/{}",
  "http://a/b",
])(
  "the target %s has the same path in its plain form as in a Request, or is refused",
  async (target) => {
    const paths: string[] = [];
    const options: Partial<ServeOptions> = {
      answer: (request) => (paths.push(`plain ${rawPath(request)}`), null),
      fetch: (request) => (paths.push(`fetched ${rawPath(request)}`), new Response("fine")),
    };
    const { port } = await runtime.serve({
      host: "127.0.0.1",
      port: 0,
      maxFrameBytes: 65_536,
      fetch: () => new Response(),
      ...options,
    }).then((server) => (servers.push(server), server));
    await sent(port, `GET ${target} HTTP/1.1\r\n${CLOSE}\r\n`);
    const [plain, fetched] = ["plain ", "fetched "].map((kind) =>
      paths.filter((it) => it.startsWith(kind)).map((it) => it.slice(kind.length))
    );
    if (plain?.length) expect(plain).toEqual(fetched);
  },
);

test("two headers Host are one that is not plain", async () => {
  const hosts: (string | null)[] = [];
  const { port } = await serve((
    request,
  ) => (hosts.push(request.headers.get("host")), text("fine")));
  await sent(port, `GET / HTTP/1.1\r\nHost: b\r\n${CLOSE}\r\n`);
  expect(hosts.every((it) => it === "b, a")).toBe(true);
});
