/**
 * Links between nodes over WebSockets.
 *
 * Takes a runtime that can dial, the cluster's secret and, from the HTTP server, the sockets that
 * ask for {@link LINK_PATH}; gives authenticated links. Each socket starts with a handshake
 * (`link_handshake.ts`), then carries frames of many messages (`link_frames.ts`). Dials to a peer
 * that failed before wait (backoff).
 */
import { AtlasError, detailOf, messageOf } from "../../src/errors.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Random } from "../../src/ports/random.ts";
import type { Runtime, Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import type { Link, LinkIdentity, Peer, Transport } from "../../src/ports/transport.ts";
import { systemClock, systemRandom } from "../system/clock.ts";
import { checkAddress, LINK_PATH, linkAddress } from "./link_address.ts";
import { importKeys, MIN_SECRET_BYTES } from "./link_handshake.ts";
import { LinkLife, refuseSocket } from "./link_life.ts";
import { LinkRefusals } from "./link_refusals.ts";
import { LinkSlots } from "./link_slots.ts";

export { LINK_PATH, linkAddress };

export interface WebSocketTransportOptions {
  /** What dials. */
  runtime: Pick<Runtime, "dial">;
  /**
   * The cluster's secret, or the present and the previous one while it is changed. Each has at
   * least 32 bytes; otherwise this node has links on loopback only.
   */
  secret?: string | readonly [current: string, previous: string];
  /** The address at which peers dial this node, if it is known already. See {@link linkAddress}. */
  address?: string;
  /** Further addresses by which peers may dial it, as {@link linkAddress} takes them. */
  addresses?: readonly string[];
  /** Restricts which peers' addresses are dialled. */
  allow?: (url: URL) => boolean;
  /** Gets events about sockets that were refused. */
  onEvent?: (event: NodeEvent) => void;
  clock?: Clock;
  random?: Random;
}

/** The transport, and what the HTTP server needs of it. */
export interface WebSocketTransport extends Transport {
  /** The address at which peers dial this node. To be set before `open`, once the port is known. */
  address: string;
  /**
   * All addresses by which peers may dial this node, {@link address} first. A link that was dialled
   * by another one is refused: it came through a node or proxy that relays links.
   */
  readonly addresses: readonly string[];
  /** Adds to {@link addresses}. */
  reachedAt(url: string): void;
  /** Whether a secret of at least 32 bytes is set: without one, serve on loopback only. */
  readonly secured: boolean;
  /** Handlers for one socket that asked for {@link LINK_PATH}; give them to `upgrade`. */
  accept(): SocketHandlers;
}

/**
 * Links over WebSockets.
 *
 * @throws AtlasError `bad_request` if `secret` is empty or `address` can't be one.
 */
export function websocketTransport(options: WebSocketTransportOptions): WebSocketTransport {
  return new WebSocketLinks(options);
}

class WebSocketLinks implements WebSocketTransport {
  readonly secured: boolean;
  readonly #options: WebSocketTransportOptions;
  readonly #clock: Clock;
  readonly #backoff: DialBackoff;
  readonly #secrets: readonly string[];
  readonly #slots: LinkSlots;
  readonly #refusals: LinkRefusals;
  readonly #also = new Set<string>();
  #address = "";
  #life: LinkLife | null = null;
  #closed = false;

  constructor(options: WebSocketTransportOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#backoff = new DialBackoff(this.#clock, options.random ?? systemRandom);
    this.#secrets = secretsOf(options.secret);
    this.secured = this.#secrets.length > 0 &&
      this.#secrets.every((secret) => utf8.encode(secret).length >= MIN_SECRET_BYTES);
    this.#slots = new LinkSlots(this.#clock);
    this.#refusals = new LinkRefusals(this.#clock, (event) => options.onEvent?.(event));
    if (options.address !== undefined) this.address = options.address;
    for (const url of options.addresses ?? []) this.reachedAt(url);
  }

  get address(): string {
    return this.#address;
  }

  set address(address: string) {
    this.#address = linkAddress(address);
  }

  get addresses(): readonly string[] {
    return [...new Set([this.#address, ...this.#also])];
  }

  reachedAt(url: string): void {
    this.#also.add(linkAddress(url));
  }

  async open(self: LinkIdentity, accept: (link: Link) => void): Promise<void> {
    if (this.#closed) throw notOpen();
    this.#life?.end("the node took a new incarnation");
    this.#life = null;
    const keys = await importKeys(this.#secrets);
    if (this.#closed) throw notOpen();
    this.#life = new LinkLife({
      self,
      keys,
      accept,
      runtime: this.#options.runtime,
      clock: this.#clock,
      slots: this.#slots,
      refusals: this.#refusals,
      isOwn: (address) => address === this.#address || this.#also.has(address),
    });
  }

  accept(): SocketHandlers {
    return onceOpen((socket) => this.#life?.accept(socket) ?? refuseSocket("the node is not open"));
  }

  async dial(peer: Peer): Promise<Link> {
    const life = this.#life;
    if (!life) throw notOpen();
    const url = checkAddress(peer.address, { secured: this.secured, allow: this.#options.allow });
    // A restarted node has the same address, but its new incarnation has no failures yet.
    const key = `${peer.incarnation} ${url}`;
    // A peer in backoff can't be reached for the same reason as before.
    const pending = this.#backoff.pending(key);
    if (pending !== null) throw unavailableAs(pending);
    try {
      const link = await life.dial(url, peer);
      this.#backoff.succeeded(key);
      return link;
    } catch (error) {
      if (!life.ended) this.#backoff.failed(key, error);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#life?.end("the node closed");
    this.#life = null;
  }
}

/**
 * Makes the handlers when the socket opens: a request that never becomes a socket takes no slot.
 */
function onceOpen(make: (socket: Socket) => SocketHandlers): SocketHandlers {
  let handlers: SocketHandlers | undefined;
  return {
    open: (socket) => (handlers = make(socket)).open(socket),
    message: (socket, data) => handlers?.message(socket, data),
    close: (socket, code, reason) => handlers?.close(socket, code, reason),
  };
}

const utf8: TextEncoder = new TextEncoder();

function secretsOf(secret: WebSocketTransportOptions["secret"]): readonly string[] {
  if (secret === undefined) return [];
  const secrets = typeof secret === "string" ? [secret] : secret;
  if (secrets.length < 1 || secrets.length > 2 || !secrets.every((text) => text.length > 0)) {
    throw new AtlasError("bad_request", "secret must be one text or two, none of them empty");
  }
  return secrets;
}

/** The error of the dial before, as `unavailable`. */
function unavailableAs(error: unknown): AtlasError {
  return new AtlasError("unavailable", messageOf(error), { detail: detailOf(error) });
}

function notOpen(): AtlasError {
  return new AtlasError("unavailable", "this node's transport is not open");
}

/** The first and the longest backoff, in ms; the wait is a random half to whole of it. */
const FIRST_BACKOFF_MS = 50;
const LONGEST_BACKOFF_MS = 1_000;
/** Peers that are remembered; the one that failed longest ago is forgotten first. */
const MAX_PEERS = 1_024;

interface Failure {
  readonly until: number;
  readonly nextMs: number;
  readonly why: unknown;
}

/**
 * Backoff for dials to peers that failed before. Takes the outcomes of dials; says whether the
 * next one has to wait.
 */
export class DialBackoff {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #failures: Map<string, Failure> = new Map();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The last failure, if a dial still has to wait; null if it may go ahead. */
  pending(key: string): unknown {
    const failure = this.#failures.get(key);
    return failure && failure.until > this.#clock.now() ? failure.why : null;
  }

  failed(key: string, why: unknown): void {
    const ms = this.#failures.get(key)?.nextMs ?? FIRST_BACKOFF_MS;
    this.#failures.delete(key);
    this.#failures.set(key, {
      until: this.#clock.now() + ms * (0.5 + this.#random.next() / 2),
      nextMs: Math.min(2 * ms, LONGEST_BACKOFF_MS),
      why,
    });
    if (this.#failures.size <= MAX_PEERS) return;
    for (const oldest of this.#failures.keys()) {
      this.#failures.delete(oldest);
      break;
    }
  }

  succeeded(key: string): void {
    this.#failures.delete(key);
  }
}
