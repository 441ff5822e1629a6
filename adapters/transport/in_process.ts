/**
 * Links between nodes of one process.
 *
 * Takes a network, which all transports that should reach each other share; gives links with the
 * same guarantees and limits as those over sockets: bytes are copied, a tick's messages travel
 * together, unread messages are counted.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_FRAME_BYTES, MAX_LINK_BUFFER_BYTES } from "../../src/limits.ts";
import type { Body } from "../../src/model/body.ts";
import {
  ANYONE,
  type Link,
  type LinkHandlers,
  type LinkIdentity,
  type Peer,
  type Transport,
} from "../../src/ports/transport.ts";

/** The largest body that, with its tuple, also fits a frame over sockets. */
const LARGEST = MAX_FRAME_BYTES - 1_024;

/** About the bytes of a tuple. */
const TUPLE_BYTES = 64;

interface Sent {
  readonly tuple: readonly unknown[];
  readonly body: Body;
}

/**
 * The registry in which the transports of one process find each other; made by
 * {@link inProcessNetwork}.
 */
export interface InProcessNetwork {
  /** A new address, unique in this network. */
  enter(transport: InProcessEnd): string;
  leave(address: string): void;
  find(address: string): InProcessEnd | undefined;
}

/** An end as its network sees it. */
export interface InProcessEnd {
  /** Its identity; null while it isn't open. */
  readonly self: LinkIdentity | null;
  /** Accepts a link that a peer opens to `wanted`; throws if `wanted` is another node. */
  answer(wanted: LinkIdentity, link: Link): void;
}

/** A new network; nodes of different networks don't reach each other. */
export function inProcessNetwork(): InProcessNetwork {
  const ends = new Map<string, InProcessEnd>();
  let entered = 0;
  return {
    enter(transport) {
      const address = `in-process:${++entered}`;
      ends.set(address, transport);
      return address;
    },
    leave: (address) => void ends.delete(address),
    find: (address) => ends.get(address),
  };
}

/**
 * A transport within this process. Give nodes that should reach each other the same
 * network; without one the node is alone.
 */
export function inProcessTransport(network: InProcessNetwork = inProcessNetwork()): Transport {
  return new InProcessTransport(network);
}

interface Life {
  readonly self: LinkIdentity;
  readonly accept: (link: Link) => void;
  readonly links: Set<InProcessLink>;
}

class InProcessTransport implements Transport, InProcessEnd {
  readonly address: string;
  readonly #network: InProcessNetwork;
  #life: Life | null = null;
  #closed = false;

  constructor(network: InProcessNetwork) {
    this.#network = network;
    this.address = network.enter(this);
  }

  async open(self: LinkIdentity, accept: (link: Link) => void): Promise<void> {
    if (this.#closed) throw unavailable("this node's transport is closed");
    this.#end("the node took a new incarnation");
    this.#life = { self, accept, links: new Set() };
  }

  get self(): LinkIdentity | null {
    return this.#life?.self ?? null;
  }

  async dial(peer: Peer): Promise<Link> {
    const life = this.#life;
    if (!life) throw unavailable("this node's transport is not open");
    // The answer comes later, as over a network.
    await Promise.resolve();
    const end = this.#network.find(peer.address);
    if (!end) throw unavailable(`nobody answers at ${JSON.stringify(peer.address)}`);
    if (this.#life !== life) throw unavailable("the node took a new incarnation");
    const { region, node, incarnation } = wants(peer, end.self) ? end.self : peer;
    const near = new InProcessLink({ region, node, incarnation });
    const far = new InProcessLink(life.self);
    near.join(far);
    keep(life.links, near);
    try {
      end.answer(near.peer, far);
    } catch (error) {
      near.close(messageOf(error));
      throw error;
    }
    return near;
  }

  answer(wanted: LinkIdentity, link: Link): void {
    const life = this.#life;
    if (!life || !wants(wanted, life.self)) {
      throw unavailable("another node or incarnation answers there");
    }
    keep(life.links, link as InProcessLink);
    life.accept(link);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#network.leave(this.address);
    this.#end("the node closed");
  }

  #end(reason: string): void {
    const links = this.#life?.links ?? [];
    this.#life = null;
    for (const link of [...links]) link.close(reason);
  }
}

/** Whether `self` is the node that is wanted. */
function wants(wanted: LinkIdentity, self: LinkIdentity | null): self is LinkIdentity {
  return self !== null && (wanted.incarnation === ANYONE ||
    (wanted.incarnation === self.incarnation && wanted.node === self.node &&
      wanted.region === self.region));
}

function keep(links: Set<InProcessLink>, link: InProcessLink): void {
  links.add(link);
  link.onEnd = () => links.delete(link);
}

function unavailable(why: string): AtlasError {
  return new AtlasError("unavailable", why);
}

/** One end of a link; what it sends waits in the other end. */
class InProcessLink implements Link {
  readonly peer: LinkIdentity;
  onEnd: () => void = () => {};
  #other: InProcessLink | null = null;
  #handlers: LinkHandlers | null = null;
  #inbox: Sent[] = [];
  #inboxBytes = 0;
  #scheduled = false;
  #ended: string | null = null;
  #deaf = false;
  #hasReportedEnd = false;

  constructor(peer: LinkIdentity) {
    this.peer = peer;
  }

  join(other: InProcessLink): void {
    this.#other = other;
    other.#other = this;
  }

  start(handlers: LinkHandlers): void {
    if (this.#handlers) throw new AtlasError("bad_request", "a link is started only once");
    this.#handlers = handlers;
    this.#schedule();
  }

  send(tuple: readonly unknown[], body: Body): boolean {
    const other = this.#other;
    if (this.#ended !== null || !other) return false;
    if (body.length > LARGEST) {
      throw new AtlasError(
        "payload_too_large",
        `a body of ${body.length} bytes is more than a frame of ${MAX_FRAME_BYTES} holds`,
      );
    }
    if (other.#inboxBytes > MAX_LINK_BUFFER_BYTES) return false;
    other.#inbox.push({ tuple, body: typeof body === "string" ? body : new Uint8Array(body) });
    other.#inboxBytes += body.length + TUPLE_BYTES;
    other.#schedule();
    return true;
  }

  close(reason: string): void {
    this.#deaf = true;
    this.#inbox = [];
    this.#end(reason);
    const other = this.#other;
    if (other) other.#end(reason);
  }

  #end(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.onEnd();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || !this.#handlers) return;
    this.#scheduled = true;
    // Uses a macrotask, as sockets do, so that timers run between messages.
    setImmediate(this.#run);
  }

  /** Delivers the messages, and then the link's end, if it has ended. */
  readonly #run = (): void => {
    this.#scheduled = false;
    const handlers = this.#handlers as LinkHandlers;
    const messages = this.#inbox;
    this.#inbox = [];
    this.#inboxBytes = 0;
    for (const { tuple, body } of messages) {
      if (this.#deaf) break;
      try {
        handlers.message(tuple, body);
      } catch (error) {
        this.close(`a message could not be handled: ${messageOf(error)}`);
      }
    }
    if (this.#ended === null || this.#hasReportedEnd) return;
    this.#hasReportedEnd = true;
    handlers.close(this.#ended);
  };
}
