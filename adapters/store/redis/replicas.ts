/**
 * Decides whether a write is safe from a promotion: every replica that may be promoted must have
 * it.
 *
 * `WAIT` tells how many replicas have a write, not which. After a promotion the former primary and
 * another replica may continue for a while, so the number alone proves nothing. A write therefore
 * counts only if all replicas that are not known to be down have it; a promoted replica
 * acknowledges nothing to its former primary.
 *
 * Source: `docs/design.md`, Store failover; the Redis commands WAIT, SENTINEL and CLUSTER.
 */
import { fieldOf } from "./replies.ts";

/** A primary's replicas, as known by the sentinels or the cluster, which may promote one. */
export interface ReplicaGroup {
  /** The primary, as `host:port`. */
  readonly primary: string;
  /** How many replicas may be promoted. */
  readonly present: number;
  /** Whether replicas were left out because they are down. */
  readonly hasAbsent: boolean;
  /** When the question was sent, in ms of a monotonic clock. */
  readonly askedAt: number;
}

/** A step that writes. */
export interface CopiedStep {
  /** The server that ran it, as `host:port`. */
  readonly primary: string;
  /** The time by which it had run, in ms of the same clock. */
  readonly doneAt: number;
  /** How many replicas have it. */
  readonly copied: number;
}

/**
 * Whether a step is safe from a promotion.
 *
 * @param least the least number of replicas that must have it.
 */
export function isConfirmed(step: CopiedStep, least: number, group: ReplicaGroup): boolean {
  if (group.primary !== step.primary) return false;
  // A replica that was down before the step may have come back, and been promoted, since.
  if (group.hasAbsent && group.askedAt < step.doneAt) return false;
  return group.present >= least && step.copied >= group.present;
}

/** One sentinel's answer about a master. */
export interface SentinelAnswer {
  /** The master, as `host:port`, and the configuration epoch in which it is one. */
  readonly primary: string;
  readonly epoch: number;
  /** Each replica as the sentinel lists it: names and values of fields. */
  readonly replicas: readonly ReadonlyMap<string, string>[];
}

/**
 * The replicas by the answers of several sentinels. Answers of a former configuration are ignored.
 * A replica is left out if all sentinels that list it, and more than half of all sentinels, report
 * it as down or don't know it as a replica yet: it would be the last to be promoted. A replica of
 * priority 0 is left out, because it is never promoted.
 *
 * @param sentinels how many there are.
 */
export function replicasBySentinels(
  answers: readonly SentinelAnswer[],
  sentinels: number,
  askedAt: number,
): ReplicaGroup {
  const epoch = answers.reduce((most, answer) => Math.max(most, answer.epoch), 0);
  const latest = answers.filter((answer) => answer.epoch === epoch);
  const listed = Map.groupBy(
    latest.flatMap(({ replicas }) => replicas),
    (fields) => `${fields.get("ip")}:${fields.get("port")}`,
  );
  let present = 0;
  let hasAbsent = false;
  for (const views of listed.values()) {
    if (views.every((fields) => fields.get("slave-priority") === "0")) continue;
    if (views.length * 2 > sentinels && views.every(isAbsent)) hasAbsent = true;
    else present++;
  }
  return { primary: latest[0]?.primary ?? "", present, hasAbsent, askedAt };
}

function isAbsent(fields: ReadonlyMap<string, string>): boolean {
  const flags = fields.get("flags")?.split(",") ?? [];
  return flags.includes("s_down") || flags.includes("o_down") || fields.get("master-host") === "?";
}

/** A master of a cluster to be asked. */
interface ClusterMaster {
  readonly address: string;
  send(command: string, args: string[]): Promise<unknown>;
}

/**
 * The replicas of a cluster's master, by its own list. Left out are those that most masters report
 * as failed, and those that are configured never to be promoted. A new replica starts to copy
 * before all nodes of the cluster know it, so at least as many replicas count as are connected.
 */
export async function clusterReplicas({ address, send }: ClusterMaster): Promise<ReplicaGroup> {
  const askedAt = performance.now();
  const id = String(await send("CLUSTER", ["MYID"]));
  const [lines, about] = await Promise.all([
    send("CLUSTER", ["REPLICAS", id]),
    send("INFO", ["replication"]),
  ]);
  const flags = (Array.isArray(lines) ? lines : []).map((line) =>
    String(line).split(" ")[2]?.split(",") ?? []
  ).filter((flags) => !flags.includes("nofailover"));
  const present = flags.filter((flags) => !flags.includes("fail")).length;
  const hasAbsent = present < flags.length;
  const connected = hasAbsent ? 0 : Number(fieldOf(about, "connected_slaves"));
  return { primary: address, present: Math.max(present, connected), hasAbsent, askedAt };
}
