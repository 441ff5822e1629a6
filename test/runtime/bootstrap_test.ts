/** Each kind of bootstrap, on nodes that share no registry. */
import { afterEach, describe, expect, test } from "vitest";
import {
  bootstrapOf,
  type BootstrapSetting,
  checkBootstrap,
  type CheckedBootstrap,
} from "../../adapters/config/bootstrap.ts";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import app from "../../examples/calc/app.ts";
import { defineApp } from "../../mod.ts";
import { until } from "../support/until.ts";

const nodes: ServedNode[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close({ drainMs: 1_000 })));
});

/** Each has its own memory registry: they can find each other only by the bootstrap. */
async function open(
  name: string,
  bootstrap?: BootstrapSetting,
  offers: boolean = true,
): Promise<ServedNode<typeof app>> {
  const mute = defineApp({ resources: {} }) as unknown as typeof app;
  const node = await serve(offers ? app : mute, {
    registry: "memory:",
    host: "127.0.0.1",
    port: 0,
    node: name,
    onEvent: () => {},
    ...bootstrap !== undefined && { bootstrap },
  });
  nodes.push(node as unknown as ServedNode);
  return node;
}

function checked(setting: BootstrapSetting): CheckedBootstrap {
  return checkBootstrap(setting) as CheckedBootstrap;
}

const { signal } = new AbortController();

describe("nodes find each other", () => {
  test.each<[string, (url: string) => BootstrapSetting]>([
    ["static:<url>", (url) => `static:http://127.0.0.1:1,${url}`],
    ["dns:<name>:<port>", (url) => `dns:localhost:${new URL(url).port}`],
    ["a function", (url) => () => Promise.resolve([url])],
  ])("by %s", async (_kind, bootstrapTo) => {
    const authority = await open("authority");
    const seller = await open("seller", bootstrapTo(authority.url));
    const buyer = await open("buyer", bootstrapTo(authority.url), false);
    const calc = await buyer.discover("calc", { capacity: 4, waitFor: "all" });
    expect(await calc.pi(5)).toBe("3.14159");
    const sellers = new Set(calc.$plb.stats().channels.map(({ node }) => node));
    expect([...sellers].sort()).toEqual(["authority", "seller"]);
    expect(await seller.authorities()).toMatchObject([{ node: "authority" }]);
    await until(async () => (await authority.authorities())[0]?.brokers === 3, "three brokers");
  });
});

describe("the core gets", () => {
  test("URLs as addresses of links", async () => {
    const { static: urls } = bootstrapOf(
      checked("static:http://10.0.0.1:8080,https://a.example/x/"),
      "http://127.0.0.1:1",
    ) as { static: readonly string[] };
    expect(urls).toEqual(["ws://10.0.0.1:8080/atlas/link", "wss://a.example/x/atlas/link"]);
  });

  test("a clear error for a function's invalid answer", async () => {
    for (const answer of [null, "x", [1]]) {
      const asked = bootstrapOf(async () => answer as never, "http://127.0.0.1:1");
      if (typeof asked !== "function") throw new Error("not a function");
      await expect(asked(signal)).rejects.toMatchObject({
        code: "bad_request",
        message: expect.stringMatching(/^bootstrap answered .*, it must be a list of addresses/),
      });
    }
  });

  test("the addresses of a DNS name with the URL scheme that this node publishes; with TLS the name itself", async () => {
    const plain = bootstrapOf(checked("dns:localhost:8080"), "http://10.0.0.1:8080");
    if (typeof plain !== "object" || !("dns" in plain)) throw new Error("not a name");
    const found = await plain.resolve("localhost", signal);
    expect(found.length).toBeGreaterThan(0);
    expect(found.every((host) => host === "127.0.0.1" || host === "::1")).toBe(true);
    expect(plain.address("127.0.0.1", 8080)).toBe("ws://127.0.0.1:8080/atlas/link");
    expect(plain.address("::1", 8080)).toBe("ws://[::1]:8080/atlas/link");
    await expect(plain.resolve("no-such-name.invalid", signal)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("no-such-name.invalid"),
    });

    const secure = bootstrapOf(checked("dns:atlas.example:443"), "https://a.example");
    if (typeof secure !== "object" || !("dns" in secure)) throw new Error("not a name");
    expect(await secure.resolve("atlas.example", signal)).toEqual(["atlas.example"]);
    expect(secure.address("atlas.example", 443)).toBe("wss://atlas.example/atlas/link");
  });
});
