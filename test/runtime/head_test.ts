/** HEAD is answered like GET on this runtime: the same status and headers, and no content. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import app from "../../examples/channels/app.ts";
import { sendRaw } from "../e2e/raw_http.ts";

let node: ServedNode<typeof app>;
beforeAll(async () => {
  const options = { registry: "memory:", port: 0, origins: "https://app.example" };
  node = await serve(app, { ...options, onEvent: () => {} });
});
afterAll(() => node.close());

/** The status, the headers except those that depend on the time, and the content. */
async function ask(method: string, path: string): Promise<{ head: string[]; content: string }> {
  const { text } = await sendRaw(
    node.url,
    `${method} ${path} HTTP/1.1\r\nHost: ${new URL(node.url).host}\r\n` +
      "Connection: close\r\nOrigin: https://app.example\r\n\r\n",
  );
  const [head = "", content = ""] = text.split("\r\n\r\n");
  const headLines = head.toLowerCase().split("\r\n");
  const lines = headLines.filter((line) => !/^(?:date|keep-alive):/.test(line));
  return { head: lines.sort(), content };
}

test.each([
  "/healthz",
  "/readyz",
  "/v1/nodes",
  "/v1/resources?prefix=rrp:",
  "/v1/resources/channels/a",
  "/v1/resources/channels/a?require=confirmed",
  "/v1/resources/channels/a?require=more",
  "/v1/modules",
  "/v1/authorities",
  "/v1/connect/channels/a",
  "/nowhere",
])("HEAD %s is answered like GET, without content", async (path) => {
  const get = await ask("GET", path);
  const head = await ask("HEAD", path);
  expect(get.content).not.toBe("");
  expect(head.content).toBe("");
  // An age or a seq may have one more digit by then.
  const length = /^content-length: [1-9]\d+$/;
  const shapeOf = (lines: string[]) => lines.map((line) => length.test(line) ? "a length" : line);
  expect(shapeOf(head.head)).toEqual(shapeOf(get.head));
  expect(get.head.join()).toContain(`content-length: ${get.content.length}`);
});
