/**
 * Types with `partition: "available"`: what goes on while the store is out of reach, how it
 * is marked, and what becomes of it when the store is back.
 */
import { describe, expect, test } from "vitest";
import {
  type App,
  type AtlasNode,
  type CallResult,
  defineApp,
  memoryStore,
  type Ownership,
  Resource,
  type ResourceMap,
  type ResourceType,
  type StopReason,
} from "../../mod.ts";
import { Adrift } from "../../src/resource/adrift.ts";
import { MAX_ADRIFT_CHARACTERS, MAX_ADRIFT_TURNS } from "../../src/limits.ts";
import { app as plainApp, BRISK, type Cluster, cluster, until } from "./cluster.ts";
import { type Road, roadTo } from "./road.ts";

/** What hooks saw, oldest first. */
const seen: string[] = [];

/** A list that can say what it holds even after it lost its name. */
class Notes extends Resource {
  visits = 0;

  override async onStart(): Promise<void> {
    if (this.id.startsWith("known")) await this.storage.get("all");
  }

  override onStop(reason: StopReason): void {
    seen.push(`stop ${this.id} ${reason}`);
  }

  override async onConflict(winner: Ownership): Promise<void> {
    const all = (await this.storage.get<string[]>("all")) ?? [];
    seen.push(`conflict ${this.id} ${winner.rrp} ${all}`);
    const [type, id] = this.key.split("/") as [string, string];
    await this.node.call(type, id, "merge", [all]);
  }

  async add(note: string): Promise<string[]> {
    const all = [...(await this.storage.get<string[]>("all")) ?? [], note];
    await this.storage.put("all", all);
    return all;
  }

  async merge(notes: string[]): Promise<void> {
    const all = (await this.storage.get<string[]>("all")) ?? [];
    await this.storage.put("all", [...all, ...notes.filter((note) => !all.includes(note))]);
  }

  async all(): Promise<string[]> {
    return (await this.storage.get<string[]>("all")) ?? [];
  }

  async other(key: string): Promise<unknown> {
    return await this.storage.get(key);
  }

  async listed(): Promise<number> {
    return (await this.storage.list()).size;
  }

  async overwrite(note: string): Promise<void> {
    await this.storage.put("all", [note]);
  }

  async hang(): Promise<void> {
    await new Promise(() => {});
  }

  visit(): number {
    return ++this.visits;
  }
}

interface Types extends ResourceMap {
  readonly notes: ResourceType<Notes>;
  readonly brisk: ResourceType<Notes>;
  readonly fenced: typeof Notes;
}

const app: App<Types> = defineApp<Types>({
  resources: {
    notes: { class: Notes, partition: "available" },
    brisk: { class: Notes, partition: "available", maxTurnMs: 500 },
    fenced: Notes,
  },
});

type Node = AtlasNode<App<Types>>;

async function member(
  made: Cluster,
  name: string,
): Promise<{ node: Node; road: Road }> {
  const road = roadTo(made.store);
  const node = await made.node(name, { store: road.store, lease: BRISK }, app);
  return { node: node as unknown as Node, road };
}

function add(node: Node, id: string, note: string, type = "notes"): Promise<CallResult> {
  return node.call(type, id, "add", [note], { timeoutMs: 2_000 });
}

async function cutOff({ node, road }: { node: Node; road: Road }): Promise<void> {
  road.isCut = true;
  await until(() => node.state === "fenced", "the lease has lapsed");
}

async function heal({ node, road }: { node: Node; road: Road }): Promise<void> {
  road.isCut = road.cutAtCommit = false;
  await until(() => node.state === "serving" && node.stats().adrift === 0, "all is brought in");
}

/** Resolves once others know that a node's life is over: until then they may call it. */
async function buried({ store }: Cluster, name: string): Promise<void> {
  await until(async () => {
    const { members } = await store.members();
    return members.some(({ node, state }) => node === name && state === "dead");
  }, `${name} is known to be dead`);
}

