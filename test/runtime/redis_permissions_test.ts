/** The rights that docs/redis.md gives a Redis user are enough for a node on this runtime. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serve } from "../../adapters/server/serve.ts";
import app from "../../examples/channels/app.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { command } from "../support/redis_command.ts";
import { unless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const DOCS = readFileSync(new URL("../../docs/redis.md", import.meta.url), "utf8");

warnIfRedisMissing("the rights of a Redis user");

describe("a user with the documented permissions", unless(redisMissing), () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
    const [, words = ""] = /^ACL SETUSER (atlas .*)$/m.exec(DOCS) ?? [];
    const rights = words.replace(">PASSWORD", ">secret").split(" ");
    expect(await command(redis, "ACL", "SETUSER", ...rights)).toBe("OK");
    await command(redis, "SET", "another:key", "kept");
  });
  afterAll(() => redis?.close());

  test("serves, claims, commits, lists, drains and takes over", async () => {
    const registry = `redis://atlas:secret@127.0.0.1:${redis.port}`;
    const events: string[] = [];
    const open = (node: string) =>
      serve(app, {
        registry,
        node,
        port: 0,
        lease: "fast",
        onEvent: ({ level, event, fields }) => {
          if (level === "error" || level === "warning") {
            events.push(JSON.stringify([event, fields]));
          }
        },
      });
    const one = await open("one");
    const other = await open("other");
    const keyed = { idempotencyKey: "k" };
    expect(await one.resource("channels", "a", keyed).send("ann", "hi")).toMatchObject({ seq: 1 });
    expect(await other.resource("channels", "a").history()).toHaveLength(1);
    expect((await other.lookup("channels", "a", { require: "confirmed" })).rrp).toContain("/one/");
    expect((await other.resources("rrp:")).resources).toHaveLength(1);
    expect(await other.count("rrp:")).toBe(1);
    expect(await other.members()).toHaveLength(2);
    await one.close();
    await until(
      async () => (await other.members()).some(({ state }) => state === "left"),
      "it left",
    );
    expect(await other.resource("channels", "a").send("bob", "there")).toMatchObject({ seq: 2 });
    await other.close();
    expect(events).toEqual([]);
  });

  test("may run all commands that waiting for replicas needs", async () => {
    const store = `redis://atlas:secret@127.0.0.1:${redis.port}?replicas=1`;
    const failed = await serve(app, { registry: store, node: "three", port: 0, onEvent: () => {} })
      .then((node) => node.close(), (error: Error) => error.message);
    expect(String(failed)).not.toMatch(/NOPERM|credentials/);
  });
});
