/** A type that is placed in a region has its home there, on a registry by region. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { defineApp, Resource } from "../../mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-placed-"));
const nodes: ServedNode[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

class Room extends Resource {
  where(): string {
    return this.rrp;
  }
}

const appIn = (region: string) =>
  defineApp({ resources: { rooms: { class: Room, placement: { region } }, halls: Room } });

async function open(region: string, files: string, options: ServeOptions = {}) {
  const at = (name: string) => `${name}=file:${join(folder, `${files}-${name}.db`)}`;
  const registry = `${at("us")},${at("eu")}`;
  const given = { registry, region, node: "n", port: 0, onEvent: () => {}, ...options };
  const node = await serve(appIn("eu"), given) as unknown as ServedNode;
  nodes.push(node);
  return node;
}

const placeOf = async (node: ServedNode, type: string, id: string) =>
  (await node.call(type, id, "where", [])).result;

test("keys of a type placed in a region are claimed there, whichever node is asked; an id's prefix takes precedence", async () => {
  const us = await open("us", "plain");
  await open("eu", "plain");
  expect(await placeOf(us, "rooms", "a")).toBe("rrp:eu/n/rooms/a");
  expect(await placeOf(us, "rooms", "us~a")).toBe("rrp:us/n/rooms/us~a");
  expect(await placeOf(us, "halls", "a")).toBe("rrp:us/n/halls/a");
});

test("`homes.types` and `homes.rule` take precedence over a type's placement; `homes.default` does not", async () => {
  const rule = (_: string, id: string) => id.startsWith("hall") ? "us" : null;
  const us = await open("us", "ruled", { homes: { default: "us", rule } });
  await open("eu", "ruled", { homes: { default: "us", rule } });
  expect(await placeOf(us, "rooms", "a")).toBe("rrp:eu/n/rooms/a");
  expect(await placeOf(us, "rooms", "hall")).toBe("rrp:us/n/rooms/hall");
  const typed = await open("us", "typed", { homes: { types: { rooms: "us" } } });
  expect(await placeOf(typed, "rooms", "a")).toBe("rrp:us/n/rooms/a");
});

test("a placement in a region without a registry is an error at start that names the type and the regions", async () => {
  const registry = "us=memory:,eu=memory:";
  const options = { registry, region: "us", node: "n", port: 0, onEvent: () => {} };
  await expect(serve(appIn("mars"), options)).rejects.toMatchObject({
    code: "bad_request",
    message: 'resource type rooms: placement.region is "mars", it must be one of us, eu, the ' +
      "regions of ATLAS_REGISTRY_URL",
  });
  const single = await serve(appIn("mars"), { ...options, registry: "memory:" });
  nodes.push(single as unknown as ServedNode);
});
