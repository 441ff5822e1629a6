/** A call that a gateway forwards over real sockets, on the runtime that runs this. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { Channel } from "../../examples/channels/app.ts";
import { defineApp } from "../../mod.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";

// Without modules: authorities of a market would open links of their own.
const app = defineApp({ resources: { channels: Channel } });
const folder = mkdtempSync(join(tmpdir(), "atlas-gateway-"));
const registry = `file:${join(folder, "registry.db")}`;
const nodes: ServedNode<typeof app>[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function open(region: string, node: string, options: ServeOptions = {}) {
  const given = { registry, region, node, port: 0, onEvent: () => {}, ...options };
  const served = await serve(app, given);
  nodes.push(served);
  return served;
}

test("an owner that can't be dialled is reached through its region's gateway", async () => {
  console.log(`running on ${(await detectRuntime()).name}`);
  const gateway = await open("eu", "gw");
  // No server listens at its published address; it dials the others itself.
  const owner = await open("eu", "owner", { publicUrl: "http://127.0.0.1:9" });
  await owner.resource("channels", "far").send("ann", "1");
  await gateway.resource("channels", "near").send("ann", "1");
  await owner.resource("channels", "near").history();
  const asked = await open("us", "a", { gateways: { eu: [gateway.url] } });
  const client = connect<typeof app>(asked.url, { region: "us" });
  const answer = await client.call("channels", "far", "send", ["bob", "2"]);
  expect(answer).toMatchObject({ result: { seq: 2 }, rrp: "rrp:eu/owner/channels/far" });
  expect(answer.path).toEqual(["us/a", "eu/gw", "eu/owner"]);
  const again = await client.call("channels", "far", "send", ["bob", "3"]);
  expect(again.path).toEqual(["us/a", "eu/gw", "eu/owner"]);
  expect(gateway.stats().relays).toBeGreaterThanOrEqual(2);
});