async function one(): Promise<{ made: Cluster; a: { node: Node; road: Road } }> {
  seen.length = 0;
  const made = cluster(memoryStore());
  return { made, a: await member(made, "a") };
}

describe("while the store is out of reach", () => {
  test("an available resource goes on, marked; a fenced one is refused", async () => {
    const { a } = await one();
    const before = await add(a.node, "x", "1");
    expect(before.verdict).toBeUndefined();
    await add(a.node, "x", "1", "fenced");
    await cutOff(a);
    expect(await add(a.node, "x", "2")).toMatchObject({
      result: ["1", "2"],
      epoch: before.epoch,
      verdict: "suspect",
    });
    await expect(add(a.node, "x", "2", "fenced")).rejects.toMatchObject({
      code: "unavailable",
      maybeExecuted: false,
    });
    const { rrp, epoch } = before;
    expect(await a.node.lookup("notes", "x")).toMatchObject({ rrp, epoch, verdict: "suspect" });
    await expect(a.node.lookup("notes", "x", { require: "confirmed" })).rejects.toMatchObject({
      code: "unavailable",
    });
    expect(a.node.stats().adrift).toBe(1);
    await heal(a);
    const after = await add(a.node, "x", "3");
    expect(after.result).toEqual(["1", "2", "3"]);
    expect(after.verdict).toBeUndefined();
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(a.node.stats()).toMatchObject({ landedTurns: 1, strandedTurns: 0, conflictsLost: 0 });
    expect(seen).toEqual(["stop x fenced"]);
  });

  test("callers at other nodes get the mark, too", async () => {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(a.node, "x", "1");
    await add(b.node, "x", "2");
    await Promise.all([cutOff(a), cutOff(b)]);
    expect(await add(b.node, "x", "3")).toMatchObject({
      result: ["1", "2", "3"],
      verdict: "suspect",
      path: ["local/b", "local/a"],
    });
    await Promise.all([heal(a), heal(b)]);
    await until(async () => {
      // The link to a's former life may break under a call.
      const answer = await b.node.call("notes", "x", "all", []).catch(() => null);
      return answer && !answer.verdict;
    }, "answers have no mark any more");
    expect((await b.node.call("notes", "x", "all", [])).result).toEqual(["1", "2", "3"]);
  });

  test("what was never read can't be read, and nothing is written by a turn that failed", async () => {
    const { a } = await one();
    await add(a.node, "x", "1");
    await cutOff(a);
    for (const [method, args] of [["other", ["z"]], ["listed", []]] as const) {
      await expect(a.node.call("notes", "x", method, args)).rejects.toMatchObject({
        code: "unavailable",
      });
    }
    expect((await add(a.node, "x", "2")).result).toEqual(["1", "2"]);
  });

  test("the instance stays what it is, without storage too", async () => {
    const { a } = await one();
    await a.node.call("notes", "x", "visit", []);
    await cutOff(a);
    expect(await a.node.call("notes", "x", "visit", [])).toMatchObject({
      result: 2,
      verdict: "suspect",
    });
    await heal(a);
    expect((await a.node.call("notes", "x", "visit", [])).result).toBe(3);
    expect(seen).toEqual([]);
  });

  test("answers for idempotency keys are kept with the turns", async () => {
    const { a } = await one();
    const keyed = (note: string, idempotencyKey: string): Promise<CallResult> =>
      a.node.call("notes", "x", "add", [note], { idempotencyKey, timeoutMs: 2_000 });
    await keyed("1", "k1");
    await cutOff(a);
    expect((await keyed("1", "k1")).result).toEqual(["1"]);
    expect((await keyed("2", "k2")).result).toEqual(["1", "2"]);
    expect((await keyed("2", "k2")).result).toEqual(["1", "2"]);
    await heal(a);
    expect((await keyed("2", "k2")).result).toEqual(["1", "2"]);
    expect((await keyed("3", "k3")).result).toEqual(["1", "2", "3"]);
  });

  test("an idempotency key that may have been answered before is refused", async () => {
    const { made, a } = await one();
    const call = (node: Node, idempotencyKey: string): Promise<CallResult> =>
      node.call("notes", "x", "add", ["1"], { idempotencyKey, timeoutMs: 2_000 });
    await call(a.node, "k1");
    await a.node.drain();
    const b = await member(made, "b");
    await b.node.call("notes", "x", "all", []);
    await cutOff(b);
    await expect(call(b.node, "k2")).rejects.toMatchObject({
      code: "unavailable",
      maybeExecuted: false,
    });
  });

  test("a commit whose answer got lost counts once", async () => {
    const { a } = await one();
    await add(a.node, "x", "1");
    a.road.cutAtCommit = true;
    expect(await add(a.node, "x", "2")).toMatchObject({ result: ["1", "2"], verdict: "suspect" });
    expect((await add(a.node, "x", "3")).result).toEqual(["1", "2", "3"]);
    await heal(a);
    expect((await a.node.call("notes", "x", "all", [])).result).toEqual(["1", "2", "3"]);
    // Of two turns kept, one had been applied.
    expect(a.node.stats()).toMatchObject({ landedTurns: 1, conflictsLost: 0 });
  });

  test("an instance that hangs is given up, and what it had kept is committed", async () => {
    const { a } = await one();
    await add(a.node, "x", "1", "brisk");
    await cutOff(a);
    await add(a.node, "x", "2", "brisk");
    await expect(a.node.call("brisk", "x", "hang", [])).rejects.toMatchObject({ code: "timeout" });
    await expect(add(a.node, "x", "3", "brisk")).rejects.toMatchObject({ code: "unavailable" });
    await heal(a);
    expect((await a.node.call("brisk", "x", "all", [])).result).toEqual(["1", "2"]);
  });

  test("what it keeps is bounded", () => {
    const freight = { characters: 0 };
    const adrift = new Adrift(freight, false);
    const writes = new Map([["s:a", "b"]]);
    for (let n = 0; n < MAX_ADRIFT_TURNS; n++) {
      adrift.checkRoom("notes/x");
      adrift.keep(writes, null);
    }
    expect(() => adrift.checkRoom("notes/x")).toThrow(/kept 1024 turns/);
    expect(adrift.clear()).toBe(MAX_ADRIFT_TURNS);
    expect(freight.characters).toBe(0);
    freight.characters = MAX_ADRIFT_CHARACTERS;
    expect(() => adrift.checkRoom("notes/x")).toThrow(/kept 67108864 characters/);
  });

  test("turns that a closed node kept are told", async () => {
    const { made, a } = await one();
    await add(a.node, "x", "1");
    await cutOff(a);
    await add(a.node, "x", "2");
    await a.node.close({ drainMs: 100 });
    expect(made.events).toContainEqual({
      level: "error",
      event: "kept turns are lost",
      fields: { key: "notes/x", turns: 1 },
    });
  });
});

