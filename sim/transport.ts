/**
 * The port `Transport` of one simulated process: its telephone, which rings under one
 * number for as long as the process lives.
 *
 * Takes the port's calls; passes them on to the network.
 */
import { AtlasError } from "../src/errors.ts";
import type { Link, LinkIdentity, Peer, Transport } from "../src/ports/transport.ts";
import type { SimNetwork } from "./network.ts";
import type { SimProcess } from "./process.ts";

export class SimTransport implements Transport {
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #process: SimProcess;
  #self: LinkIdentity | null = null;
  #isClosed = false;
  readonly #dials = new Set<(why: string) => void>();

  constructor(network: SimNetwork, process: SimProcess) {
    this.#network = network;
    this.#process = process;
    this.address = `${addressOf(process.host)}/${process.id}`;
  }

  async open(self: LinkIdentity, accept: (link: Link) => void): Promise<void> {
    if (this.#isClosed) throw new AtlasError("unavailable", "the transport is closed");
    this.#hangUp("a new life began");
    this.#self = self;
    this.#network.listen({ address: this.address, process: this.#process, self, accept });
  }

  async dial(peer: Peer): Promise<Link> {
    const self = this.#self;
    if (!self || this.#isClosed) throw new AtlasError("unavailable", "the transport is closed");
    return await this.#network.dial(this.#process, self, peer, this.#dials);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#network.unlisten(this.address);
    this.#hangUp("the node closed");
  }

  #hangUp(why: string): void {
    for (const fail of [...this.#dials]) fail(why);
    this.#network.closeAll(this.#process, why);
  }
}

/** Where a machine is dialled by who knows no process of it. */
export function addressOf(host: string): string {
  return `sim://${host}`;
}

/** The machine of an address. */
export function hostOf(address: string): string {
  return address.slice("sim://".length).split("/")[0] ?? "";
}
