/**
 * Limits the sockets of a node's link path: handshakes by remote address, and links by peer. A
 * socket counts until it is closed, whatever became of its handshake, and of the incarnation that
 * accepted it.
 *
 * Takes sockets as they open and close; says whether a new one is allowed, and ends an older
 * handshake for it where the limit is reached.
 */
import type { Clock } from "../../src/ports/clock.ts";
import { normalHost } from "./link_address.ts";

/** Sockets that may be in the middle of a handshake at once. */
export const MAX_HANDSHAKES = 128;
/** The most of them from one address, which may be a proxy for many nodes. */
export const MAX_HANDSHAKES_EACH = 64;
/** Links that peers may hold open to this node at once. */
export const MAX_ACCEPTED_LINKS = 4_096;
/** The most of them for one incarnation of a peer: one, and one for each route to this node. */
export const MAX_LINKS_EACH = 32;
/** A handshake takes one or two round trips; one of this age may be ended for a new one, in ms. */
export const SLOW_MS = 1_000;

/** One socket that counts. */
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
  /** In a handshake, the oldest first. */
  readonly #open = new Set<Slot>();
  /** The same by address. */
  readonly #byAddress = new Map<string, Set<Slot>>();
  /** Addresses by their number of handshakes. */
  readonly #byCount: Set<string>[] = [];
  /** The most that any address has. */
  #most = 0;
  /** Links by incarnation. */
  readonly #links = new Map<string, number>();
  #linkCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A slot for a socket from `remote`; text: why there is none. At the limit, the oldest handshake
   * of the address that holds most is ended for an address that holds fewer; else the oldest of all
   * if it is slow. Takes constant time.
   *
   * @param remote the address that it comes from; undefined where the runtime doesn't tell.
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

  /** Why a proven peer can't open a further link; null where it can. */
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

  /** The oldest of the address that holds most, where that holds clearly more than `own`. */
  #oldestOfBusiest(own: number): Slot | undefined {
    // With one more this address would hold most itself, and two addresses would evict each other.
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
 * The part of an address by which handshakes are counted: an IPv4 address whole, of an IPv6
 * address the first 64 bits, since whoever has one of those has all of them (RFC 6177).
 */
export function networkOf(remote: string): string {
  const host = normalHost(remote.split("%", 1)[0] as string);
  return host.includes(":") ? host.split(":").slice(0, 4).join(":") : host;
}