describe("a name that nobody here holds", () => {
  test("is taken where its type keeps no storage, and brought in", async () => {
    const { a } = await one();
    await cutOff(a);
    expect(await a.node.call("notes", "new", "visit", [])).toMatchObject({
      result: 1,
      epoch: 0,
      rrp: "rrp:local/a/notes/new",
      verdict: "suspect",
    });
    await a.node.call("notes", "new", "overwrite", ["1"]);
    await heal(a);
    const { result, epoch, verdict } = await a.node.call("notes", "new", "visit", []);
    expect({ result, verdict }).toEqual({ result: 2, verdict: undefined });
    expect(epoch).toBeGreaterThan(0);
    expect((await a.node.call("notes", "new", "all", [])).result).toEqual(["1"]);
  });

  test("can't be served where its storage has to be read", async () => {
    const { made, a } = await one();
    await cutOff(a);
    await expect(add(a.node, "known", "1")).rejects.toMatchObject({ code: "unavailable" });
    await expect(add(a.node, "x", "1")).rejects.toMatchObject({ code: "unavailable" });
    await heal(a);
    // Nobody was told anything: nothing is claimed.
    expect(await made.store.lookup("notes/x")).toBeNull();
    expect((await add(a.node, "x", "1")).result).toEqual(["1"]);
  });

  test("which has a state already: that stays, and both are told", async () => {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(b.node, "x", "b");
    await cutOff(a);
    await a.node.call("notes", "x", "overwrite", ["a"]);
    await heal(a);
    await until(() => b.node.stats().conflictsWon === 1, "the winner knows");
    expect(seen[0]).toBe("conflict x rrp:local/b/notes/x a");
    await until(
      async () => ((await b.node.call("notes", "x", "all", [])).result as string[]).includes("a"),
      "it is merged",
    );
    expect((await b.node.call("notes", "x", "all", [])).result).toEqual(["b", "a"]);
  });
});

