/**
 * A client of several URLs tries the next node if the request certainly reached no node.
 *
 * Covers adapters/client/retrying_requester.ts.
 */
import { afterEach, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import type { Fetch } from "../../adapters/client/retrying_requester.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import type { Server } from "../../src/ports/runtime.ts";

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const success = () => Response.json({ result: "done", rrp: "rrp:r/n/t/a", epoch: 7 });

/** A plain HTTP server, and the number of its requests. */
async function liveServer(): Promise<{ port: number; count: () => number }> {
  let count = 0;
  const runtime = await detectRuntime();
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_024,
    fetch: () => {
      count++;
      return Promise.resolve(success());
    },
  });
  servers.push(server);
  return { port: server.port, count: () => count };
}

test.each([
  ["a port that fetch refuses", () => "http://127.0.0.1:6000"],
  ["one that can't be routed to", () => "http://255.255.255.255:8080"],
  ["one that speaks no TLS", async () => `https://127.0.0.1:${(await liveServer()).port}`],
])("a call goes on to the next URL from %s", async (_, closedUrl) => {
  const live = await liveServer();
  const atlas = connect([await closedUrl(), `http://127.0.0.1:${live.port}`], {
    timeoutMs: 10_000,
  });
  expect(await atlas.call("t", "a", "m", [])).toMatchObject({ result: "done" });
  expect(live.count()).toBe(1);
});

/** Errors that the runtimes' `fetch` throws, with their causes, the outermost first. */
function failing(...errors: { code?: string; message: string }[]): Error {
  const [first, ...rest] = errors as [{ code?: string; message: string }];
  const cause = rest.length > 0 ? failing(...rest) : undefined;
  return Object.assign(new TypeError(first.message, { cause }), first);
}

const node = (code: string) => failing({ message: "fetch failed" }, { code, message: "…" });
const bun = (code: string) => failing({ code, message: `${code}: Unable to connect.` });
const deno = (why: string, at = "http://a.example/v1/resources/t/a/m") =>
  failing({ message: "fetch failed" }, {
    message: `error sending request for url (${at}): ${why}`,
  });

/** Whether a call tries the second URL if `fetch` of the first one throws this. */
async function goesOn(thrown: Error): Promise<boolean> {
  const asked: string[] = [];
  const fetch: Fetch = (url) => {
    asked.push(url);
    return asked.length === 1 ? Promise.reject(thrown) : Promise.resolve(success());
  };
  const atlas = connect(["http://a.example", "http://b.example"], { fetch });
  const isDone = await atlas.call("t", "a", "m", []).then(() => true, () => false);
  expect(asked).toHaveLength(isDone ? 2 : 1);
  return isDone;
}

describe("each runtime's error", () => {
  test.each([
    ...["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOTFOUND", "EAI_AGAIN"].map(
      node,
    ),
    ...["UND_ERR_CONNECT_TIMEOUT", "EPROTO", "ERR_SSL_WRONG_VERSION_NUMBER"].map(node),
    ...["ERR_TLS_CERT_ALTNAME_INVALID", "CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT"].map(
      node,
    ),
    ...["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN"].map(node),
    failing({ message: "fetch failed" }, { message: "bad port" }),
    ...["ECONNREFUSED", "ConnectionRefused", "EHOSTUNREACH", "EPROTO", "CERT_HAS_EXPIRED"].map(bun),
    deno("client error (Connect): tcp connect error: No route to host (os error 113)"),
    deno("client error (Connect): dns error: failed to lookup address information"),
    deno("client error (Connect): invalid peer certificate: UnknownIssuer"),
    failing({ message: "Fetch failed: Requests to port 6000 are blocked" }),
  ])("nothing was sent: %o", async (thrown) => {
    expect(await goesOn(thrown)).toBe(true);
  });

  test.each([
    ...["ECONNRESET", "ETIMEDOUT", "EPIPE", "UND_ERR_SOCKET", "ERR_SSL_BAD_RECORD_MAC"].map(node),
    Object.assign(bun("EHOSTUNREACH"), { syscall: "read" }),
    bun("ECONNRESET"),
    deno("client error (SendRequest): connection closed before message completed"),
    deno("client error (SendRequest): broken", "http://a.example/v1/resources/t/ECONNREFUSED/m"),
    failing({ message: "Failed to fetch" }),
  ])("it may have been sent: %o", async (thrown) => {
    expect(await goesOn(thrown)).toBe(false);
  });
});
