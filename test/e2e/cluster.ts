/**
 * A cluster of real processes on one registry, for end-to-end tests.
 *
 * Takes a registry, a lease and the runtimes of its nodes; gives the running nodes, each of which
 * can be restarted under its name. The registry is a SQLite file in a temporary folder or a private
 * Redis.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { redisMissing, startRedis } from "../support/redis.ts";
import { ask } from "./calls.ts";
import { type NodeProcess, type RuntimeName, startNode } from "./process.ts";
import { until } from "../support/until.ts";

/** A registry that nodes can share. */
export interface Registry {
  readonly url: string;
  close(): Promise<void>;
}

export interface RegistryKind {
  readonly name: "SQLite" | "Redis";
  /** Why it is not available on this machine; null if it is. */
  readonly missing: string | null;
  open(): Promise<Registry>;
}

export const SQLITE: RegistryKind = { name: "SQLite", missing: null, open: openSqlite };
export const REDIS: RegistryKind = {
  name: "Redis",
  missing: redisMissing,
  open: () => startRedis({ durable: true }),
};

async function openSqlite(): Promise<Registry> {
  const folder = mkdtempSync(join(tmpdir(), "atlas-e2e-"));
  return {
    url: `file:${join(folder, "registry.db")}`,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

export interface Cluster {
  /** The running nodes, by their place in the list of nodes. */
  readonly nodes: NodeProcess[];
  /** Restarts the node of this place, whose process has ended, under its old name. */
  restart(place: number): Promise<NodeProcess>;
  /** Ends all nodes. */
  close(): Promise<void>;
}

export interface ClusterOptions {
  registry: string;
  runtimes: readonly RuntimeName[];
  /** Default `fast`. */
  lease?: string;
  /** Further variables of every node. */
  env?: Record<string, string>;
}

/** Starts nodes `n0`, `n1`, … and waits until each knows all the others. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { registry, runtimes, lease = "fast", env = {} } = options;
  const start = (place: number): Promise<NodeProcess> =>
    startNode({
      runtime: runtimes[place] as RuntimeName,
      env: {
        ATLAS_NODE: `n${place}`,
        ATLAS_REGISTRY_URL: registry,
        ATLAS_LEASE: lease,
        ...env,
      },
    });
  const nodes = await Promise.all(runtimes.map((_, place) => start(place)));
  await until(async () => {
    const { body } = await ask((nodes[0] as NodeProcess).url, "/v1/nodes");
    return liveOf(body.nodes ?? []).length === nodes.length;
  }, "all nodes are live");
  return {
    nodes,
    restart: async (place) => nodes[place] = await start(place),
    close: async () => void await Promise.all(nodes.map((node) => node.kill())),
  };
}

/** The live ones of listed members. */
export function liveOf(roll: { state: string }[]): { state: string }[] {
  return roll.filter(({ state }) => state === "live");
}

/** The place of the node that an RRP names as a resource's owner. */
export function placeOf(rrp: string): number {
  return Number(/^rrp:[^/]+\/n(\d+)\//.exec(rrp)?.[1] ?? -1);
}
