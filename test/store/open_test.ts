/** Which store each URL opens, and how each invalid URL is refused. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openStore } from "../../adapters/store/open/open.ts";
import { parseRegistries } from "../../adapters/store/regional/url.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import { freshKey, own, refuses } from "../conformance/store_kit.ts";
import { freePort } from "../support/ports.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import { startUpstash } from "../upstash/server.ts";
import { unless } from "../support/unless.ts";

const directory = mkdtempSync(join(tmpdir(), "atlas-open-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("memory: opens a new store each time", async () => {
  const [one, other] = await Promise.all([openStore("memory:"), openStore("memory:")]);
  const key = freshKey();
  await own(one, key);
  expect(await other.lookup(key)).toBeNull();
});

test("file: takes relative and absolute paths, and makes the directory", async () => {
  const file = join(directory, "a/b/registry.db");
  const key = freshKey();
  const first = await openStore(`file:${relative(process.cwd(), file)}?synchronous=full`);
  const owner = await own(first, key);
  await first.close();
  expect(existsSync(file)).toBe(true);
  for (const url of [`file:${file}`, `file://${file}`, `file:${file}?synchronous=normal`]) {
    const store = await openStore(url);
    expect(await store.lookup(key)).toEqual(owner);
    await store.close();
  }
});

test("redis: opens a connection", unless(redisMissing), async () => {
  const redis = await startRedis();
  const store = await openStore(redis.url);
  await own(store, freshKey());
  await store.close();
  await redis.close();
});

test("http: on loopback opens an HTTP Redis by its token", unless(redisMissing), async () => {
  const redis = await startRedis();
  const { url, token, close } = await startUpstash(redis.port);
  const store = await openStore(url, { token });
  await own(store, freshKey());
  await store.close();
  await refuses(openStore(url, { token: "wrong" }), "unauthorized", "ATLAS_REGISTRY_TOKEN");
  await refuses(openStore(url), "bad_request", "not set");
  await close();
  await redis.close();
});

test(
  "HTTP Redises by region have one token each; a wrong token of another region is logged and not shown to callers",
  unless(redisMissing),
  async () => {
    const redis = await startRedis();
    const [us, eu] = await Promise.all([startUpstash(redis.port), startUpstash(redis.port)]);
    const events: NodeEvent[] = [];
    const open = (token: Record<string, string>) =>
      openStore(`us=${us.url},eu=${eu.url}`, {
        region: "us",
        token,
        onEvent: (event) => void events.push(event),
      });
    const store = await open({ us: us.token, eu: eu.token });
    expect(await store.lookup("channels/eu~a")).toBeNull();
    await store.close();
    const astray = await open({ us: us.token, eu: us.token });
    expect(await astray.lookup("channels/us~a")).toBeNull();
    await refuses(astray.lookup("channels/eu~a"), "unavailable", "region eu");
    expect(events).toMatchObject([{ fields: { region: "eu", code: "unauthorized" } }]);
    expect(JSON.stringify(events)).not.toContain(us.token);
    await astray.close();
    await refuses(open({ us: eu.token, eu: eu.token }), "unauthorized", "region us");
    await Promise.all([us.close(), eu.close()]);
    await redis.close();
  },
);

test("a Redis without a server is unavailable", async () => {
  const url = `redis://127.0.0.1:${await freePort()}`;
  await refuses(openStore(url, { timeoutMs: 100 }), "unavailable", "can't be reached");
});

test.each([
  ["", "registry URL"],
  ["registry.db", "memory:, file:PATH"],
  ["ftp://somewhere", "memory:, file:PATH"],
  ["memory:x", "nothing after it"],
  ["file:", "file:PATH"],
  ["file://host/path", "file:"],
  ["file:x.db?mode=ro", "?mode=ro"],
  ["file:x.db?synchronous=off", "synchronous=off"],
  ["http://example.com", "loopback"],
  ["https://", "Upstash URL"],
  ["https://host", "ATLAS_REGISTRY_TOKEN"],
  ["redis://", "Redis URL"],
  ["redis://host:99999", "Redis URL"],
  ["redis://host/name", "database"],
  ["redis://host?x=1", "?x=1"],
  ["redis://u:%ff@host", "password"],
])("%s is refused", async (url, part) => {
  await refuses(openStore(url), "bad_request", part);
});

test("recognises a registry by region, and nothing else", () => {
  const read = (text: string) => {
    const registries = parseRegistries(text);
    return registries && [...registries];
  };
  expect(read("us-east-1=redis://a:1/0, eu=https://b,ap=file:x,y=1.db")).toEqual([
    ["us-east-1", "redis://a:1/0"],
    ["eu", "https://b"],
    ["ap", "file:x,y=1.db"],
  ]);
  expect(read("here=memory:")).toEqual([["here", "memory:"]]);
  for (
    const single of ["redis://h/0?name=x", "redis://u:p,a=b@h", "memory:", "us=", "=redis://h"]
  ) {
    expect(read(single), single).toBeNull();
  }
  expect(() => read("us=memory:,us=memory:")).toThrow(/"us" \(it stands there twice/);
  expect(() => read("u|s=memory:")).toThrow(/"u\|s"/);
});

test.for([
  ["redis://h?foo=1", "?foo=1"],
  ["redis://h/name", "database"],
  ["redis+sentinel://h:1", "master"],
  ["https://u@h", "Upstash URL"],
  ["file:x.db?mode=ro", "?mode=ro"],
])(
  "a registry by region with an invalid URL is refused at once: %s",
  async ([url, part]) => {
    const opening = openStore(`us=memory:,eu=${url}`, { region: "us" });
    await refuses(opening, "bad_request", part as string);
    await refuses(
      openStore(`us=memory:,eu=${url}`, { region: "us" }),
      "bad_request",
      "region eu: ",
    );
  },
);

test("a registry by region opens the node's own region at once, and others when they are needed", async () => {
  const files = ["us", "eu"].map((name) => `${name}=file:${join(directory, `${name}.db`)}`);
  const url = `${files},ap=redis://127.0.0.1:${await freePort()}`;
  const store = await openStore(url, { region: "eu", homes: { types: { sessions: "ap" } } });
  expect(existsSync(join(directory, "eu.db"))).toBe(true);
  expect(existsSync(join(directory, "us.db"))).toBe(false);
  expect(store.homeOf?.("channels/a")).toBe("us");
  await own(store, "channels/eu~a");
  expect(await store.lookup("channels/a")).toBeNull();
  expect(existsSync(join(directory, "us.db"))).toBe(true);
  await refuses(store.lookup("sessions/a"), "unavailable", "region ap");
  await store.close();
  await refuses(openStore(url, { region: "mars" }), "bad_request", '"mars", it must be one of us');
  await refuses(openStore(url), "bad_request", "one of us, eu, ap");
  await refuses(openStore(undefined as unknown as string), "bad_request", "undefined");
});

test("a time limit must not exceed the longest timer", async () => {
  for (const timeoutMs of [0, 0.5, NaN, 2 ** 31, 3e9]) {
    for (const url of ["redis://127.0.0.1:1", "https://h"]) {
      const opening = openStore(url, { token: "t", timeoutMs });
      await refuses(opening, "bad_request", "timeoutMs is");
      await refuses(opening, "bad_request", "from 1 to 2147483647");
    }
  }
});
