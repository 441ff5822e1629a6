/**
 * Where a part lives: a house number and a name on the bell.
 *
 * An address is `<incarnation>/<part>`. Within its own node a part's address has no
 * incarnation: so it stays the same when the node takes another, and no other node's
 * address is ever equal to it. Letters that leave get the incarnation put in front.
 */

/** `<incarnation>/<part>`; of a part of this node `/<part>`. */
export type Address = string;

export function addressOf(incarnation: string, part: string): Address {
  return `${incarnation}/${part}`;
}

/** The incarnation of an address; empty: this node. */
export function nodeOf(address: Address): string {
  return address.slice(0, address.indexOf("/"));
}

export function partOf(address: Address): string {
  return address.slice(address.indexOf("/") + 1);
}

/** The parts that every node may have once, under names that others know. */
export const AUTHORITY = "authority";
export const BROKER = "broker";
export const BOOTSTRAP = "bootstrap";
