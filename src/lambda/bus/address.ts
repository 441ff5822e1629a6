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

interface JoinedAddress extends SplitAddress {
  readonly address: Address;
}

const NOWHERE: JoinedAddress = { node: "", process: "", address: "/" };

/**
 * Caches addresses and their two fields, so that not every message joins and splits them again.
 * The same fields always give the same string object, whose hash the engine has computed.
 */
export class AddressCache {
  readonly #byNode = new Map<string, Map<string, Address>>();
  readonly #split = new Map<Address, SplitAddress>();
  /** The last two that were joined: messages of one frame mostly go from one process to one. */
  #last: JoinedAddress = NOWHERE;
  #lastButOne: JoinedAddress = NOWHERE;

  /** The address of a process; `node` empty: of this node. */
  join(node: string, process: string): Address {
    const joined = this.#lastButOne;
    if (joined.process === process && joined.node === node) {
      this.#lastButOne = this.#last;
      this.#last = joined;
      return joined.address;
    }
    const address = this.#byNode.get(node)?.get(process) ?? this.#join(node, process);
    this.#lastButOne = this.#last;
    this.#last = { node, process, address };
    return address;
  }

  split(address: Address): SplitAddress {
    const known = this.#split.get(address);
    if (known) return known;
    const found = { node: nodeOf(address), process: processOf(address) };
    this.#keep(address, found);
    return found;
  }

  #join(node: string, process: string): Address {
    const address = addressOf(node, process);
    this.#keep(address, { node, process });
    return address;
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
