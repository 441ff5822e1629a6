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
import type { OfflineLog } from "./offline_log.ts";
import type { ActivationHost } from "./activation_host.ts";

/** Ownerships that one step to the store says again. */
const REASSERT_SHARE = 256;

/** An ownership that is acted upon. */
export interface HeldOwnership {
  readonly key: string;
  readonly owner: Ownership;
  /** The last turn that is known to be in the state. */
  last: Stamp;
  /** The lineage in which that is known, by `markOf`. */
  lineage: string | undefined;
  /** What it keeps while it goes on without the store; null where it doesn't. */
  readonly offline: OfflineLog | null;
  /** Whether its type goes on where the store can't be reached. */
  readonly goesOn: boolean;
  /** Whether it has let go of its name, or has asked for that: it is no owner any more. */
  readonly isOver: boolean;
  /**
   * Refuses users' code that belongs to no turn of this ownership.
   *
   * @throws AtlasError `bad_request`
   */
  turn(what: string): unknown;
  /** Whether it may still act: asked right before each commit. */
  holds(): boolean;
  /** The store says that somebody else owns the key now. */
  fenced(): void;
  /** The store lacks turns that it had acknowledged, and has these: it begins anew from them. */
  behind(last: Stamp): void;
}

/** What the store is told of a tenure. */
function reassertionOf({ key, owner, last }: HeldOwnership): Reassertion {
  return { ...owner, key, after: last };
}

/** What became of a tenure that was asserted again. */
function settle(tenure: HeldOwnership, { standing, last }: Standing, lineage: LineageName): void {
  if (tenure.isOver) return;
  if (standing === "kept" || standing === "restored") tenure.lineage = markOf(lineage);
  if (standing === "behind") tenure.behind(last);
  else if (standing === "lost") tenure.fenced();
}

/** Says to the store again what is held. Answers false where the lineage is another by now. */
export async function reassertAll(
  store: Store,
  held: readonly HeldOwnership[],
  lineage: LineageName,
): Promise<boolean> {
  for (let at = 0; at < held.length; at += REASSERT_SHARE) {
    const share = held.slice(at, at + REASSERT_SHARE).filter((it) => !it.isOver);
    const standings = await store.reassert(share.map(reassertionOf), lineage);
    if (standings === null) return false;
    share.forEach((tenure, i) => settle(tenure, standings[i] as Standing, lineage));
  }
  return true;
}

/** Counts and tells the turns that the store had acknowledged, and lacks. */
export function tellLoss(
  host: Pick<ActivationHost<unknown>, "stats" | "tell">,
  { key, owner, last }: Pick<HeldOwnership, "key" | "owner" | "last">,
  kept: Stamp,
): void {
  // Of a former owner's turns only the last is known by number.
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

/** Counts and tells that a state was lost of which nobody here knows how many turns it had. */
export function tellLostState(
  host: Pick<ActivationHost<unknown>, "stats" | "tell">,
  key: string,
  { epoch }: Ownership,
): void {
  host.stats.lostTurns++;
  const fields = { key, epoch, turns: 1, acknowledged: "unknown", kept: "0.0" };
  host.tell("error", "state lost", fields);
}

/** Gives the name back. Never rejects: where the store can't take it, the entry stays. */
export async function releaseOwnership(
  host: Pick<ActivationHost<unknown>, "store" | "tell">,
  { key, owner: { incarnation, epoch }, last }: HeldOwnership,
): Promise<null> {
  try {
    await host.store.release(key, incarnation, epoch, last);
  } catch (error) {
    // The next call finds this node live, and it claims anew.
    host.tell("warning", "release failed", { key, reason: messageOf(error) });
  }
  return null;
}
