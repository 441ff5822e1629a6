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
import { MAX_CONTACTS } from "../limits.ts";
import type { Peer } from "../ports/transport.ts";

export class Discovery {
  readonly #contacts = new Map<string, Peer>();
  readonly #membership: (incarnation: string) => Peer | undefined;

  /** @param membership what the registry says of an incarnation, as far as this node has read. */
  constructor(membership: (incarnation: string) => Peer | undefined) {
    this.#membership = membership;
  }

  learn({ region, node, incarnation, address }: Peer): void {
    this.#contacts.delete(incarnation);
    this.#contacts.set(incarnation, { region, node, incarnation, address });
    if (this.#contacts.size <= MAX_CONTACTS) return;
    const [oldest] = this.#contacts.keys();
    this.#contacts.delete(oldest as string);
  }

  find(incarnation: string): Peer | undefined {
    return this.#contacts.get(incarnation) ?? this.#membership(incarnation);
  }

  /** Incarnations that were said to be dialled at `address`, the last mentioned first. */
  at(address: string): string[] {
    return [...this.#contacts.values()].filter((contact) => contact.address === address)
      .map((contact) => contact.incarnation).reverse();
  }
}
