/**
 * Discovery: the address book that the post office looks into before it sends a
 * carrier to a house it has never been to.
 *
 * Takes contacts from letters of brokers, authorities and traders as they pass by, and
 * asks the registry's membership about nodes that no letter told of. The newest word
 * about a node counts; the longest unmentioned ones are forgotten first.
 *
 * Source: design §5, Discovery.
 */
import { MAX_CONTACTS } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";

export class Discovery {
  readonly #contacts = new Map<string, Peer>();
  /** Who answered at an address, last: it may be another than the one that node publishes. */
  readonly #answered = new Map<string, string>();
  readonly #membership: (incarnation: string) => Peer | undefined;

  /** @param membership what the registry says of an incarnation, as far as this node has read. */
  constructor(membership: (incarnation: string) => Peer | undefined) {
    this.#membership = membership;
  }

  learn({ region, node, incarnation, address }: Peer): void {
    this.#contacts.delete(incarnation);
    this.#contacts.set(incarnation, { region, node, incarnation, address });
    forgetOldest(this.#contacts);
  }

  /** Somebody answered at an address. */
  met(address: string, incarnation: string): void {
    this.#answered.delete(address);
    this.#answered.set(address, incarnation);
    forgetOldest(this.#answered);
  }

  find(incarnation: string): Peer | undefined {
    return this.#contacts.get(incarnation) ?? this.#membership(incarnation);
  }

  /** Incarnations that answered or were said to be dialled at `address`, the likeliest first. */
  at(address: string): string[] {
    const told = [...this.#contacts.values()].filter((contact) => contact.address === address)
      .map((contact) => contact.incarnation).reverse();
    const answered = this.#answered.get(address);
    return answered === undefined ? told : [answered, ...told];
  }
}

function forgetOldest(map: Map<string, unknown>): void {
  if (map.size <= MAX_CONTACTS) return;
  const [oldest] = map.keys();
  map.delete(oldest as string);
}
