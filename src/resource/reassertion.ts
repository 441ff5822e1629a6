/**
 * Reasserts an ownership to a store that failed over, and acts on the reply: kept, restored,
 * behind or lost.
 *
 * Source: `docs/design.md`, Store failover.
 */
import { messageOf } from "../errors.ts";
import type { Ownership } from "../model/ownership.ts";
import type { LineageName, Reassertion, Stamp, Standing, Store } from "../ports/store.ts";
import { markOf } from "../registry/lineage.ts";
import type { ActivationHost } from "./activation_host.ts";
import type { OfflineLog } from "./offline_log.ts";

/** The number of ownerships that one step reasserts. */
const REASSERT_SHARE = 256;

/** An ownership as its holder uses it. */
export interface HeldOwnership {
  readonly key: string;
  readonly owner: Ownership;
  /** The last turn that the state is known to contain. */
  last: Stamp;
  /** The lineage for which that is known, by `markOf`. */
  lineage: string | undefined;
  /** Its log while it operates without the store; null otherwise. */
  readonly offline: OfflineLog | null;
  /** Whether its type operates if the store can't be reached. */
  readonly operatesOffline: boolean;
  /** Whether its key is released, or its release was requested. It then is no longer the owner. */
  readonly isOver: boolean;
  /**
   * Throws if the running user code belongs to no turn of this ownership.
   *
   * @throws AtlasError `bad_request`
   */
  turn(what: string): unknown;
  /** Whether it may still act. Checked immediately before each commit. */
  holds(): boolean;
  /** The store reported another owner. */
  fenced(): void;
  /**
   * The store lacks turns that it had acknowledged, and ends with `last`: the resource starts again
   * from there.
   */
  behind(last: Stamp): void;
}

/** The reassertion of an ownership, for the store. */
function reassertionOf({ key, owner, last }: HeldOwnership): Reassertion {
  return { ...owner, key, after: last };
}

/** Acts on the result of a reassertion. */
function settle(
  ownership: HeldOwnership,
  { standing, last }: Standing,
  lineage: LineageName,
): void {
  if (ownership.isOver) return;
  if (standing === "kept" || standing === "restored") ownership.lineage = markOf(lineage);
  if (standing === "behind") ownership.behind(last);
  else if (standing === "lost") ownership.fenced();
}

/** Reasserts ownerships to the store. Resolves to false if the lineage has changed meanwhile. */
export async function reassertAll(
  store: Store,
  held: readonly HeldOwnership[],
  lineage: LineageName,
): Promise<boolean> {
  for (let at = 0; at < held.length; at += REASSERT_SHARE) {
    const share = held.slice(at, at + REASSERT_SHARE).filter((it) => !it.isOver);
    const outcomes = await store.reassert(share.map(reassertionOf), lineage);
    if (outcomes === null) return false;
    share.forEach((ownership, i) => settle(ownership, outcomes[i] as Standing, lineage));
  }
  return true;
}

/** Counts and logs the turns that the store had acknowledged and lacks. */
export function tellLoss(
  host: Pick<ActivationHost<unknown>, "stats" | "tell">,
  { key, owner, last }: Pick<HeldOwnership, "key" | "owner" | "last">,
  kept: Stamp,
): void {
  // For turns of a former owner, only the number of the last turn is known.
  const turns = last.epoch === kept.epoch ? last.turn - kept.turn : Math.max(1, last.turn);
  host.stats.lostTurns += turns;
  host.tell("error", "state lost", {
    key,
    epoch: owner.epoch,
    turns,
    acknowledged: `${last.epoch}.${last.turn}`,
    kept: `${kept.epoch}.${kept.turn}`,
  });
}

/** Counts and logs the loss of a state whose number of turns is unknown here. */
export function tellLostState(
  host: Pick<ActivationHost<unknown>, "stats" | "tell">,
  key: string,
  { epoch }: Ownership,
): void {
  host.stats.lostTurns++;
  const fields = { key, epoch, turns: 1, acknowledged: "unknown", kept: "0.0" };
  host.tell("error", "state lost", fields);
}

/** Releases the key. Never rejects: if the store fails, the entry stays. */
export async function releaseOwnership(
  host: Pick<ActivationHost<unknown>, "store" | "tell">,
  { key, owner: { incarnation, epoch }, last }: HeldOwnership,
): Promise<null> {
  try {
    await host.store.release(key, incarnation, epoch, last);
  } catch (error) {
    // The next call finds this node live in the entry, and this node claims the key again.
    host.tell("warning", "release failed", { key, reason: messageOf(error) });
  }
  return null;
}
