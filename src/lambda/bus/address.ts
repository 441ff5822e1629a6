/**
 * Addresses of processes: `<incarnation>/<process>`.
 *
 * On its own node, the address of a process has no incarnation. So it stays the same when the node
 * takes a new incarnation, and never equals the address of a process on another node. Messages that
 * leave the node get the incarnation added.
 */

/** `<incarnation>/<process>`; `/<process>` for a process of this node. */
export type Address = string;

export function addressOf(incarnation: string, process: string): Address {
  return `${incarnation}/${process}`;
}

/** The incarnation of an address; empty: this node. */
export function nodeOf(address: Address): string {
  return address.slice(0, address.indexOf("/"));
}

export function processOf(address: Address): string {
  return address.slice(address.indexOf("/") + 1);
}

/** Well-known processes: each node has at most one of each. */
export const AUTHORITY = "authority";
export const BROKER = "broker";
export const BOOTSTRAP = "bootstrap";

/** The largest number of cached addresses; a full cache is cleared. */
const MAX_KEPT = 16_384;

/** An address split into node and process. */
export interface SplitAddress {
  /** The incarnation; empty: this node. */
  readonly node: string;
  readonly process: string;
}

/**
 * Caches addresses and their two fields, so that not every message joins and splits them again.
 * The same fields always give the same string object, whose hash the engine has computed.
 */
export class AddressCache {
  readonly #byNode = new Map<string, Map<string, Address>>();
  readonly #split = new Map<Address, SplitAddress>();

  /** The address of a process; `node` empty: of this node. */
  join(node: string, process: string): Address {
    const known = this.#byNode.get(node)?.get(process);
    if (known !== undefined) return known;
    const address = addressOf(node, process);
    this.#keep(address, { node, process });
    return address;
  }

  split(address: Address): SplitAddress {
    const known = this.#split.get(address);
    if (known) return known;
    const found = { node: nodeOf(address), process: processOf(address) };
    this.#keep(address, found);
    return found;
  }

  #keep(address: Address, found: SplitAddress): void {
    if (this.#split.size >= MAX_KEPT) {
      this.#split.clear();
      this.#byNode.clear();
    }
    const { node, process } = found;
    this.#split.set(address, found);
    const processes = this.#byNode.get(node);
    if (processes) processes.set(process, address);
    else this.#byNode.set(node, new Map([[process, address]]));
  }
}
