/**
 * A registry that loses all its data under running nodes: the loss is logged and counted, and no
 * key gets two owners.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import { type App, defineApp, type NodeEvent, Resource } from "../../mod.ts";
import { command } from "../support/redis_command.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

class Counter extends Resource {
  async add(): Promise<number> {
    const total = ((await this.storage.get<number>("total")) ?? 0) + 1;
    await this.storage.put("total", total);
    return total;
  }
}
const app: App<{ counters: typeof Counter }> = defineApp({ resources: { counters: Counter } });

const cleanups = cleanupsAfterEach();

async function open(registry: string, node: string, events: NodeEvent[] = []) {
  const served: ServedNode<typeof app> = await serve(app, {
    registry,
    node,
    port: 0,
    lease: "fast",
    onEvent: (event) => void events.push(event),
  });
  cleanups.push(() => served.close({ drainMs: 100 }));
  return served;
}

/** The losses that a node has logged. */
const losses = (events: readonly NodeEvent[]) =>
  events.filter(({ event }) => event === "state lost").map(({ fields }) => [
    fields["key"],
    fields["turns"],
  ]);

async function isLost(registry: string, lose: () => unknown): Promise<void> {
  const events: NodeEvent[] = [];
  const owner = await open(registry, "owner", events);
  for (let i = 0; i < 3; i++) await owner.call("counters", "a", "add", []);
  const { epoch } = await owner.lookup("counters", "a");
  await lose();
  await expect.poll(() => losses(events), { timeout: 30_000 }).toEqual([["counters/a", 3]]);
  expect(owner.stats().lostTurns).toBe(3);
  // The resource starts again without state: under a higher epoch, with one owner for both nodes.
  const other = await open(registry, "other");
  const again = async () => {
    const options = { timeoutMs: 20_000 };
    const first = await other.call("counters", "a", "add", [], options);
    const second = await owner.call("counters", "a", "add", [], options);
    return [first, second];
  };
  const [first, second] = await again();
  expect([first?.result, second?.result]).toEqual([1, 2]);
  expect(first?.epoch).toBe(second?.epoch);
  expect(first?.epoch).toBeGreaterThan(epoch as number);
}

describe("a registry loses all its data under a live owner", () => {
  test("a SQLite file is deleted", async () => {
    const folder = mkdtempSync(join(tmpdir(), "atlas-lost-"));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, "registry.db");
    await isLost(`file:${file}`, () => {
      for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true });
    });
  });

  warnIfRedisMissing("store/lost_registry_test.ts");
  test("a Redis gets FLUSHALL", unless(redisMissing), async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    await isLost(redis.url, () => command(redis, "FLUSHALL"));
  });
});
