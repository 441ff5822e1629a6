/**
 * The postmark office: what a call says of its way when it leaves, and whether it may
 * leave at all.
 *
 * Source: design §4 (hop limit 3).
 */
import { AtlasError } from "../errors.ts";
import { MAX_HOPS } from "../limits.ts";
import type { Trail } from "../model/trail.ts";
import type { Outgoing } from "./outgoing.ts";

/** The trail of a call that goes from the node `self` over a link; null: nothing to say. */
export function trailOf(
  { via, region }: Outgoing,
  self: string,
  relay: boolean,
  trace: string | null,
): Trail | null {
  if (via.length > 0 || relay) return { via: [...via, self], region, trace };
  return region === null && trace === null ? null : { via, region, trace };
}

/** Why a call that came to `self` over `via` must not go on to `next`; null where it may. */
export function wayTrouble(via: readonly string[], self: string, next: string): AtlasError | null {
  if (via.length === 0) return null;
  const path = [...via, self, next];
  if (via.includes(next) || via.includes(self)) {
    return new AtlasError(
      "unavailable",
      `the call goes round: ${path.join(" → ")}; its resource's home has just changed, or nodes ` +
        "have different rules for it",
    );
  }
  if (via.length < MAX_HOPS) return null;
  return new AtlasError(
    "unavailable",
    `the call may go over ${MAX_HOPS} links at most: ${path.join(" → ")}`,
  );
}
