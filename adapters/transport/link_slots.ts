/**
 * Limits the sockets of a node's link path: handshakes by remote address, and links by peer. A
 * socket counts until it is closed, even if its handshake or the incarnation that accepted it has
 * ended before.
 *
 * Takes sockets as they open and close; says whether a new one is allowed, and ends an older
 * handshake in its favour if the limit is reached.
 */
import type { Clock } from "../../src/ports/clock.ts";
import { normalHost } from "./link_address.ts";

/** The number of sockets that may be in a handshake at once. */
export const MAX_HANDSHAKES = 128;
/** The largest number of these from one address, which may be a proxy for many nodes. */
export const MAX_HANDSHAKES_EACH = 64;
/** The number of links that peers may hold open to this node at once. */
export const MAX_ACCEPTED_LINKS = 4_096;
/**
 * The largest number of these for one incarnation of a peer: one, and one for each route to this
 * node.
 */
export const MAX_LINKS_EACH = 32;
/**
 * The age at which a handshake may be ended in favour of a new one, in ms. A handshake takes one or
 * two round trips.
 */
export const SLOW_MS = 1_000;

/** A socket that occupies a slot. */
export interface Slot {
  readonly from: string;
  readonly since: number;
  /** Ends its handshake, and its socket at once. */
  readonly drop: (why: string) => void;
  /** The peer's incarnation; null during the handshake. */
  peer: string | null;
}

export class LinkSlots {
  readonly #clock: Clock;
  /** Sockets in a handshake, the oldest first. */
  readonly #open = new Set<Slot>();
  /** The same sockets by address. */
  readonly #byAddress = new Map<string, Set<Slot>>();
  /** Addresses, grouped by their number of handshakes. */
  readonly #byCount: Set<string>[] = [];
  /** The largest number of handshakes of any address. */
  #most = 0;
  /** Links by incarnation. */
  readonly #links = new Map<string, number>();
  #linkCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A slot for a socket from `remote`, or a text with the reason why it gets none. At the limit, a
   * new socket from an address with fewer handshakes ends the oldest handshake of the address with
   * most; otherwise it ends the oldest handshake of all, if that one is slow. Takes constant time.
   *
   * @param remote the address that it comes from; undefined if the runtime doesn't tell.
   * @param drop ends its handshake, and its socket at once, with a reason.
   */
  take(remote: string | undefined, drop: (why: string) => void): Slot | string {
    if (this.#linkCount >= MAX_ACCEPTED_LINKS) return "too many links are open";
    const from = remote === undefined ? "" : networkOf(remote);
    const own = this.#byAddress.get(from);
    if (from !== "" && own && own.size >= MAX_HANDSHAKES_EACH) {
      if (!this.#drop(this.#slow(own))) {
        return "too many handshakes are under way from this address";
      }
    } else if (this.#open.size >= MAX_HANDSHAKES) {
      if (!this.#drop(this.#oldestOfBusiest(own?.size ?? 0) ?? this.#slow(this.#open))) {
        return "too many handshakes are under way";
      }
    }
    const slot: Slot = { from, since: this.#clock.now(), drop, peer: null };
    this.#open.add(slot);
    this.#count(slot, true);
    return slot;
  }

  /** Why a proven peer can't open a further link; null if it can. */
  linkRefusal(incarnation: string): string | null {
    if (this.#linkCount >= MAX_ACCEPTED_LINKS) return "too many links are open";
    const has = this.#links.get(incarnation) ?? 0;
    return has < MAX_LINKS_EACH ? null : `this peer has ${MAX_LINKS_EACH} links open already`;
  }

  /** A handshake ended in a link. */
  linked(slot: Slot, incarnation: string): void {
    this.#leave(slot);
    slot.peer = incarnation;
    this.#linkCount++;
    this.#links.set(incarnation, (this.#links.get(incarnation) ?? 0) + 1);
  }

  /** The socket is closed. */
  closed(slot: Slot): void {
    const { peer } = slot;
    if (peer === null) return this.#leave(slot);
    slot.peer = null;
    this.#linkCount--;
    const left = (this.#links.get(peer) ?? 1) - 1;
    if (left > 0) this.#links.set(peer, left);
    else this.#links.delete(peer);
  }

  /**
   * The oldest handshake of the address that holds most, if that address holds clearly more than
   * `own`.
   */
  #oldestOfBusiest(own: number): Slot | undefined {
    // With one more handshake this address would hold most itself, and two addresses would evict
    // each other's.
    if (own + 1 >= this.#most) return undefined;
    const address = first(this.#byCount[this.#most]);
    return address === undefined ? undefined : first(this.#byAddress.get(address));
  }

  #slow(slots: ReadonlySet<Slot>): Slot | undefined {
    const oldest = first(slots);
    return oldest && this.#clock.now() - oldest.since >= SLOW_MS ? oldest : undefined;
  }

  #drop(slot: Slot | undefined): boolean {
    if (!slot) return false;
    this.#leave(slot);
    slot.drop("its place was needed for another");
    return true;
  }

  #leave(slot: Slot): void {
    if (this.#open.delete(slot)) this.#count(slot, false);
  }

  #count(slot: Slot, isAdded: boolean): void {
    const { from } = slot;
    let slots = this.#byAddress.get(from);
    if (!slots) this.#byAddress.set(from, slots = new Set());
    this.#byCount[slots.size]?.delete(from);
    if (isAdded) slots.add(slot);
    else slots.delete(slot);
    if (slots.size === 0) this.#byAddress.delete(from);
    else (this.#byCount[slots.size] ??= new Set()).add(from);
    if (slots.size > this.#most) this.#most = slots.size;
    else if (this.#most > 0 && !this.#byCount[this.#most]?.size) this.#most--;
  }
}

function first<T>(items: Iterable<T> | undefined): T | undefined {
  for (const item of items ?? []) return item;
  return undefined;
}

/**
 * The part of an address by which handshakes are counted: the whole IPv4 address, or the first 64
 * bits of an IPv6 address, because one host can use all addresses with the same 64 bits (RFC 6177).
 */
export function networkOf(remote: string): string {
  const host = normalHost(remote.split("%", 1)[0] as string);
  return host.includes(":") ? host.split(":").slice(0, 4).join(":") : host;
}
