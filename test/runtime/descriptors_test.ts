/** A node whose connections use all of its descriptors serves again once they are gone. */
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { endAll, ready, start } from "./spawn.ts";

const clients: Socket[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await endAll();
});

/** Whether a new connection is answered. */
async function answers(url: string): Promise<boolean> {
  const request = { headers: { connection: "close" }, signal: AbortSignal.timeout(2_000) };
  const response = await fetch(`${url}/healthz`, request).catch(() => null);
  await response?.text();
  return response?.status === 200;
}

test.each([256, 1_024])(
  "a node with %d descriptors, all of them used, serves again",
  async (descriptors) => {
    const env = { PORT: "0", ATLAS_REGISTRY_URL: "memory:", ATLAS_LEASE: "fast" };
    const program = start("node.ts", [], env, { descriptors });
    const { url } = await ready(program);
    const port = Number(new URL(url).port);
    let connected = 0;
    let ended = 0;
    for (let i = 0; i < descriptors + 200; i++) {
      const client = connect(port, "127.0.0.1", () => {
        connected++;
        client.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ");
      });
      client.on("error", () => {});
      client.on("close", () => ended++);
      client.resume();
      clients.push(client);
    }
    await until(() => connected + ended >= descriptors + 200, "all have connected");
    for (const client of clients.splice(0)) client.destroy();
    await expect.poll(() => answers(url), { timeout: 60_000 }).toBe(true);
    expect(program.output.stderr).not.toContain("lapsed");
  },
);
