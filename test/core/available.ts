/**
 * An app with types of either partition policy, and nodes whose connection to the store can be
 * cut: the set-up of the tests of `partition: "available"`.
 */
import {
  type App,
  type AtlasNode,
  type CallResult,
  type CreateNodeOptions,
  defineApp,
  memoryStore,
  type Ownership,
  Resource,
  type ResourceMap,
  type ResourceType,
  type StopReason,
} from "../../mod.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { BRISK, type Cluster, cluster, Gate, untilBy } from "./cluster.ts";
import { connectionTo, type StoreConnection } from "./store_connection.ts";

/** The time of all nodes here. */
export const clock: FakeClock = fakeClock();

export const until = (condition: () => unknown, what: string): Promise<void> =>
  untilBy(clock, condition, what);

/** What hooks saw, oldest first. */
export const seen: string[] = [];

/** A list that can still be read after its key was lost to another owner. */
export class Notes extends Resource {
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

  /** Answers once the gate of this name is open. */
  async hold(name: string): Promise<string> {
    seen.push(`holding ${name}`);
    await Gate.of(name).passed;
    return name;
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

export const app: App<Types> = defineApp<Types>({
  resources: {
    notes: { class: Notes, partition: "available" },
    brisk: { class: Notes, partition: "available", maxTurnMs: 500 },
    fenced: Notes,
  },
});

export type Node = AtlasNode<App<Types>>;

export async function member(
  made: Cluster,
  name: string,
  options: Partial<CreateNodeOptions> = {},
): Promise<{ node: Node; connection: StoreConnection }> {
  const connection = connectionTo(made.store);
  const node = await made.node(name, { store: connection.store, lease: BRISK, ...options }, app);
  return { node: node as unknown as Node, connection };
}

export function add(node: Node, id: string, note: string, type = "notes"): Promise<CallResult> {
  return clock.run(node.call(type, id, "add", [note], { timeoutMs: 2_000 }));
}

export async function cutOff(
  { node, connection }: { node: Node; connection: StoreConnection },
): Promise<void> {
  connection.isCut = true;
  await until(() => node.state === "fenced", "the lease has lapsed");
}

export async function heal(
  { node, connection }: { node: Node; connection: StoreConnection },
): Promise<void> {
  connection.isCut = connection.cutAtCommit = false;
  await until(
    () => node.state === "serving" && node.stats().offlineResources === 0,
    "all are reconciled",
  );
}

/** Resolves once the store says that a node is dead; until then other nodes may call it. */
export async function seenDead({ store }: Cluster, name: string): Promise<void> {
  await until(async () => {
    const { members } = await store.members();
    return members.some(({ node, state }) => node === name && state === "dead");
  }, `${name} is known to be dead`);
}

/** A cluster with one node. */
export async function one(): Promise<
  { made: Cluster; a: { node: Node; connection: StoreConnection } }
> {
  seen.length = 0;
  const made = cluster(memoryStore(), clock);
  return { made, a: await member(made, "a") };
}
