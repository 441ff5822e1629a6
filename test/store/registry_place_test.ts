/** Which registry URLs of regions lead to the same registry, in any spelling. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { memoryStore } from "../../adapters/store/memory.ts";
import { openStore } from "../../adapters/store/open/open.ts";
import { regionalStore } from "../../adapters/store/regional/store.ts";
import { parseRegistries } from "../../adapters/store/regional/url.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import { refuses } from "../conformance/store_kit.ts";

const parse = (us: string, eu: string) => () => parseRegistries(`us=${us},ap=memory:,eu=${eu}`);

describe("two regions with one registry", () => {
  test.for([
    ["redis://127.0.0.1:17501", "redis://127.0.0.1:17501"],
    ["redis://127.0.0.1", "redis://localhost:6379/0"],
    ["redis://[::1]:6379/", "rediss://127.0.0.1"],
    ["redis://a:b@Redis.Example./3", "redis://c:d@redis.example:6379/3?replicas=1"],
    ["redis://h?strategy=optimistic&master=a&masters=a,b", "redis://h"],
    ["https://Eu.example", "https://eu.example:443/"],
    ["http://localhost:8079", "http://[::1]:8079"],
    ["file:a.db", "file:./x/../a.db?synchronous=full"],
    [`file:${join(process.cwd(), "a.db")}`, `file://${join(process.cwd(), "a.db")}`],
    ["redis+sentinel://a:1,b/main", "redis+sentinel://c,b:26379/main/0"],
    ["redis+cluster://a,b", "redis+cluster://b:6379"],
    ["redis+cluster://a,b", "redis://a"],
  ])("are refused: %s and %s", ([us, eu]) => {
    expect(parse(us as string, eu as string)).toThrow(/regions us and eu .* a registry of its own/);
  });

  test.for([
    ["redis://127.0.0.1/0", "redis://127.0.0.1/1"],
    ["redis://127.0.0.1:1", "redis://127.0.0.1:2"],
    ["redis://127.0.0.1", "redis://127.0.0.2"],
    ["https://a.example", "https://b.example"],
    ["file:a.db", "file:b/a.db"],
    ["redis+sentinel://a,b/main", "redis+sentinel://a,b/other"],
    ["redis+sentinel://a,b/main/0", "redis+sentinel://a,b/main/1"],
    ["redis+cluster://a,b", "redis+cluster://c,d"],
    // Each URL opens its own store, for tests.
    ["memory:", "memory:"],
    // URLs that can't be parsed are refused elsewhere.
    ["redis://", "redis://"],
    ["redis://:x/hunter2@h", "redis://:x/hunter2@h2"],
  ])("are accepted where the URLs differ: %s and %s", ([us, eu]) => {
    expect(parse(us as string, eu as string)).not.toThrow();
  });

  test("are refused with their URLs, without passwords", async () => {
    const url = "us=redis://:hunter2@h:1,eu=redis://me:hunter3@h:1/0";
    const message = "registry URL has one registry for the regions us and eu " +
      "(us=redis://***@h:1, eu=redis://***@h:1/0): each region needs a registry of its own";
    expect(() => parseRegistries(url)).toThrow(message);
    await refuses(openStore(url, { region: "us" }), "bad_request", message);
  });

  test("are refused if a program gives one store for both", async () => {
    const store = memoryStore();
    const stores = { us: store, ap: memoryStore(), eu: store };
    const message = "stores.eu is the store of us, too: it must be a registry of its own";
    await refuses(regionalStore({ self: "us", stores }), "bad_request", message);
    expect(await store.lookup("channels/a")).toBeNull();
  });

  test("are detected if both openers give one store", async () => {
    const store = memoryStore();
    const events: NodeEvent[] = [];
    const joined = await regionalStore({
      self: "us",
      stores: { us: () => Promise.resolve(store), eu: () => Promise.resolve(store) },
      onEvent: (event) => void events.push(event),
    });
    await refuses(joined.lookup("channels/eu~a"), "unavailable", "region eu");
    expect(events).toMatchObject([{ fields: { region: "eu", code: "bad_request" } }]);
    expect(events[0]?.fields?.reason).toContain("stores.eu is the store of us, too");
    expect(await joined.lookup("channels/us~a")).toBeNull();
    await joined.close();
  });
});
