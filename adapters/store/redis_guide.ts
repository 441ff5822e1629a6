/** What a connection asks of those who know where a Redis is that moves: its sentinels. */
import type { RedisAddress } from "./redis_client.ts";
import type { ReplicaGroup } from "./redis_replicas.ts";

/** Who knows where a Redis is that moves. */
export interface RedisGuide {
  /** What it leads to, in messages. */
  readonly name: string;
  /** Where that is now. Rejects where nobody knows, with `bad_request` where it never will. */
  find(timeoutMs: number): Promise<RedisAddress>;
  /** The address that was found turned out to be wrong. */
  mistaken(): void;
  /** Why a connection to `address` must be given up; null where it may stay. Never rejects. */
  elsewhere(address: RedisAddress, timeoutMs: number): Promise<string | null>;
  /** The replicas of the Redis that it leads to, as it is asked now. Absent: it knows of none. */
  replicas?(timeoutMs: number): Promise<ReplicaGroup>;
  close(): void;
}
