/** serve() as a library: two nodes on one registry, linked over their own HTTP ports. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, afterEach, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import app from "../../examples/channels/app.ts";
import {
  defineApp,
  defineModule,
  type FunctionContext,
  type NodeEvent,
  Resource,
} from "../../mod.ts";
import { sendRaw } from "../e2e/raw_http.ts";
import { freePort } from "../support/ports.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-serve-"));
const registry = `file:${join(folder, "registry.db")}`;
const nodes: ServedNode<typeof app>[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function open(node: string, options: ServeOptions = {}): Promise<ServedNode<typeof app>> {
  const served = await serve(app, { registry, node, port: 0, onEvent: () => {}, ...options });
  nodes.push(served);
  return served;
}

test("one of two nodes owns a key, whichever is asked, and a drain hands the key over at once", async () => {
  const secret = "0123456789abcdef0123456789abcdef";
  const one = await open("one", { secret });
  const two = await open("two", { secret: `another-secret-of-at-least-32-bytes,${secret}` });
  const id = "shared";
  expect(await one.resource("channels", id).send("ann", "1")).toMatchObject({ seq: 1 });
  const throughTwo = connect<typeof app>(two.url);
  const second = await throughTwo.call("channels", id, "send", ["bob", "2"]);
  expect(second).toMatchObject({ result: { seq: 2 }, rrp: "rrp:local/one/channels/shared" });
  expect(one.stats().links + two.stats().links).toBeGreaterThan(0);

  await one.drain();
  const third = await throughTwo.call("channels", id, "send", ["bob", "3"]);
  expect(third).toMatchObject({ result: { seq: 3 }, rrp: "rrp:local/two/channels/shared" });
  expect(third.epoch).toBeGreaterThan(second.epoch);
  expect((await fetch(`${one.url}/readyz`)).status).toBe(503);
  const throughOne = await connect<typeof app>(one.url).resource("channels", id).history(2);
  expect(throughOne).toEqual([{ seq: 3, from: "bob", text: "3" }]);
});

test("preflights of listed origins are answered without a token", async () => {
  const origin = "https://app.example";
  const one = await open("one", { origins: [origin], token: "t0ken" });
  const url = `${one.url}/v1/resources/channels/lobby/history`;
  const headers = { origin, "access-control-request-method": "POST" };
  const asked = await fetch(url, { method: "OPTIONS", headers });
  expect([asked.status, await asked.text()]).toEqual([204, ""]);
  expect(asked.headers.get("access-control-allow-origin")).toBe(origin);
  const answer = await fetch(url, {
    method: "POST",
    headers: { origin, authorization: "Bearer t0ken" },
  });
  expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
  expect(await answer.json()).toMatchObject({ result: [] });
});

test("a link without the secret is refused, and the call's error says so", async () => {
  const one = await open("one", { secret: "0123456789abcdef0123456789abcdef" });
  const two = await open("two", { secret: "fedcba9876543210fedcba9876543210" });
  await one.resource("channels", "mine").send("ann", "1");
  const call = two.resource("channels", "mine", { timeoutMs: 500 }).send("bob", "2");
  await expect(call).rejects.toMatchObject({ name: "AtlasError" });
  expect(await one.resource("channels", "mine").history()).toHaveLength(1);
});

/** Turns that last until a test has ended. */
const begun: string[] = [];
class Slow extends Resource {
  async go(name: string): Promise<void> {
    begun.push(name);
    await new Promise((resolve) => this.signal.addEventListener("abort", resolve));
  }
}

