/**
 * A node whose Redis is full: it serves what needs no memory, frees memory, and answers everything
 * else with the reason over HTTP.
 */
import { describe, expect, test } from "vitest";
import { serve } from "../../adapters/server/serve.ts";
import { defineApp, type NodeEvent, Resource } from "../../mod.ts";
import { command } from "../support/redis_command.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { until } from "../support/until.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

class Notes extends Resource {
  async write(name: string, text: string): Promise<void> {
    await this.storage.put(name, text);
  }

  async erase(name: string): Promise<void> {
    await this.storage.delete(name);
  }

  async names(): Promise<{ names: string[]; epoch: number }> {
    return { names: [...(await this.storage.list()).keys()], epoch: this.epoch };
  }
}

const app = defineApp({
  resources: { notes: Notes, brief: { class: Notes, idleAfterMs: 50 } },
});

const cleanups = cleanupsAfterEach();

warnIfRedisMissing("a node whose Redis is full");

describe("a node whose Redis is full", unless(redisMissing), () => {
  test("keeps its lease, reads, deletes, activates resources with state, and refuses the rest with the reason", async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    const events: NodeEvent[] = [];
    const node = await serve(app, {
      registry: redis.url,
      node: "a",
      port: 0,
      lease: { heartbeatMs: 50, leaseMs: 2_000 },
      onEvent: (event) => void events.push(event),
    });
    cleanups.push(() => node.close());
    const ask = async (path: string, ...args: unknown[]) => {
      const url = `${node.url}/v1/resources/${path}`;
      const headers = { "content-type": "application/json" };
      const reply = await fetch(url, { method: "POST", headers, body: JSON.stringify(args) });
      return { status: reply.status, body: await reply.json() };
    };
    for (const id of ["notes/x", "brief/y"]) {
      expect((await ask(`${id}/write`, "old", "o".repeat(50_000))).status).toBe(200);
    }
    const { body: { result: before } } = await ask("notes/x/names");
    await until(
      async () =>
        await command(redis, "KEYS", "atlas:*:own:brief/y").then((keys) =>
          (keys as string[]).length === 0
        ),
      "the idle one has stopped",
    );
    await command(redis, "CONFIG", "SET", "maxmemory", "1000000");

    const refused = await ask("notes/x/write", "new", "n");
    expect(refused).toEqual({
      status: 503,
      body: {
        error: {
          code: "unavailable",
          message:
            "the registry refuses it: its memory is full (OOM), and this would take more of it",
          retryable: true,
          maybeExecuted: true,
        },
      },
    });
    expect(await ask("notes/nobody/names")).toMatchObject({
      status: 503,
      body: { error: { maybeExecuted: false, message: refused.body.error.message } },
    });
    const seq = async (): Promise<number> =>
      Number(await command(redis, "HGET", "atlas:{members}:seq", node.incarnation));
    const renewed = await seq();
    // More heartbeats than fit into a lease.
    await until(async () => await seq() > renewed + 60, "its lease was renewed for longer");
    expect(node).toMatchObject({ state: "serving" });
    expect(node.stats().lapses).toBe(0);
    // A resource that is not in memory is activated, so that its fields can be deleted.
    expect((await ask("brief/y/erase", "old")).status).toBe(200);
    expect((await ask("notes/x/erase", "old")).status).toBe(200);
    expect((await ask("notes/x/names")).body.result).toEqual({ names: [], epoch: before.epoch });

    await command(redis, "CONFIG", "SET", "maxmemory", "0");
    expect((await ask("notes/x/write", "new", "n")).status).toBe(200);
    expect((await ask("notes/x/names")).body.result).toEqual({
      names: ["new"],
      epoch: before.epoch,
    });
    const logged = events.filter(({ level }) => level !== "info").map(({ event }) => event);
    expect(new Set(logged)).toEqual(new Set(["registry refuses steps"]));
  });
});
