/**
 * A registry that refuses steps temporarily, or until an operator acts: callers get the reason of
 * each kind, produced by the real backend where possible, and no ownership is lost.
 */
import { getRequestListener } from "@hono/node-server";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../adapters/system/clock.ts";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { detailOf } from "../../src/errors.ts";
import { type Refusal, refusalOf } from "../../src/model/refusal.ts";
import type { Commit, Store } from "../../src/ports/store.ts";
import { guardedStore } from "../../src/registry/guarded_store.ts";
import { freePort } from "../support/ports.ts";
import { command } from "../support/redis_command.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { startUpstash } from "../upstash/server.ts";
import { eventually, freshKey, freshMember, own } from "./store_kit.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const timeoutMs = 60_000;
const cleanups = cleanupsAfterEach();

function guarded(store: Store): Store {
  cleanups.push(() => store.close());
  return guardedStore(store, systemClock, () => {});
}

interface Kind {
  readonly refusal: Refusal;
  readonly message: RegExp;
  /** Makes the server refuse writes. */
  begin(redis: TestRedis): Promise<unknown>;
  end(redis: TestRedis): Promise<unknown>;
}

const config = (redis: TestRedis, ...pairs: string[]) => command(redis, "CONFIG", "SET", ...pairs);

const KINDS: Readonly<Record<string, Kind>> = {
  "can't save to its disk (MISCONF)": {
    refusal: "lasting",
    message:
      /^the registry refuses it: it can't save to its disk, and takes no writes \(MISCONF\)$/,
    async begin(redis) {
      const [, directory] = await command(redis, "CONFIG", "GET", "dir") as [string, string];
      // Nothing can be renamed to a directory that isn't empty.
      mkdirSync(join(directory, "dump.rdb", "full"), { recursive: true });
      await config(redis, "save", "3600 1");
      await command(redis, "BGSAVE");
      await eventually(async () => {
        const info = String(await command(redis, "INFO", "persistence"));
        return /rdb_last_bgsave_status:err/.test(info) || undefined;
      });
    },
    end: (redis) => config(redis, "stop-writes-on-bgsave-error", "no"),
  },
  "is a replica (READONLY)": {
    refusal: "passing",
    message: /^the registry refuses it: it is a replica, and takes no writes \(READONLY\)$/,
    begin: async (redis) => command(redis, "REPLICAOF", "127.0.0.1", String(await freePort())),
    end: (redis) => command(redis, "REPLICAOF", "NO", "ONE"),
  },
  "has too few replicas (NOREPLICAS)": {
    refusal: "passing",
    message: /^the registry refuses it: too few replicas are connected to it \(NOREPLICAS\)$/,
    begin: (redis) => config(redis, "min-replicas-to-write", "1"),
    end: (redis) => config(redis, "min-replicas-to-write", "0"),
  },
  "is busy with a script (BUSY)": {
    refusal: "passing",
    message: /^the registry refuses it: it is busy with another script \(BUSY\)$/,
    async begin(redis) {
      await config(redis, "lua-time-limit", "1");
      command(redis, "EVAL", "while true do end", "0").catch(() => {});
      await eventually(async () => {
        const reply = await command(redis, "GET", "any").then(() => "", (error) => String(error));
        return reply.includes("BUSY") || undefined;
      });
    },
    end: (redis) => command(redis, "SCRIPT", "KILL"),
  },
};

/** Opens a store over a Redis. */
const LINES: Readonly<Record<string, (redis: TestRedis) => Promise<Store>>> = {
  redis: (redis) => redisStore(redis.url, { timeoutMs }),
  upstash: async (redis) => {
    const { url, token, close } = await startUpstash(redis.port);
    cleanups.push(close);
    return await upstashStore({ url, token, timeoutMs });
  },
};

/** Claims a new key; gives its first turn. */
async function firstTurn(store: Store): Promise<Commit> {
  const key = freshKey();
  const { incarnation, epoch } = await own(store, key);
  return { key, incarnation, epoch, turn: 1, puts: [["s:a", "1"]], deletes: [] };
}

