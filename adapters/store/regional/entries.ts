/**
 * How a region's store encodes what moves need beside an ownership: a departure, or an arrival
 * whose state is being copied.
 *
 * Takes ownerships as a store keeps them and gives their meaning. Stores don't know this encoding:
 * a departure is an ownership by nobody; an arrival is one by a marked incarnation, so that every
 * claim, commit and release that expects the plain owner fails.
 */
import type { Ownership } from "../../../src/model/ownership.ts";
import { rrpAt } from "../../../src/model/rrp.ts";
import type { Claim } from "../../../src/ports/store.ts";
import { brokenEntry } from "../check.ts";

/** A key left `from` for `to`; `at` is the epoch that ended its stay. */
export interface Pointer {
  readonly to: string;
  readonly from: string;
  /** Every earlier ownership at `from` has a lower epoch, every ownership at `to` a higher one. */
  readonly at: number;
}

/** Names one entry, for the next compare-and-set. */
export type Stored = NonNullable<Claim["expected"]>;

/** The entry of a key in a region's store. */
export type Entry =
  | { readonly kind: "nobody" }
  | { readonly kind: "owner"; readonly owner: Ownership }
  /** `owner`, as nodes know it, is copying the state from the region that `pointer` names. */
  | {
    readonly kind: "arriving";
    readonly owner: Ownership;
    readonly stored: Stored;
    readonly pointer: Pointer;
  }
  /** `isSigned`: the claimer at the new home has signed, so that it can't be taken back. */
  | {
    readonly kind: "departed";
    readonly stored: Stored;
    readonly pointer: Pointer;
    readonly isSigned: boolean;
  };

/** The owner of a departed key. No incarnation has this name: they are UUIDs. */
export const DEPARTED = "departed";
/** The prefix of the incarnation that is copying the state. */
export const ARRIVING = "arriving:";
/** `|` is in no token, so no node has such a name. */
const MARKED = /^rrp:([^/]+)\/\|([^|/]+)\|(\d*)\|([^/]*)\/(.+)$/;

/** Reads an entry. @throws AtlasError `unavailable` if its address can't be read */
export function entryOf(stored: Ownership | null): Entry {
  if (stored === null) return { kind: "nobody" };
  const { rrp, incarnation, epoch } = stored;
  const marks = MARKED.exec(rrp);
  if (!marks) return { kind: "owner", owner: stored };
  const [, to = "", from = "", at = "", node = "", key = ""] = marks;
  const pointer = { to, from, at: at === "" ? epoch : Number(at) };
  if (!Number.isSafeInteger(pointer.at)) throw brokenEntry(key, "address", rrp);
  const named = { incarnation, epoch };
  if (incarnation === DEPARTED) {
    return { kind: "departed", stored: named, pointer, isSigned: at !== "" };
  }
  const owner = {
    rrp: rrpAt(to, node, key),
    incarnation: incarnation.slice(ARRIVING.length),
    epoch,
  };
  return { kind: "arriving", owner, stored: named, pointer };
}

/** Whether an entry is a plain ownership, neither a departure nor an arrival. */
export function isOwnership({ rrp }: Ownership): boolean {
  return !MARKED.test(rrp);
}

/**
 * The claim that makes an ownership a departure; a repeat is the same one.
 *
 * @param pointer its `at` is null if that is the epoch that this claim wins.
 */
export function departure(
  key: string,
  owner: Stored,
  pointer: Omit<Pointer, "at"> & { readonly at: number | null },
): Claim {
  const { to, from, at } = pointer;
  return {
    key,
    rrp: rrpAt(to, `|${from}|${at ?? ""}|`, key),
    incarnation: DEPARTED,
    opId: `${owner.incarnation}.${owner.epoch}.${to}`,
    expected: owner,
  };
}

/**
 * The claim that replaces an entry, or an absent one, by a departure to the key's home. If the
 * entry is that departure already, the claim signs it.
 */
export function shortcut(key: string, old: Stored | null, { to, from, at }: Pointer): Claim {
  return {
    key,
    rrp: rrpAt(to, `|${from}|${at}|`, key),
    incarnation: DEPARTED,
    opId: `${old?.epoch ?? 0}.${at}.${to}`,
    expected: old,
  };
}

/** The claim under which a key's state is copied, before the requested one. */
export function arrival(
  { key, rrp, incarnation, opId, lineage }: Claim,
  attempt: number,
  expected: Claim["expected"],
  { to, from, at }: Pointer,
): Claim {
  const node = rrp.slice("rrp:".length).split("/")[1];
  return {
    key,
    rrp: rrpAt(to, `|${from}|${at}|${node}`, key),
    incarnation: ARRIVING + incarnation,
    // A new incarnation each time, because each turn of an epoch counts once.
    opId: `${opId}.${attempt}`,
    expected,
    above: at,
    ...lineage && { lineage },
  };
}
