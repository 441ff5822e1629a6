/** Covers the cache of src/resource/storage.ts: which reads of a resource go to the store. */
import { expect, test } from "vitest";
import {
  createNode,
  defineApp,
  inProcessTransport,
  memoryStore,
  Resource,
  type Store,
} from "../../mod.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

class Shelf extends Resource {
  async put(key: string, text: string): Promise<void> {
    await this.storage.put(key, text);
  }

  async get(key: string): Promise<unknown> {
    return await this.storage.get(key) ?? null;
  }
}

/** A shelf, and the fields that were read from its store. */
async function shelf() {
  const read: string[] = [];
  const inner = memoryStore();
  const store = new Proxy<Store>(inner, {
    get(target, name) {
      if (name === "read") {
        return (key: string, fields: string[], ...rest: []) => {
          read.push(...fields);
          return target.read(key, fields, ...rest);
        };
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const node = await createNode(defineApp({ resources: { shelf: { class: Shelf } } }), {
    region: "here",
    node: "a",
    store,
    transport: inProcessTransport(),
  });
  cleanups.push(() => node.close());
  return { shelf: node.resource("shelf", "1"), read };
}

test("a value is read from the store once, and not at all after it was written", async () => {
  const { shelf: it, read } = await shelf();
  expect([await it.get("a"), await it.get("a")]).toEqual([null, null]);
  await it.put("b", "1");
  await it.put("a", "2");
  expect([await it.get("b"), await it.get("a")]).toEqual(["1", "2"]);
  expect(read).toEqual(["s:a"]);
});

test("the values of the 64 latest keys are cached, the oldest are read again", async () => {
  const { shelf: it, read } = await shelf();
  for (let i = 0; i < 65; i++) await it.put(`k${i}`, String(i));
  for (let i = 64; i >= 0; i--) expect(await it.get(`k${i}`)).toBe(String(i));
  expect(read).toEqual(["s:k0"]);
});

test("values of more than 16,384 characters together, or 4,096 each, are not all cached", async () => {
  const { shelf: it, read } = await shelf();
  await it.put("large", "x".repeat(4_096));
  for (let i = 0; i < 5; i++) await it.put(`k${i}`, "x".repeat(4_000));
  for (let i = 4; i >= 1; i--) await it.get(`k${i}`);
  expect(read).toEqual([]);
  await it.get("k0");
  await it.get("large");
  await it.get("large");
  expect(read).toEqual(["s:k0", "s:large", "s:large"]);
});
