/** The addresses by which a served node may be dialled, on the runtime that runs this. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { readAddresses } from "../../adapters/config/environment.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { Channel } from "../../examples/channels/app.ts";
import { defineApp, type NodeEvent } from "../../mod.ts";
import { connect } from "../../adapters/client/client.ts";
import { freePort } from "../support/ports.ts";

describe("ATLAS_ADDRESSES", () => {
  const read = (text: string) => readAddresses({ ATLAS_ADDRESSES: text }, undefined);

  test("accepts URLs in any form, and drops duplicates", () => {
    expect(read("")).toEqual([]);
    expect(read(" http://A.example , https://b.example:443/x/,,ws://[::1]:80/atlas/link ")).toEqual(
      [
        "ws://a.example/atlas/link",
        "wss://b.example/x/atlas/link",
        "ws://[::1]/atlas/link",
      ],
    );
    expect(read("http://a,ws://a/atlas/link,http://a:80/")).toEqual(["ws://a/atlas/link"]);
    expect(readAddresses({ ATLAS_ADDRESSES: "nonsense" }, ["http://a"])).toEqual([
      "ws://a/atlas/link",
    ]);
  });

  test.each([
    ["a.example:80", '"a.example:80" (it is not an http, https, ws or wss URL of at most 1024'],
    ["10.0.0.1", '"10.0.0.1" (it is not a URL)'],
    ["redis://a", '"redis://a" (it is not an http'],
    ["http://ok,https://me:hunter2@a", '"https://***@a" (it has a user name, password'],
    ["http://a/?x=1", '"http://a/?x=1" (it has a user name, password, query'],
    ["http://a#x", "(it has a user name, password, query or fragment)"],
    ["http://a:0", "(its port is not 1 to 65535)"],
    [`http://${"a".repeat(2_000)}`, "(it is not an http"],
  ])("%s is one error that names the entry", (text, part) => {
    const message = (() => {
      try {
        return read(text);
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(message).toContain(`ATLAS_ADDRESSES has the entry `);
    expect(message).toContain(part);
    expect(message).toContain("use <URL>,<URL>…");
    expect(message).not.toContain("hunter2");
  });

  test("accepts at most 64", () => {
    const list = (count: number) => Array.from({ length: count }, (_, i) => `http://h${i}`);
    expect(readAddresses({}, list(64))).toHaveLength(64);
    expect(() => readAddresses({}, list(65))).toThrow("addresses names more than 64");
  });
});

describe("a served node", () => {
  // Without modules: authorities of a market would open links of their own.
  const app = defineApp({ resources: { channels: Channel } });
  const folder = mkdtempSync(join(tmpdir(), "atlas-addresses-"));
  const nodes: ServedNode<typeof app>[] = [];
  const events: NodeEvent[] = [];
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.close()));
    events.length = 0;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function open(region: string, node: string, options: ServeOptions = {}) {
    const registry = `file:${join(folder, "registry.db")}`;
    const onEvent = (event: NodeEvent) => void events.push(event);
    const served = await serve(app, { registry, region, node, port: 0, onEvent, ...options });
    nodes.push(served);
    return served;
  }

  let count = 0;
  /** A node of another region that has a link to an owner which can't be dialled. */
  async function gateway(options: ServeOptions): Promise<void> {
    const id = `near-${count++}`;
    const opened = await open("eu", `gw-${id}`, options);
    await opened.resource("channels", id).send("ann", "1");
    const [owner] = nodes as [ServedNode<typeof app>];
    await owner.resource("channels", id).history();
  }

  /**
   * Calls the owner's resource through the gateway at `url`; gives the path, or the error's
   * message.
   */
  async function callBy(url: string, timeoutMs = 20_000): Promise<string> {
    const node = await open("us", `asked-${count++}`, { gateways: { eu: [url] } });
    const client = connect<typeof app>(node.url, { timeoutMs });
    return await client.call("channels", "far", "history", []).then(
      ({ path }) => path.join(" "),
      ({ message }: Error) => message,
    );
  }

  beforeEach(async () => {
    const owner = await open("eu", "owner", { publicUrl: "http://127.0.0.1:9" });
    await owner.resource("channels", "far").send("ann", "1");
  });

  const PATH = /^us\/\S+ eu\/gw\S+ eu\/owner$/;
  const REFUSED = "name it in its ATLAS_ADDRESSES";

  test("is dialled at its public URL and at the address on which it listens", async () => {
    const port = await freePort();
    await gateway({ port, publicUrl: `http://localhost:${port}` });
    expect(await callBy(`http://localhost:${port}`)).toMatch(PATH);
    expect(await callBy(`http://127.0.0.1:${port}`)).toMatch(PATH);
    expect(events.filter(({ event }) => event === "link refused")).toEqual([]);
  });

  test("is dialled at another address only if that is listed", async () => {
    const [port, named] = [await freePort(), await freePort()];
    await gateway({ port });
    // Once this address is refused, the call uses the address that the gateway has published.
    expect(await callBy(`http://localhost:${port}`)).toMatch(PATH);
    const refusals = () => events.filter(({ event }) => event === "link refused");
    await expect.poll(() => refusals()[0]).toMatchObject({
      level: "warning",
      fields: {
        dialled: `ws://localhost:${port}/atlas/link`,
        why: expect.stringContaining(REFUSED),
      },
    });
    expect(events.find(({ event }) => event === "gateway failed")?.fields).toMatchObject({
      reason: expect.stringContaining(REFUSED),
    });
    await gateway({ port: named, addresses: `http://localhost:${named}` });
    expect(await callBy(`http://localhost:${named}`)).toMatch(PATH);
    expect(refusals().filter(({ fields }) => String(fields["dialled"]).includes(`:${named}/`)))
      .toEqual([]);
  });

  test("that publishes https is not dialled without TLS, unless such an address is listed", async () => {
    const port = await freePort();
    await open("eu", "gw", { port, publicUrl: "https://127.0.0.1:9" });
    expect(await callBy(`http://127.0.0.1:${port}`, 3_000)).toContain(REFUSED);
  });
});