/** Checks that a step is refused in this way, and the error that its caller gets. */
async function refuses(step: Promise<unknown>, refusal: Refusal, message: RegExp): Promise<void> {
  const error = await step.then((reply) => JSON.stringify(reply), (reason) => reason);
  expect(refusalOf(error), detailOf(error)).toBe(refusal);
  expect(error).toMatchObject({ code: "unavailable", retryable: true, maybeExecuted: false });
  expect(error.message).toMatch(message);
}

warnIfRedisMissing("what callers are told of a Redis that refuses writes");

for (const [line, open] of Object.entries(LINES)) {
  describe(`${line}: a server that`, unless(redisMissing), () => {
    for (const [kind, { refusal, message, begin, end }] of Object.entries(KINDS)) {
      test(`${kind} is reported as such, and nothing is lost`, async () => {
        const redis = await startRedis();
        cleanups.push(() => redis.close());
        const store = guarded(await open(redis));
        const member = freshMember();
        await store.register(member, { ifFree: true });
        const turn = await firstTurn(store);
        await begin(redis);
        await refuses(store.commit(turn), refusal, message);
        await end(redis);
        await eventually(async () => await store.commit(turn) === "committed" || undefined);
        expect(await store.read(turn.key, ["s:a"])).toEqual(["1"]);
        expect(await store.renew(member.incarnation, 1, [])).toMatchObject({ outcome: "renewed" });
      });
    }
  });
}

/** An endpoint that answers as a test sets it, or forwards to another one. */
async function refusing(
  to: string,
): Promise<{ url: string; next: { answer: (() => Response) | null; asked: number } }> {
  const next: { answer: (() => Response) | null; asked: number } = { answer: null, asked: 0 };
  const listener = getRequestListener(async (request) => {
    next.asked++;
    if (next.answer) return next.answer();
    const { pathname } = new URL(request.url);
    const authorization = request.headers.get("authorization") ?? "";
    const headers = { "content-type": "application/json", authorization };
    const body = await request.text();
    const reply = await fetch(to + pathname, { method: "POST", headers, body });
    return new Response(await reply.text(), { status: reply.status, headers });
  });
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, next };
}

const HTTP: readonly (readonly [
  kind: string,
  answer: () => Response,
  refusal: Refusal,
  message: RegExp,
])[] = [
  [
    "429 without words",
    () => new Response(null, { status: 429 }),
    "passing",
    /^the registry refuses it: it gets too many requests \(429\)$/,
  ],
  [
    "429 with JSON",
    () => Response.json({ error: "slow down" }, { status: 429 }),
    "passing",
    /^the registry refuses it: it gets too many requests \(429\)$/,
  ],
  [
    "a day's requests used up",
    () =>
      Response.json({
        error: "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000. See https://x",
      }, { status: 400 }),
    "lasting",
    /^the registry refuses it: its quota of requests is used up$/,
  ],
  [
    "a month's requests used up",
    () => Response.json({ error: "ERR max requests limit exceeded." }, { status: 400 }),
    "lasting",
    /^the registry refuses it: its quota of requests is used up$/,
  ],
  [
    "its capacity used up",
    () => Response.json([{ error: "ERR DB capacity quota exceeded" }]),
    "lasting",
    /^the registry refuses it: it is full \(capacity quota exceeded\), and this would take more of it$/,
  ],
];

/** A store over HTTP, behind an endpoint that may refuse, and its owner's first turn. */
async function behindFront() {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const { url, token, close } = await startUpstash(redis.port);
  cleanups.push(close);
  const front = await refusing(url);
  const store = guarded(await upstashStore({ url: front.url, token, timeoutMs }));
  return { front, store, turn: await firstTurn(store) };
}

describe("upstash: an endpoint that answers", unless(redisMissing), () => {
  for (const [kind, answer, refusal, message] of HTTP) {
    test(`${kind} is reported as such, and nothing is lost`, async () => {
      const { front, store, turn } = await behindFront();
      front.next.answer = answer;
      const asked = front.next.asked;
      await refuses(store.commit(turn), refusal, message);
      // A refusal that no repetition can resolve is not retried.
      if (refusal === "lasting") expect(front.next.asked - asked).toBe(1);
      front.next.answer = null;
      expect(await store.commit(turn)).toBe("committed");
    });
  }

  test("429 for the repetition of a request whose answer was lost is not treated as a refusal", async () => {
    const { front, store, turn } = await behindFront();
    let sent = 0;
    front.next.answer = () => new Response("gone", { status: sent++ === 0 ? 502 : 429 });
    const error = await store.commit(turn).then(() => null, (reason) => reason);
    expect(error.code).toBe("unavailable");
    expect(refusalOf(error)).toBeNull();
  });
});

