/** Requests of the HTTP store: batching, tokens, opening and closing. */
import { describe, expect, test } from "vitest";
import { slotOf } from "../../src/model/rrp.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { everythingRejects } from "../conformance/store_ends.ts";
import {
  claimOf,
  eventually,
  freshKey,
  freshMember,
  own,
  refuses,
} from "../conformance/store_kit.ts";
import { freePort } from "../support/ports.ts";
import { redisMissing, warnIfRedisMissing } from "../support/redis.ts";
import { RespConnection } from "../upstash/resp.ts";
import { cleanups, setUpStore } from "../upstash/store_setup.ts";
import { unless } from "../support/unless.ts";

/** A server that answers every request with what `answer` gives. */
async function answeringServer(answer: () => Response): Promise<string> {
  const { createServer } = await import("node:http");
  const { getRequestListener } = await import("@hono/node-server");
  const server = createServer(getRequestListener(answer));
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  cleanups.push(() => server.close());
  return `http://127.0.0.1:${port}`;
}

warnIfRedisMissing("what the HTTP store sends");

describe("requests", unless(redisMissing), () => {
  test("for all steps of a tick are sent as one", async () => {
    const { server, store } = await setUpStore();
    const before = server.requests.length;
    const member = freshMember();
    const keys = Array.from({ length: 50 }, () => freshKey());
    await Promise.all([
      ...keys.map((key) => store.claim(claimOf(key))),
      ...keys.map((key) => store.lookup(key)),
      store.register(member, { ifFree: true }),
      store.members(),
    ]);
    expect(server.requests.length).toBe(before + 1);
    expect(server.requests.at(-1)?.path).toBe("/pipeline");
  });

  test("hold only scripts, and no telemetry", async () => {
    const { server, store } = await setUpStore();
    const key = freshKey();
    const { incarnation, epoch } = await own(store, key);
    await store.lookup(key);
    await store.list("rrp:", null, 10);
    await store.read(key, ["a"]);
    await store.release(key, incarnation, epoch);
    await store.members();
    for (const { path, headers, body } of server.requests) {
      expect(path).toBe("/pipeline");
      for (const [command, part] of JSON.parse(body) as string[][]) {
        expect(`${command} ${part}`).toMatch(/^(?:eval |evalsha |script load)/i);
      }
      expect([...headers.keys()].filter((name) => name.includes("telemetry"))).toEqual([]);
    }
  });

  test("resend scripts that Redis has lost, and only those", async () => {
    const { server, store, sendCommand } = await setUpStore();
    const key = freshKey();
    const owner = await own(store, key);
    await sendCommand("SCRIPT", "FLUSH");
    const before = server.requests.length;
    expect(await Promise.all([store.lookup(key), store.members()])).toMatchObject([owner, {}]);
    expect(server.requests.length).toBe(before + 2);
    await store.lookup(key);
    expect(server.requests.at(-1)?.body).toMatch(/^\[\["evalsha"/i);
  });

  test("unusual text is returned unchanged: byte order marks, control characters, quotes", async () => {
    const { store } = await setUpStore();
    const key = freshKey();
    const owner = await own(store, key);
    const odd = ["\ufeff", "\ufeffa", "OK", "\0\u0001\u2028", '"\\/', "null", "1e400", "T0s="];
    const puts = odd.map((text, i) => [`${text}${i}`, text] as const);
    await store.commit({ key, ...owner, turn: 1, puts, deletes: [] });
    expect(await store.read(key, puts.map(([field]) => field))).toEqual(odd);
    const range = { start: "", end: "\u{10ffff}", limit: 99, reverse: false };
    expect(new Map(await store.range(key, range))).toEqual(new Map(puts));
  });

  test("an error about an entry names the key, and other keys go on", async () => {
    const { store, sendCommand } = await setUpStore();
    const key = freshKey();
    await sendCommand("RPUSH", `atlas:{s${slotOf(key)}}:own:${key}`, "garbage");
    const other = claimOf(freshKey());
    const [reply] = await Promise.all([
      store.claim(other),
      refuses(store.lookup(key), "unavailable", key),
      refuses(store.claim(claimOf(key)), "unavailable", "WRONGTYPE"),
      refuses(store.release(key, "i", 1), "unavailable", key),
    ]);
    expect(reply.won).toBe(true);
    await sendCommand("SET", "atlas:{members}:seq", "garbage");
    await refuses(store.register(freshMember(), { ifFree: true }), "unavailable", "WRONGTYPE");
    expect(store.status()).toBe("up");
  });
});

describe("closing and outages", unless(redisMissing), () => {
  test("an unreachable endpoint is unavailable at once, and used again when it is back", async () => {
    const { server, store } = await setUpStore();
    const key = freshKey();
    const owner = await own(store, key);
    await server.stop();
    await refuses(store.lookup(key), "unavailable", "the Redis at 127.0.0.1");
    expect(store.status()).toBe("down");
    await server.start();
    expect(await eventually(() => store.lookup(key))).toEqual(owner);
    expect(store.status()).toBe("up");
  });

  test("closing rejects requests that hang, and all later ones", async () => {
    const { server, store } = await setUpStore();
    server.faults = () => "hung";
    const claims = Array.from({ length: 5 }, () => store.claim(claimOf(freshKey())));
    const refusals = claims.map((claim) => refuses(claim, "unavailable", "closed"));
    await eventually(async () => server.played.has("hung") || undefined);
    await store.close();
    await Promise.all(refusals);
    await everythingRejects(store);
    server.release();
  });
});

describe("credentials", () => {
  test(
    "the error of a refused token says what to set, and doesn't show it",
    unless(redisMissing),
    async () => {
      const { server, redis } = await setUpStore();
      const wrong = upstashStore({ url: server.url, token: "hunter2" });
      await refuses(wrong, "unauthorized", "ATLAS_REGISTRY_TOKEN");
      const error = await wrong.catch((reason) => reason);
      expect(error.message).not.toContain("hunter2");
      const direct = new RespConnection(redis.port);
      cleanups.push(() => direct.close());
      await direct.call("ACL", "SETUSER", "default", "-eval", "-evalsha");
      const readOnly = upstashStore({ url: server.url, token: server.token });
      await refuses(readOnly, "unauthorized", "read-only");
    },
  );

  test("a server that is no Redis is unavailable, and its answer is quoted", async () => {
    const says: [() => Response, string][] = [
      [() => new Response("<html>It works!</html>"), "It works"],
      [() => Response.json({ result: "PONG" }), "PONG"],
      [() => Response.json({ error: "boom" }, { status: 500 }), "boom"],
    ];
    await Promise.all(says.map(async ([answer, part]) => {
      const url = await answeringServer(answer);
      await refuses(upstashStore({ url, token: "t", timeoutMs: 5_000 }), "unavailable", part);
    }));
    const plainly = await answeringServer(() =>
      Response.json({ error: "Unauthorized" }, { status: 401 })
    );
    await refuses(upstashStore({ url: plainly, token: "t" }), "unauthorized", "Unauthorized");
    const port = await freePort();
    const nobody = upstashStore({ url: `http://127.0.0.1:${port}`, token: "t", timeoutMs: 100 });
    await refuses(nobody, "unavailable", `127.0.0.1:${port}`);
  });

  test("invalid options are refused by name, and secrets are not shown", async () => {
    const token = "t";
    const bad: [object, string][] = [
      [{ url: "", token }, "Upstash URL"],
      [{ url: "eu1.upstash.io", token }, "https://host"],
      [{ url: "redis://h", token }, "https://host"],
      [{ url: "http://example.com", token }, "loopback"],
      [{ url: "http://127.0.0.1.example.com", token }, "loopback"],
      [{ url: "https://u:hunter2@h", token }, "without user"],
      [{ url: "https://h/?_token=hunter2", token }, "without user"],
      [{ url: "https://h" }, "not set"],
      [{ url: "https://h", token: "hunter2 " }, "ATLAS_REGISTRY_TOKEN"],
      [{ url: "https://h", token: "hunter2\n" }, "ATLAS_REGISTRY_TOKEN"],
      [{ url: "https://h", token, timeoutMs: 0 }, "timeoutMs"],
      [{ url: "https://h", token, timeoutMs: 3e9 }, "timeoutMs is 3000000000"],
      [{ url: "https://h", token, timeoutMs: 2 ** 31 }, "from 1 to 2147483647"],
      [undefined as unknown as object, "options is undefined"],
      [{ token }, "Upstash URL"],
    ];
    for (const [options, part] of bad) {
      const opened = upstashStore(options as Parameters<typeof upstashStore>[0]);
      await refuses(opened, "bad_request", part);
      const error = await opened.catch((reason) => reason);
      expect(error.message).not.toContain("hunter2");
    }
  });
});
