/** The HTTP API over real sockets of the running runtime: failures that only a network has. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { MAX_BODY_BYTES } from "../../src/limits.ts";
import type { Server } from "../../src/ports/runtime.ts";
import { sendRaw } from "../e2e/raw_http.ts";
import { type app, hanging, type Serving, serving } from "./serving.ts";
import { until } from "../support/until.ts";

let served: Serving;
let server: Server;
let url: string;

beforeAll(async () => {
  served = await serving();
  const runtime = await detectRuntime();
  server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_024,
    fetch: (request) => served.http.fetch(request),
  });
  url = `http://127.0.0.1:${server.port}`;
});
afterAll(async () => {
  await served.close();
  await server.close();
});

test("the client returns results and errors", async () => {
  const atlas = connect<typeof app>(url);
  expect(await atlas.resource("probes", "s").add(2)).toBe(2);
  await expect(atlas.call("probes", "s", "nothing", [])).rejects.toMatchObject({
    code: "not_found",
  });
});

test("an oversize body is 413, announced or not, and the node serves on", async () => {
  const path = `${url}/v1/resources/probes/s/echo`;
  const announced = await fetch(path, { method: "POST", body: "x".repeat(2 * MAX_BODY_BYTES) });
  expect(announced.status).toBe(413);
  expect(await announced.json()).toMatchObject({ error: { code: "payload_too_large" } });

  const chunk = "x".repeat(65_536);
  const chunks = `10000\r\n${chunk}\r\n`.repeat(17);
  const answer = await sendRaw(
    url,
    "POST /v1/resources/probes/s/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" +
      `transfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
  );
  expect(answer.status).toBe(413);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

test("dots in a path, raw and encoded, cause no internal error", async () => {
  for (const path of ["/v1/resources/probes/../../x", "/v1/resources/probes/%2e%2e", "//", "/%"]) {
    const head = `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`;
    expect(`${(await sendRaw(url, head)).status}`).toMatch(/^4\d\d$/);
  }
});

test("a caller that disconnects aborts the turn", async () => {
  const before = hanging();
  const abort = new AbortController();
  const asked = fetch(`${url}/v1/resources/probes/socket/hang`, {
    method: "POST",
    body: "[]",
    signal: abort.signal,
  });
  asked.catch(() => {});
  await until(() => hanging().running > before.running);
  abort.abort();
  await until(() => hanging().aborted > before.aborted);
});