test("requests that outlast the close are answered with an error, and the log has the reason", async () => {
  const events: string[] = [];
  const slow = defineApp({
    resources: { slow: Slow },
    modules: {
      calc: defineModule({
        version: "1.0.0",
        capacity: 1,
        functions: {
          hold(this: FunctionContext, name: string): Promise<void> {
            begun.push(name);
            return new Promise((resolve) => this.signal.addEventListener("abort", () => resolve()));
          },
        },
      }),
    },
  });
  const onEvent = ({ event }: NodeEvent) => void events.push(event);
  const node = await serve(slow, { registry: "memory:", node: "slow", port: 0, onEvent });
  const ask = async (path: string, name: string) => {
    const body = JSON.stringify([name]);
    const response = await fetch(`${node.url}/v1/${path}`, { method: "POST", body });
    return { status: response.status, ...await response.json() };
  };
  const running = [ask("resources/slow/x/go", "turn"), ask("modules/calc/hold", "run")];
  await expect.poll(() => begun.toSorted()).toEqual(["run", "turn"]);
  const waiting = [ask("resources/slow/x/go", "late turn"), ask("modules/calc/hold", "late run")];
  await expect.poll(() => node.stats()).toMatchObject({ queued: 1, moduleWaiting: 1 });
  await expect(node.close({ drainMs: NaN })).rejects.toThrow("drainMs is NaN, it must be 0 to 300");
  await node.close({ drainMs: 0 });
  const refused = (maybeExecuted: boolean) => ({
    status: 503,
    error: expect.objectContaining({ code: "unavailable", retryable: true, maybeExecuted }),
  });
  expect(await Promise.all(running)).toEqual([refused(true), refused(true)]);
  expect(await Promise.all(waiting)).toEqual([refused(false), refused(false)]);
  expect(begun.toSorted()).toEqual(["run", "turn"]);
  expect(events).toContain("closed during a turn");
  expect(events).not.toContain("turn ran too long");
});

test("close frees the port and leaves no process handler behind", async () => {
  const before = process.listenerCount("SIGTERM") + process.listenerCount("unhandledRejection");
  const port = await freePort();
  const one = await open("closing", { port });
  expect(process.listenerCount("SIGTERM") + process.listenerCount("unhandledRejection")).toBe(
    before,
  );
  await one.close();
  expect(await one.closed).toBeNull();
  expect(one.state).toBe("closed");
  const next = await open("closing", { port });
  expect(new URL(next.url).port).toBe(String(port));
});

test("a plain request to the path of links is not found", async () => {
  const one = await open("plain");
  expect((await fetch(`${one.url}/atlas/link`)).status).toBe(404);
});

test("only GET becomes a link", async () => {
  const one = await open("posted");
  const { status } = await sendRaw(
    one.url,
    "POST /atlas/link HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, close\r\n" +
      "upgrade: websocket\r\nsec-websocket-version: 13\r\n" +
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncontent-length: 0\r\n\r\n",
  );
  // Deno's own answer is 400.
  expect([400, 404]).toContain(status);
});

test("HTTP/1.0 without a host is served", async () => {
  const one = await open("old");
  const request = "POST /v1/resources/channels/old/send HTTP/1.0\r\ncontent-length: 12\r\n\r\n";
  const sent = await sendRaw(one.url, `${request}["ann","hi"]`);
  expect(sent).toMatchObject({ status: 200, text: expect.stringContaining('"seq":1') });
  const listed = await sendRaw(one.url, "GET /v1/resources?limit=1 HTTP/1.0\r\n\r\n");
  expect(listed).toMatchObject({ status: 200, text: expect.stringContaining("channels/old") });
});

test.each([
  ["content-length: 50", '["a"'],
  ["transfer-encoding: chunked", '4\r\n["a"\r\n'],
])(
  "a body that never comes whole is answered at the call's deadline, and its connection ends: %s",
  async (
    header,
    start,
  ) => {
    const one = await open("patient");
    const socket = connectTcp(Number(new URL(one.url).port), "127.0.0.1");
    try {
      let answer = "";
      let isClosed = false;
      socket.on("close", () => isClosed = true);
      socket.on("data", (data) => answer += data);
      socket.write(
        "POST /v1/resources/channels/late/send HTTP/1.1\r\nhost: localhost\r\natlas-timeout-ms: 100\r\n" +
          `${header}\r\n\r\n${start}`,
      );
      await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 504[^]*"code":"timeout"/);
      expect(one.stats().turns).toBe(0);
      await expect.poll(() => isClosed).toBe(true);
    } finally {
      socket.destroy();
    }
  },
);

test.each(["a b", "a%zz", "a/b", "a?b", "a#b", "u@a", "a:99999", "[::1"])(
  "an invalid Host is refused with Atlas's own error: %s",
  async (host) => {
    const one = await open("named");
    for (const path of ["/v1/resources", "/v1/nodes", "/healthz", "/nothing"]) {
      const head = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;
      const { status, text } = await sendRaw(one.url, head);
      expect(status).toBe(400);
      expect(text).toContain('"code":"bad_request"');
      expect(text).toMatch(/Host/);
    }
  },
);

test("a start that fails closes all that it opened", async () => {
  const first = serve(app, { registry: "redis://127.0.0.1:1", port: 0, onEvent: () => {} });
  await expect(first).rejects.toThrow(/^registry is redis:\/\/127\.0\.0\.1:1/);
});
