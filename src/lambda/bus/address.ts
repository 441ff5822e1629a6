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

/** Addresses that are kept in mind; beyond that all are forgotten, and learnt again. */
const MAX_KEPT = 16_384;

/** An address in its two halves. */
export interface Halves {
  /** The incarnation; empty: this node. */
  readonly node: string;
  readonly part: string;
}

/**
 * An address book: knows whole addresses and their halves by heart, so that not every letter
 * has its own composed and taken apart. The same halves always give the same text, whose
 * hash is known by then.
 */
export class AddressBook {
  readonly #whole = new Map<string, Map<string, Address>>();
  readonly #halves = new Map<Address, Halves>();

  /** The address of a part; `node` empty: of this node. */
  whole(node: string, part: string): Address {
    const known = this.#whole.get(node)?.get(part);
    if (known !== undefined) return known;
    const address = addressOf(node, part);
    this.#keep(address, { node, part });
    return address;
  }

  halves(address: Address): Halves {
    const known = this.#halves.get(address);
    if (known) return known;
    const halves = { node: nodeOf(address), part: partOf(address) };
    this.#keep(address, halves);
    return halves;
  }

  #keep(address: Address, halves: Halves): void {
    if (this.#halves.size >= MAX_KEPT) {
      this.#halves.clear();
      this.#whole.clear();
    }
    const { node, part } = halves;
    this.#halves.set(address, halves);
    const parts = this.#whole.get(node);
    if (parts) parts.set(part, address);
    else this.#whole.set(node, new Map([[part, address]]));
  }
}
