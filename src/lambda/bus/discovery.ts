/**
 * Remembers where nodes can be dialled.
 *
 * Learns contacts from the messages of brokers, authorities and traders, and asks the registry's
 * membership about nodes that no message named. The latest contact of a node counts; the entries
 * not mentioned for longest are evicted first. Source: docs/design.md, Modules.
 */
import { MAX_CONTACTS } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";

export class Discovery {
  readonly #contacts = new Map<string, Peer>();
  /** By address, who answered there last; a node may answer at an address other than its own. */
  readonly #answered = new Map<string, string>();
  readonly #membership: (incarnation: string) => Peer | undefined;

  /** @param membership looks an incarnation up in this node's membership view. */
  constructor(membership: (incarnation: string) => Peer | undefined) {
    this.#membership = membership;
  }

  learn({ region, node, incarnation, address }: Peer): void {
    this.#contacts.delete(incarnation);
    this.#contacts.set(incarnation, { region, node, incarnation, address });
    evictOldest(this.#contacts);
  }

  /** A node answered at an address. */
  met(address: string, incarnation: string): void {
    this.#answered.delete(address);
    this.#answered.set(address, incarnation);
    evictOldest(this.#answered);
  }

  find(incarnation: string): Peer | undefined {
    return this.#contacts.get(incarnation) ?? this.#membership(incarnation);
  }

  /** Incarnations that answered at, or published, `address`; the likeliest first. */
  at(address: string): string[] {
    const published = [...this.#contacts.values()].filter((contact) => contact.address === address)
      .map((contact) => contact.incarnation).reverse();
    const answered = this.#answered.get(address);
    return answered === undefined ? published : [answered, ...published];
  }
}

function evictOldest(map: Map<string, unknown>): void {
  if (map.size <= MAX_CONTACTS) return;
  const [oldest] = map.keys();
  map.delete(oldest as string);
}
