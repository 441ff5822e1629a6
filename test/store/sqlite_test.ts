/**
 * Behaviour of the SQLite store only: processes of several runtimes on one file, locks, foreign
 * files.
 *
 * Covers adapters/store/sqlite/transaction_queue.ts and adapters/store/sqlite/schema.ts.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import { fromStored, toStored } from "../../adapters/store/sqlite/schema.ts";
import { claimOf, freshKey, own, refuses } from "../conformance/store_kit.ts";

const directory = mkdtempSync(join(tmpdir(), "atlas-sqlite-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let path = "";
let files = 0;
beforeEach(() => {
  path = join(directory, `registry-${++files}.db`);
});

const root = fileURLToPath(new URL("../../", import.meta.url));
const worker = join(root, "test/store/sqlite_worker.ts");
const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  bun: [join(root, "node_modules/.bin/bun")],
  deno: [join(root, "node_modules/.bin/deno"), "run", "-A"],
  node: [join(root, "node_modules/node24/bin/node"), "--no-warnings"],
};
const installed = Object.keys(RUNTIMES).filter((name) => existsSync(RUNTIMES[name]?.[0] ?? ""));
if (installed.length < 3) console.warn(`skipped: runtimes other than ${installed.join(", ")}`);

/** A process that claims names on `path`, and prints each answer as a line. */
function startWorker(runtime: string, names: string, count: number) {
  const [command = "", ...args] = RUNTIMES[runtime] ?? [];
  const child = spawn(command, [...args, worker, path, names, String(count)], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const lines = createInterface({ input: child.stdout });
  return { child, ended, lines, go: () => child.stdin.end("go\n") };
}

interface WorkerAnswer {
  key: string;
  won: boolean;
  incarnation: string;
  epoch: number;
}

describe("several processes on one file", () => {
  test("open it at once; each key has one winner, which all get", async () => {
    const workers = installed.flatMap((runtime) => [
      startWorker(runtime, "shared", 300),
      startWorker(runtime, "shared", 300),
    ]);
    const answers: WorkerAnswer[] = [];
    for (const { lines } of workers) lines.on("line", (line) => answers.push(JSON.parse(line)));
    for (const { go } of workers) go();
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual(workers.map(() => 0));
    expect(answers).toHaveLength(300 * workers.length);
    const owners = Map.groupBy(answers, ({ key }) => key);
    expect(owners.size).toBe(300);
    for (const answers of owners.values()) {
      expect(answers.filter(({ won }) => won)).toHaveLength(1);
      expect(new Set(answers.map(({ incarnation }) => incarnation)).size).toBe(1);
      expect(new Set(answers.map(({ epoch }) => epoch)).size).toBe(1);
    }
  });

  test.for(installed)(
    "SIGKILL of a writer (%s) loses nothing acknowledged",
    async (runtime) => {
      const { child, ended, lines, go } = startWorker(runtime, "endless", 1_000_000);
      const answers: WorkerAnswer[] = [];
      const enough = new Promise<void>((resolve) => {
        lines.on("line", (line) => {
          if (line.endsWith("}")) answers.push(JSON.parse(line));
          if (answers.length === 500) resolve();
        });
      });
      go();
      await Promise.race([enough, ended]);
      child.kill("SIGKILL");
      await ended;
      const store = await sqliteStore(path);
      const found = await Promise.all(answers.map(({ key }) => store.lookup(key)));
      found.forEach((owner, i) => expect(owner?.epoch).toBe(answers[i]?.epoch));
      await own(store, freshKey());
      await store.close();
    },
  );
});

describe("a file that another holds", () => {
  test("makes writers wait without blocking, readers not at all", async () => {
    const store = await sqliteStore(path);
    const key = freshKey();
    const owner = await own(store, key);
    const { DatabaseSync } = await import("node:sqlite");
    const rival = new DatabaseSync(path);
    rival.exec("BEGIN IMMEDIATE");
    const claim = claimOf(freshKey());
    const waiting = store.claim(claim);
    expect(await store.lookup(key)).toEqual(owner);
    expect(store.status()).toBe("up");
    rival.exec("COMMIT");
    rival.close();
    expect((await waiting).won).toBe(true);
    await store.close();
  });

  test("for too long makes steps `unavailable`, and steps succeed once it is free", async () => {
    const store = await sqliteStore(path, { timeoutMs: 100 });
    const { DatabaseSync } = await import("node:sqlite");
    const rival = new DatabaseSync(path);
    rival.exec("BEGIN IMMEDIATE");
    const key = freshKey();
    await refuses(store.claim(claimOf(key)), "unavailable", "100 ms");
    expect(store.status()).toBe("down");
    rival.exec("ROLLBACK");
    rival.close();
    expect(await store.lookup(key)).toBeNull();
    await own(store, key);
    expect(store.status()).toBe("up");
    await store.close();
  });
});

test("the last turns of 10,000 states without fields and owner are kept", async () => {
  const store = await sqliteStore(path);
  const database = new DatabaseSync(path);
  const count = (table: string) =>
    Number(database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.["n"]);
  try {
    const leave = async (key: string) => {
      const { incarnation, epoch } = await own(store, key);
      await store.commit({ key, incarnation, epoch, turn: 1, puts: [], deletes: [] });
      await store.release(key, incarnation, epoch);
    };
    await Promise.all(Array.from({ length: 200 }, () => leave(freshKey())));
    expect([count("atlas_turn"), count("atlas_ended")]).toEqual([0, 200]);
    database.exec("UPDATE atlas_ended SET id = id + 9900 WHERE id > 100");
    await leave(freshKey());
    expect([count("atlas_turn"), count("atlas_ended")]).toEqual([0, 101]);
  } finally {
    database.close();
    await store.close();
  }
});

test("steps whose time is over because their process was suspended are tried nevertheless", async () => {
  const store = await sqliteStore(path, { timeoutMs: 50 });
  const key = freshKey();
  const owner = own(store, key);
  const lookup = store.lookup(freshKey());
  // This blocks the process.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  expect((await owner).epoch).toBeGreaterThan(0);
  expect(await lookup).toBeNull();
  expect(store.status()).toBe("up");
  await store.close();
});

describe("a step that fails", () => {
  test("affects no other of its transaction, and is rolled back", async () => {
    const store = await sqliteStore(path);
    const { DatabaseSync } = await import("node:sqlite");
    const rival = new DatabaseSync(path);
    rival.exec(
      "CREATE TRIGGER broken BEFORE INSERT ON atlas_state WHEN NEW.field = 'poison' " +
        "BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
    );
    rival.close();
    const keys = [freshKey(), freshKey(), freshKey()];
    const owners = await Promise.all(keys.map((key) => own(store, key)));
    const replies = await Promise.allSettled(
      owners.map(({ incarnation, epoch }, i) =>
        store.commit({
          key: keys[i] as string,
          incarnation,
          epoch,
          turn: 1,
          puts: [["good", String(i)], [i === 1 ? "poison" : "fine", ""]],
          deletes: [],
        })
      ),
    );
    expect(replies.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const [, bad] = replies as PromiseRejectedResult[];
    expect(bad?.reason).toMatchObject({ code: "unavailable" });
    expect(bad?.reason.message).toContain("poisoned");
    const good = await Promise.all(keys.map((key) => store.read(key, ["good"])));
    expect(good).toEqual([["0"], [null], ["2"]]);
    await store.close();
  });
});

describe("a path that can't be used", () => {
  test("is a bad request with the reason", async () => {
    writeFileSync(path, "this is no database ".repeat(100));
    await refuses(sqliteStore(path), "bad_request", "not a database");
    await refuses(sqliteStore(join(path, "below.db")), "bad_request", path);
    await refuses(sqliteStore(directory), "bad_request", "unable to open");
    await refuses(sqliteStore(""), "bad_request", "path");
    await refuses(sqliteStore(":memory:"), "bad_request", ":memory:");
  });

  test("so is a file of another version", async () => {
    const { DatabaseSync } = await import("node:sqlite");
    const other = new DatabaseSync(path);
    other.exec("PRAGMA user_version = 99");
    other.close();
    await refuses(sqliteStore(path), "bad_request", "99");
  });

  test("so is an unknown setting", async () => {
    const synchronous = "maybe" as "full";
    await refuses(sqliteStore(path, { synchronous }), "bad_request", "synchronous");
  });
});

test("stored text has no NUL, is returned unchanged, and keeps its order", () => {
  const parts = ["", "\0", "\u0001", "\u0002", "a"];
  const texts = parts.flatMap((a) => parts.flatMap((b) => parts.map((c) => a + b + c)));
  for (const text of texts) {
    expect(toStored(text)).not.toContain("\0");
    expect(fromStored(toStored(text))).toBe(text);
    for (const other of texts) expect(toStored(text) < toStored(other)).toBe(text < other);
  }
});
