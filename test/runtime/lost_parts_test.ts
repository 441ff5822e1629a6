/**
 * Redis keys that vanish under running nodes: the loss is logged and counted, and `list` agrees
 * with `get`.
 */
import { describe, expect, test } from "vitest";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import { type App, defineApp, type NodeEvent, Resource, type ResourceType } from "../../mod.ts";
import { slotOf } from "../../src/model/rrp.ts";
import { redisWriter } from "../conformance/hostile_writers.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

class Notes extends Resource {
  async write(name: string, text: string): Promise<void> {
    await this.storage.put(name, text);
  }
  async one(name: string): Promise<string | null> {
    return (await this.storage.get<string>(name)) ?? null;
  }
  async all(): Promise<[string, string][]> {
    return [...await this.storage.list<string>()];
  }
}

const app: App<{ notes: ResourceType<Notes> }> = defineApp({
  resources: { notes: { class: Notes, idleAfterMs: 60_000 } },
});
type Node = ServedNode<typeof app>;

const cleanups = cleanupsAfterEach();

interface Setup {
  readonly node: Node;
  open(name: string): Promise<Node>;
  remove(id: string, part: "own" | "state" | "index" | "epoch"): Promise<void>;
  /** The logged losses, by event: each one's fields without the epoch. */
  events(event: string): object[];
}

async function setUp(): Promise<Setup> {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const events: NodeEvent[] = [];
  const open = async (name: string): Promise<Node> => {
    const node = await serve(app, {
      registry: redis.url,
      node: name,
      port: 0,
      lease: "fast",
      onEvent: (event) => void events.push(event),
    });
    cleanups.push(() => node.close({ drainMs: 100 }));
    return node;
  };
  const writer = redisWriter(redis);
  return {
    open,
    node: await open("owner"),
    remove: (id, part) => writer.remove?.(`notes/${id}`, part) as Promise<void>,
    events: (name) =>
      events.filter(({ event }) => event === name).map(({ fields }) => {
        const { epoch: _, ...others } = fields;
        return others;
      }),
  };
}

/** A note with three turns. */
async function written(node: Node, id: string) {
  const notes = node.resource("notes", id, { timeoutMs: 20_000 });
  for (const name of ["a", "b", "c"]) await notes.write(name, name);
  return notes;
}

const ALL = [["a", "a"], ["b", "b"], ["c", "c"]];
const LOSS = { turns: 3, kept: "0.0", acknowledged: expect.stringMatching(/^\d+\.3$/) };

warnIfRedisMissing("runtime/lost_parts_test.ts");

describe("under a live owner", unless(redisMissing), () => {
  test("a missing index is rebuilt, logged once, and nothing is lost", async () => {
    const { node, remove, events } = await setUp();
    const notes = await written(node, "x");
    await remove("x", "index");
    expect(await notes.all()).toEqual(ALL);
    expect(await notes.all()).toEqual(ALL);
    expect(events("index rebuilt")).toEqual([{ key: "notes/x", fields: 3, indexed: 0 }]);
    expect(events("state lost")).toEqual([]);
    expect(node.stats().lostTurns).toBe(0);
  });

  for (const parts of [["state"], ["state", "index"]] as const) {
    for (const step of ["all", "write", "one"] as const) {
      test(`missing ${parts.join(" and ")}: logged and counted by ${step}`, async () => {
        const { node, remove, events } = await setUp();
        const notes = await written(node, "x");
        for (const part of parts) await remove("x", part);
        // The call that finds the loss may fail; later calls start from the remaining state.
        const met = step === "all"
          ? notes.all()
          : step === "one"
          ? notes.one("of which nothing is at hand")
          : notes.write("a", "again");
        await met.catch(() => {});
        expect(events("state lost")).toEqual([{ key: "notes/x", ...LOSS }]);
        expect(node.stats().lostTurns).toBe(3);
        await expect.poll(() => notes.write("d", "d").then(() => true, () => false), {
          timeout: 20_000,
        }).toBe(true);
        const all = new Map(await notes.all());
        for (const name of ["a", "b", "c", "d"]) {
          expect(await notes.one(name)).toBe(all.get(name) ?? null);
        }
        expect(all.has("b")).toBe(false);
        expect(node.stats().lostTurns).toBe(3);
      });
    }
  }
});

describe("with no owner", unless(redisMissing), () => {
  test("a missing state is logged by the next owner, as long as its index exists", async () => {
    const { node, remove, events, open } = await setUp();
    await written(node, "x");
    await node.close();
    await remove("x", "state");
    const other = await open("other");
    const notes = other.resource("notes", "x", { timeoutMs: 20_000 });
    expect(await notes.all()).toEqual([]);
    expect(await notes.one("a")).toBe(null);
    expect(events("state lost")).toEqual([
      { key: "notes/x", turns: 1, acknowledged: "unknown", kept: "0.0" },
    ]);
    expect(other.stats().lostTurns).toBe(1);
    await notes.write("d", "d");
    await other.drain({ prefix: "rrp:", forMs: 1 });
    expect(await notes.all()).toEqual([["d", "d"]]);
    expect(other.stats().lostTurns).toBe(1);
  });

  for (const parts of [["state"], ["state", "index"]] as const) {
    test(`missing ${parts.join(" and ")}: logged by the former owner, which owns them again`, async () => {
      const { node, remove, events } = await setUp();
      const notes = await written(node, "x");
      await node.drain({ prefix: "rrp:", forMs: 1 });
      for (const part of parts) await remove("x", part);
      expect(await notes.all()).toEqual([]);
      expect(events("state lost")).toEqual([{ key: "notes/x", ...LOSS }]);
      await node.drain({ prefix: "rrp:", forMs: 1 });
      expect(await notes.all()).toEqual([]);
      expect(node.stats().lostTurns).toBe(3);
    });
  }

  test("a missing index is rebuilt by the next owner", async () => {
    const { node, remove, events } = await setUp();
    const notes = await written(node, "x");
    await node.drain({ prefix: "rrp:", forMs: 1 });
    await remove("x", "index");
    expect(await notes.all()).toEqual(ALL);
    expect(events("index rebuilt")).toEqual([{ key: "notes/x", fields: 3, indexed: 0 }]);
    expect(node.stats().lostTurns).toBe(0);
  });

  test("a missing epoch counter is logged, and no epoch repeats", async () => {
    const { node, remove, events } = await setUp();
    const notes = await written(node, "x");
    const before = (await node.lookup("notes", "x")).epoch as number;
    await node.drain({ prefix: "rrp:", forMs: 1 });
    await remove("x", "epoch");
    expect(await notes.all()).toEqual(ALL);
    expect((await node.lookup("notes", "x")).epoch).toBeGreaterThan(before);
    expect(events("epoch counter lost")).toEqual([{ slot: slotOf("notes/x") }]);
  });
});
