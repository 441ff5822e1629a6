/**
 * A malicious HTTP Redis: its answers cost bounded memory, and token and body are sent to no other
 * server.
 *
 * Covers adapters/store/redis/http_requester.ts.
 */
import process from "node:process";
import { createServer } from "node:http";
import { describe, expect, test } from "vitest";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { MAX_ANSWER_BYTES } from "../../adapters/store/redis/http_requester.ts";
import type { Store } from "../../src/ports/store.ts";
import { freshKey, own, refuses } from "../conformance/store_kit.ts";
import { freePort } from "../support/ports.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { HOSTILE_ANSWERS, type HostileAnswer, inOrder } from "../upstash/faults.ts";
import { cleanups } from "../upstash/store_setup.ts";
import { startUpstash, type TestUpstash } from "../upstash/server.ts";
import { unless } from "../support/unless.ts";

/** Bytes that an answer may take besides those that are read: buffers of sockets and streams. */
const BUFFERS = 67_108_864;
/** Memory by which a process may grow for any answer: far less than the bomb's 4 GiB. */
const GROWTH = 1_073_741_824;

/** The error for each kind of answer; the other kinds end in a timeout. */
const MESSAGES: { readonly [kind in HostileAnswer]: RegExp } = {
  bomb: /encoding "gzip", which was not asked for|longer than \d+ bytes/,
  flood: /longer than \d+ bytes|no answer within/,
  drip: /no answer within/,
  moved: /redirects to http:\/\/\S+ \(HTTP 307\), which is not followed/,
  found: /redirects to http:\/\/\S+ \(HTTP 302\), which is not followed/,
  page: /content type "text\/html", not JSON/,
  events: /content type "text\/event-stream", not JSON/,
  longError: /longer than \d+ bytes/,
  shape: /answers \d+ commands with/,
  nulls: /answers \d+ commands with "\[null,/,
  scalar: /answers \d+ commands with "\\"OK\\""/,
};

/** A store on a Redis behind an HTTP server with hostile answers on demand, and the server that it redirects to. */
async function setUpStore(timeoutMs: number) {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const visits: string[] = [];
  const other = createServer((request, response) => {
    visits.push(`${request.method} ${request.headers.authorization}`);
    response.writeHead(200, { "content-type": "application/json" }).end("[]");
  });
  const port = await freePort();
  await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
  cleanups.push(() => void other.close());
  const server = await startUpstash(redis.port, { elsewhere: `http://127.0.0.1:${port}/pipeline` });
  cleanups.push(() => server.close());
  const { url, token } = server;
  const store = await upstashStore({ url, token, timeoutMs });
  cleanups.push(() => store.close());
  return { server, store, visits };
}

async function errorOf(server: TestUpstash, store: Store, kind: HostileAnswer): Promise<string> {
  server.faults = () => kind;
  const error = await store.lookup(freshKey()).then(() => null, (reason) => reason);
  server.faults = () => null;
  expect(error?.code).toBe("unavailable");
  return error.message;
}

warnIfRedisMissing("an HTTP Redis with hostile answers");

describe("an endpoint that answers with", unless(redisMissing), () => {
  for (const kind of HOSTILE_ANSWERS) {
    test(`${kind}: is unavailable within bounds, and is used again when its answers are valid`, async () => {
      const { server, store, visits } = await setUpStore(kind === "drip" ? 1_000 : 30_000);
      const key = freshKey();
      const owner = await own(store, key);
      const before = process.memoryUsage().rss;
      expect(await errorOf(server, store, kind)).toMatch(MESSAGES[kind]);
      expect(process.memoryUsage().rss - before).toBeLessThan(GROWTH);
      expect(server.hostileBytes).toBeLessThan(3 * (MAX_ANSWER_BYTES + BUFFERS));
      expect(visits).toEqual([]);
      expect(await store.lookup(key)).toEqual(owner);
      expect(store.status()).toBe("up");
    });
  }

  test("a batch with too long an answer is retried with its scripts one by one", async () => {
    const { server, store } = await setUpStore(60_000);
    const keys = [freshKey(), freshKey()];
    const owners = await Promise.all(keys.map((key) => own(store, key)));
    server.faults = inOrder("flood");
    // Two scripts: one of membership, one of lookups.
    const [found, members] = await Promise.all([store.lookup(keys[0] as string), store.members()]);
    expect(found).toEqual(owners[0]);
    expect(members.members).toEqual([]);
  });

  test("many long answers at once are read up to the limit for all together", async () => {
    const { server, store } = await setUpStore(20_000);
    server.faults = () => "flood";
    const before = process.memoryUsage().rss;
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        // Each step is in its own tick, so that each is its own request.
        for (let tick = 0; tick < 10 * i; tick++) await Promise.resolve();
        await refuses(store.lookup(freshKey()), "unavailable");
      }),
    );
    server.faults = () => null;
    expect(process.memoryUsage().rss - before).toBeLessThan(2 * GROWTH);
    expect(await store.lookup(freshKey())).toBeNull();
  });
});