describe("when another owner took over", () => {
  async function split(): Promise<{
    made: Cluster;
    a: { node: Node; road: Road };
    b: { node: Node; road: Road };
  }> {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(a.node, "x", "1");
    await cutOff(a);
    await add(a.node, "x", "a");
    await buried(made, "a");
    expect((await add(b.node, "x", "b")).verdict).toBeUndefined();
    return { made, a, b };
  }

  test("its state stays; the loser is told where it is, and merges", async () => {
    const { made, a, b } = await split();
    const owner = await made.store.lookup("notes/x");
    expect(owner?.rrp).toBe("rrp:local/b/notes/x");
    expect((await add(a.node, "x", "a2")).verdict).toBe("suspect");
    await heal(a);
    await until(() => seen.includes("stop x fenced"), "it has stopped");
    expect(seen.filter((line) => line.startsWith("conflict"))).toHaveLength(1);
    expect(seen[0]).toBe("conflict x rrp:local/b/notes/x 1,a,a2");
    const all = (await b.node.call("notes", "x", "all", [])).result as string[];
    expect(all).toEqual(["1", "b", "a", "a2"]);
    expect(a.node.stats()).toMatchObject({ conflictsLost: 1, landedTurns: 0, strandedTurns: 2 });
    await until(() => b.node.stats().conflictsWon === 1, "the winner knows");
    expect(await a.node.lookup("notes", "x")).toMatchObject({
      rrp: owner?.rrp,
      verdict: "contested",
    });
    expect(await a.node.lookup("notes", "x", { require: "confirmed" })).toMatchObject({
      verdict: "confirmed",
    });
    expect((await add(a.node, "x", "c")).rrp).toBe(owner?.rrp);
  });

  test("and is gone again, what it wrote stays all the same", async () => {
    const { a, b } = await split();
    await b.node.drain();
    await heal(a);
    await until(() => seen.some((line) => line === "stop x fenced"), "it has stopped");
    expect(seen.find((line) => line.startsWith("conflict"))).toContain("rrp:local/a/notes/x 1,a");
    const all = (await a.node.call("notes", "x", "all", [])).result as string[];
    expect(all).toEqual(expect.arrayContaining(["1", "a", "b"]));
  });

  test("one that told nobody anything is no conflict", async () => {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(a.node, "x", "1");
    await cutOff(a);
    await buried(made, "a");
    await b.node.call("notes", "x", "all", []);
    await heal(a);
    await until(() => seen.length > 0, "it has stopped");
    expect(seen).toEqual(["stop x fenced"]);
    expect(a.node.stats()).toMatchObject({ conflictsLost: 0, strandedTurns: 0 });
    expect((await a.node.call("notes", "x", "all", [])).result).toEqual(["1"]);
  });
});

test("a bad policy is refused", () => {
  const resources = { notes: { class: Notes, partition: "both" as "fence" } };
  expect(() => defineApp({ resources })).toThrow(
    'resource type notes: partition is "both", it must be fence or available',
  );
  expect(() => defineApp({ resources: plainApp.resources })).not.toThrow();
});
