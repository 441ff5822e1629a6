/**
 * Either end of a link's handshake on one socket.
 *
 * Until the other end has proven itself, any frame that is out of order, of a wrong size or late
 * ends the session; afterwards frames go to the link. Gives the proven peer, or the failure,
 * exactly once.
 */
import type { ErrorCode } from "../../src/errors.ts";
import type { Clock, Timer } from "../../src/ports/clock.ts";
import type { Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import type { LinkIdentity } from "../../src/ports/transport.ts";
import {
  answerProof,
  checkWelcome,
  decodeChallenge,
  decodeHello,
  encodeChallenge,
  encodeHello,
  encodeProof,
  isWanted,
  MAX_HANDSHAKE_BYTES,
  otherVersion,
  sign,
  type Signatures,
  versionMismatch,
} from "./link_handshake.ts";
import { UNREAD, type WebSocketLink } from "./websocket_link.ts";

/** How long a handshake may take, in ms. */
export const HANDSHAKE_MS = 5_000;

/** Close codes of failed handshakes (RFC 6455 §7.4.2, for private use). */
export const UNAUTHORIZED = 4_401;
const MALFORMED = 4_400;
const TIMED_OUT = 4_408;
const OTHER_IDENTITY = 4_409;
/**
 * After HTTP's 421 and 426: the address dialled is not this node's; the peer speaks another
 * version.
 */
export const OTHER_ADDRESS = 4_421;
const OTHER_VERSION = 4_426;
const FAILED = 4_500;
/** IANA's registry: try again later. */
const TRY_LATER = 1_013;

/** Why a handshake failed. */
export interface HandshakeFailure {
  readonly code: Extract<ErrorCode, "unauthorized" | "unavailable">;
  readonly why: string;
  /** The identity that the other end claims; not proven. */
  readonly claimed: LinkIdentity | null;
  /** The address that the other end claims to have dialled, if that address is the reason. */
  readonly address?: string | undefined;
}

export interface SessionOptions {
  readonly self: LinkIdentity;
  readonly keys: readonly CryptoKey[];
  readonly clock: Clock;
  /** Makes the link; runs once, when both ends are proven. */
  proven(socket: Socket, peer: LinkIdentity): WebSocketLink;
  /** Runs once, if there will be no link. */
  failed(failure: HandshakeFailure): void;
}

export interface AcceptingOptions extends SessionOptions {
  /** Whether peers may dial this node at an address, given in normal form. */
  isOwn(address: string): boolean;
  /** Why a peer that has proven its identity gets no link; null if it gets one. */
  refusal(peer: LinkIdentity): string | null;
  /** The socket is closed, with or without a link. Runs once. */
  closed(): void;
}

/** The logic that both ends share. */
export abstract class Session implements SocketHandlers {
  protected readonly options: SessionOptions;
  protected claimed: LinkIdentity | null = null;
  protected signatures: Signatures | null = null;
  #socket: Socket | null = null;
  #link: WebSocketLink | null = null;
  #done = false;
  #timer: Timer;

  constructor(options: SessionOptions) {
    this.options = options;
    this.#timer = options.clock.after(HANDSHAKE_MS, () => {
      this.giveUp(TIMED_OUT, `the handshake took over ${HANDSHAKE_MS} ms`);
    });
  }

  open(socket: Socket): void {
    this.#socket = socket;
    if (this.#done) socket.close(TIMED_OUT, "the handshake was given up");
    else this.begin(socket);
  }

  message(socket: Socket, data: string | Uint8Array): void {
    if (this.#link) return this.#link.received(data);
    if (this.#done) return;
    if (typeof data === "string" || data.length > MAX_HANDSHAKE_BYTES) {
      return this.abort(MALFORMED, "a frame that is no handshake came before the handshake");
    }
    // The received bytes are valid only during the call.
    this.take(socket, new Uint8Array(data));
  }

  close(_socket: Socket, code: number, reason: string): void {
    if (this.#link) return this.#link.lost(code, reason);
    this.#settle({
      code: code === UNAUTHORIZED ? "unauthorized" : "unavailable",
      why: reason || `the connection was lost (${code}) during the handshake`,
      claimed: this.claimed,
    });
  }

  /** Ends a handshake in progress, and its socket without waiting for the other end. */
  drop(why: string): void {
    this.#settle({ code: "unavailable", why, claimed: this.claimed });
    if (this.#link || !this.#socket) return;
    if (this.#socket.cut) this.#socket.cut();
    else this.#socket.close(TRY_LATER, why);
  }

  /**
   * Ends a handshake in progress, because its time limit has passed or its incarnation has ended.
   */
  giveUp(closeCode: number, why: string): void {
    this.abort(closeCode, why);
  }

  /** Ends a handshake in progress; `address` is given if the address is the reason. */
  abort(closeCode: number, why: string, address?: string): void {
    this.#settle({
      code: closeCode === UNAUTHORIZED ? "unauthorized" : "unavailable",
      why,
      claimed: this.claimed,
      address,
    });
    if (!this.#link) this.#socket?.close(closeCode, why);
  }

  /** Ends a handshake because of a frame that can't be read or comes out of order. */
  protected refuse(frame: Uint8Array, what: string): void {
    const other = otherVersion(frame);
    if (other === null) this.abort(MALFORMED, `${what} is malformed or out of turn`);
    else this.abort(OTHER_VERSION, versionMismatch(other));
  }

  /** The socket is open. */
  protected abstract begin(socket: Socket): void;
  /** A frame of the handshake came. */
  protected abstract take(socket: Socket, frame: Uint8Array): void;

  protected prove(socket: Socket, peer: LinkIdentity): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer.cancel();
    this.#link = this.options.proven(socket, peer);
  }

  /** Signs the conversation, then sends `frame`, unless the handshake has ended by then. */
  protected signThen(
    socket: Socket,
    hello: Uint8Array,
    challenge: Uint8Array,
    frame: (signatures: Signatures) => Uint8Array,
  ): void {
    sign(this.options.keys, hello, challenge).then((signatures) => {
      if (this.#done) return;
      this.signatures = signatures;
      socket.send(frame(signatures));
    }, () => this.abort(FAILED, "the handshake could not be signed"));
  }

  #settle(failure: HandshakeFailure): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer.cancel();
    this.options.failed(failure);
  }
}

/** The end that dialled. */
export class DiallingSession extends Session {
  readonly #wanted: LinkIdentity;
  readonly #address: string;
  #hello: Uint8Array | null = null;

  /** @param address what is dialled, in normal form */
  constructor(options: SessionOptions, wanted: LinkIdentity, address: string) {
    super(options);
    this.#wanted = wanted;
    this.#address = address;
  }

  /** The acceptor may have the link already. This close code tells it that nothing was read. */
  override giveUp(_closeCode: number, why: string): void {
    this.abort(UNREAD, why);
  }

  override close(socket: Socket, code: number, reason: string): void {
    // An Atlas before atlas-link/2 can't say what is wrong with a hello.
    const isOld = code === MALFORMED && this.claimed === null;
    super.close(socket, code, isOld ? `${reason} (does it run an older Atlas?)` : reason);
  }

  protected begin(socket: Socket): void {
    this.#hello = encodeHello(this.options.self, this.#wanted, this.#address);
    socket.send(this.#hello);
  }

  protected take(socket: Socket, frame: Uint8Array): void {
    if (this.signatures) {
      const { claimed } = this;
      if (claimed && checkWelcome(frame, this.signatures)) this.prove(socket, claimed);
      else this.abort(UNAUTHORIZED, "the acceptor did not prove the secret");
      return;
    }
    const peer = decodeChallenge(frame);
    if (this.claimed || !this.#hello || !peer) {
      return this.refuse(frame, "the acceptor's challenge");
    }
    this.claimed = peer;
    if (!isWanted(this.#wanted, peer)) {
      return this.abort(OTHER_IDENTITY, "another node or incarnation answers there");
    }
    this.signThen(socket, this.#hello, frame, encodeProof);
  }
}

/**
 * Why a peer that dialled an address that is not this node's gets no link. Short, to fit a close
 * frame.
 */
const NOT_OWN =
  "the address dialled is not this node's own; if it leads here, name it in its ATLAS_ADDRESSES";

/** The end that was dialled. */
export class AcceptingSession extends Session {
  readonly #rules: AcceptingOptions;
  /** The address that the dialler claims to have dialled. */
  #address = "";

  constructor(options: AcceptingOptions) {
    super(options);
    this.#rules = options;
  }

  override close(socket: Socket, code: number, reason: string): void {
    try {
      super.close(socket, code, reason);
    } finally {
      this.#rules.closed();
    }
  }

  protected begin(): void {}

  protected take(socket: Socket, frame: Uint8Array): void {
    if (this.signatures && this.claimed) return this.#prove(socket, frame, this.claimed);
    const hello = this.claimed ? null : decodeHello(frame);
    if (!hello) return this.refuse(frame, "the dialler's hello");
    const { self, wanted, address } = hello;
    this.claimed = self;
    this.#address = address;
    if (!isWanted(wanted, this.options.self)) {
      return this.abort(OTHER_IDENTITY, "another node or incarnation is wanted");
    }
    const challenge = encodeChallenge(this.options.self);
    this.signThen(socket, frame, challenge, () => challenge);
  }

  #prove(socket: Socket, frame: Uint8Array, peer: LinkIdentity): void {
    const welcome = this.signatures && answerProof(frame, this.signatures);
    if (!welcome) return this.abort(UNAUTHORIZED, "the dialler did not prove the secret");
    // Done only after the proof, so that no unproven peer can cause a log line that recommends an
    // address.
    if (!this.#rules.isOwn(this.#address)) {
      return this.abort(OTHER_ADDRESS, NOT_OWN, this.#address);
    }
    const refusal = this.#rules.refusal(peer);
    if (refusal !== null) return this.abort(TRY_LATER, refusal);
    socket.send(welcome);
    this.prove(socket, peer);
  }
}