describe("sqlite: a file that", () => {
  /** A store with its database, whose statements fail as `fault` says. */
  async function opened(fault: { error: Error | null } = { error: null }) {
    const directory = mkdtempSync(join(tmpdir(), "atlas-refusals-"));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    let database: DatabaseSync | undefined;
    class Driver extends DatabaseSync {
      constructor(path: string) {
        super(path);
        database = this;
      }
      override prepare(sql: string): ReturnType<DatabaseSync["prepare"]> {
        const statement = super.prepare(sql);
        if (!/^BEGIN IMMEDIATE/.test(sql)) return statement;
        return {
          run() {
            if (fault.error) throw fault.error;
            return statement.run();
          },
        } as never;
      }
    }
    const file = join(directory, "registry.db");
    const store = guarded(await sqliteStore(file, { driver: Driver as never }));
    return { store, exec: (sql: string) => database?.exec(sql), file };
  }

  test("can't be written to is reported as such, and nothing is lost", async () => {
    const { store, exec } = await opened();
    const turn = await firstTurn(store);
    exec("PRAGMA query_only = ON");
    const message = /^the registry refuses it: its file can't be written to \(SQLITE_READONLY\)$/;
    await refuses(store.commit(turn), "lasting", message);
    expect(await store.read(turn.key, ["s:a"])).toEqual([null]);
    exec("PRAGMA query_only = OFF");
    expect(await store.commit(turn)).toBe("committed");
  });

  for (
    const error of [
      Object.assign(new Error("disk I/O error"), { errcode: 778 }),
      new Error("disk I/O error"),
    ]
  ) {
    test(`fails a write is recognised ${"errcode" in error ? "by the error's number" : "by the error's words"}, and the write may have happened`, async () => {
      const fault: { error: Error | null } = { error: null };
      const { store, file } = await opened(fault);
      const turn = await firstTurn(store);
      fault.error = error;
      const failed = await store.commit(turn).then(() => null, (reason) => reason);
      expect(failed).toMatchObject({ code: "unavailable", retryable: true });
      expect(failed.message)
        .toBe("the registry can't be reached: its disk fails (SQLITE_IOERR)");
      expect(detailOf(failed)).toContain(file);
      expect(refusalOf(failed)).toBeNull();
      fault.error = null;
      expect(await store.commit(turn)).toBe("committed");
    });
  }

  test("can't be created on a full disk is unavailable, not a wrong setting", async () => {
    const directory = mkdtempSync(join(tmpdir(), "atlas-refusals-"));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    class Full extends DatabaseSync {
      constructor(path: string) {
        super(path);
        this.exec("PRAGMA max_page_count = 1");
      }
    }
    const error = await sqliteStore(join(directory, "r.db"), { driver: Full as never })
      .then(() => null, (reason) => reason);
    expect(error).toMatchObject({ code: "unavailable", retryable: true });
    expect(error.message).toMatch(/its disk is full \(SQLITE_FULL\)/);
  });

  test("is in a folder that can't be created is refused, with the reason", async () => {
    const directory = mkdtempSync(join(tmpdir(), "atlas-refusals-"));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    writeFileSync(join(directory, "file"), "");
    const paths = [join(directory, "file", "r.db"), join(directory, "file", "deeper", "r.db")];
    if (existsSync("/proc/self")) paths.push("/proc/x/r.db", "/proc/x/y/r.db");
    for (const path of paths) {
      const error = await sqliteStore(path).then(() => null, (reason) => reason);
      expect(error, path).toMatchObject({ code: "bad_request" });
      expect(error.message).toContain(`the SQLite file ${JSON.stringify(path)} can't be opened: `);
    }
    const deep = join(directory, "a", "b", "c", "r.db");
    await Promise.all([sqliteStore(deep), sqliteStore(deep)].map(async (it) => (await it).close()));
    expect(existsSync(deep)).toBe(true);
  });
});
