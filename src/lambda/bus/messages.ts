/**
 * All messages ("letters") that parts of the market send each other: one form each, with a number.
 *
 * A letter within a node is passed on as it is, and nobody may change it. Between nodes
 * it is a tuple of its form's number and its fields; its body, if it has one, travels
 * behind it, unlooked at.
 *
 * Source: design §5; `link` credit of AMQP 1.0 §2.6.7, and QUIC (RFC 9000 §4.1), for
 * totals instead of increments.
 */
import { AtlasError, type WireError } from "../../errors.ts";
import { MAX_CAPACITY, MAX_EXPORTS, MAX_MODULES, MAX_ORDERS, MAX_PEERS } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";
import type { Address } from "./address.ts";
import type { OrderView } from "../../api/modules.ts";
import { bytesOf, type Payload } from "./payload.ts";
import { isRange, isVersion, type Module } from "../../api/module.ts";
import { type Order, orderShape } from "./order.ts";
import {
  address,
  type Fields,
  list,
  maybe,
  oneOf,
  peer,
  record,
  Row,
  type Shape,
  text,
  whole,
  wireError,
} from "./wire_shapes.ts";

/** An exchange, and the node that it is on. */
export interface Listing {
  readonly module: string;
  readonly exchange: Address;
  readonly contact: Peer;
}

/** A seller, and the node that it is on. */
export interface Seller {
  readonly seller: Address;
  readonly contact: Peer;
}

/** What buyers are told of code. */
export interface Label {
  readonly version: string;
  readonly exports: readonly string[];
  readonly hash: string;
}

/** The fields of each letter, by its kind. */
export interface BusMessages {
  // Between post offices, and what they tell their own parts.

  /** Tell me when this part of yours is gone; or no more. */
  watch: { readonly part: string };
  unwatch: { readonly part: string };
  /** A part that you watch or wrote to is not there. */
  gone: { readonly part: string };
  /** A part that was watched is gone, or its node is. Never sent between nodes. */
  down: { readonly address: Address; readonly reason: string };

  // The mesh: authorities, brokers, bootstrap.

  /** Authority to authority: here I am, and this is all I know. */
  syn: Knowledge;
  ack: Knowledge;
  /** Broker to authority: tell me of authorities, and of exchanges of these modules. */
  join: { readonly contact: Peer; readonly modules: readonly string[] };
  /** Broker to authority: I trade in these modules, or no longer do. */
  interest: { readonly modules: readonly string[] };
  bored: { readonly modules: readonly string[] };
  /** Any node to a broker: which authorities do you know? */
  seek: { readonly contact: Peer };
  /** What is known of authorities and exchanges; some of it, or all. */
  news: Knowledge;
  /** To the bootstrap of this node: authorities are wanted soon. */
  search: { readonly now: boolean };

  // Orders.

  /** Trader to broker to exchange: stands until cancelled; replaces lower revisions. */
  order: { readonly order: Order };
  cancel: { readonly id: number };
  /** Exchange to broker to trader: this seller has some of what your order asks for. */
  match: {
    readonly id: number;
    readonly revision: number;
    readonly seller: Address;
    /** The id of the seller's order. */
    readonly offer: number;
    readonly contact: Peer;
    readonly quantity: number;
    readonly version: string;
  };
  /**
   * Exchange to broker, or broker to trader: there is no room for this order at this revision;
   * it is to be sent again later.
   */
  full: { readonly id: number; readonly revision: number };

  // A channel's opening.

  open: {
    readonly nonce: number;
    readonly want: number;
    /** Versions that the buyer takes; also of code that is loaded later. */
    readonly range: string | null;
    readonly contact: Peer;
  };
  accept: {
    readonly nonce: number;
    readonly channel: Address;
    readonly grant: number;
    readonly contact: Peer;
    readonly label: Label;
  };
  refuse: { readonly nonce: number; readonly free: number; readonly why: string };

  // On a channel.

  request: {
    /** 1 for the channel's first request, and one more for each. */
    readonly id: number;
    readonly name: string;
    readonly timeoutMs: number;
    /** The array of arguments. */
    readonly body: Payload;
  };
  /** Nobody waits for this request's answer any more. */
  abandon: { readonly id: number };
  /** `allowed` is all the credit given since the channel was opened. */
  reply: { readonly id: number; readonly allowed: number; readonly body: Payload };
  failure: { readonly id: number; readonly allowed: number; readonly error: WireError };
  credit: { readonly allowed: number };
  /** I have sent so many requests and have no credit left: how much is allowed? */
  probe: { readonly used: number };
  /** I have sent so many requests, and send no more. */
  drain: { readonly used: number };
  /**
   * I want no more than `grant`, and give back `returned` of all credit since the channel was
   * opened; so many requests I have sent.
   */
  lower: { readonly used: number; readonly grant: number; readonly returned: number };
  /** I took so many requests, and take no more. */
  closing: { readonly used: number };
  /** Requests after number `after` run on this code. */
  upgraded: { readonly label: Label; readonly after: number };

  // Within one node. Never sent between nodes.

  /** To traders: this node has another incarnation, which their orders must name. */
  moved: { readonly reason: string };

  /** Listener to channel: this is your capacity; this is the present code; end. */
  resize: { readonly grant: number };
  upgrade: { readonly module: Module };
  shut: { readonly reason: string };
  halt: { readonly reason: string };
  /** Channel to listener: it needs no more than this; nothing of it runs on this code any more. */
  shrunk: { readonly grant: number };
  shed: { readonly module: Module };

  /** To the bootstrap of this node: this authority answered, or can't be reached any more. */
  met: { readonly peer: Peer };
  lost: { readonly peer: Peer };

  // Questions of those who look on.

  ask: {
    readonly nonce: number;
    readonly what: "mesh" | "listings" | "book" | "shop";
    readonly module: string;
  };
  mesh: {
    readonly nonce: number;
    readonly contact: Peer;
    readonly authorities: readonly Peer[];
    readonly brokers: number;
    readonly modules: readonly string[];
  };
  listings: { readonly nonce: number; readonly exchanges: readonly Listing[] };
  book: {
    readonly nonce: number;
    readonly contact: Peer;
    readonly orders: readonly OrderView[];
    readonly sellers: readonly Seller[];
  };
  shop: {
    readonly nonce: number;
    readonly contact: Peer;
    readonly label: Label;
    readonly capacity: number;
    readonly granted: number;
    readonly running: number;
  };
}

export interface Knowledge {
  readonly contact: Peer;
  readonly authorities: readonly Peer[];
  readonly exchanges: readonly Listing[];
}

export type Kind = keyof BusMessages;
export type BusMessageOf<K extends Kind> = { readonly kind: K } & BusMessages[K];
export type BusMessage = { [K in Kind]: BusMessageOf<K> }[Kind];

const part = text(64);
const name = text(128);
const quantity = whole(MAX_CAPACITY);
const version = text(256, isVersion);
const contact = peer;

const label: Shape<Label> = record<Label>({
  version,
  exports: list(name, MAX_EXPORTS),
  hash: text(64),
});

const listing: Shape<Listing> = record<Listing>({ module: name, exchange: address, contact });

const seller: Shape<Seller> = record<Seller>({ seller: address, contact });

const knowledge: Fields<Knowledge> = {
  contact,
  authorities: list(peer, MAX_PEERS),
  exchanges: list(listing, MAX_MODULES),
};

const orderView: Shape<OrderView> = record<OrderView>({
  side: oneOf("buy", "sell"),
  region: text(),
  node: text(),
  incarnation: text(),
  id: whole(),
  revision: whole(),
  quantity,
  held: whole(),
  version: maybe(text()),
});

const nonce = whole();
const names = list(name, MAX_MODULES);

/** How letters of one kind travel. */
interface Form {
  readonly kind: Kind;
  readonly row: Row<object>;
  /** Whether there is a body behind the tuple. */
  readonly hasBody: boolean;
}

/** Letters that travel, by their number on the wire: never change one, only add. */
const FORMS: readonly Form[] = [
  form("watch", { part }),
  form("unwatch", { part }),
  form("gone", { part }),
  form("syn", knowledge),
  form("ack", knowledge),
  form("join", { contact, modules: names }),
  form("interest", { modules: names }),
  form("bored", { modules: names }),
  form("seek", { contact }),
  form("news", knowledge),
  form("order", { order: orderShape }),
  form("cancel", { id: whole() }),
  form("match", {
    id: whole(),
    revision: whole(),
    seller: address,
    offer: whole(),
    contact,
    quantity,
    version,
  }),
  form("open", { nonce, want: quantity, range: maybe(text(256, isRange)), contact }),
  form("accept", { nonce, channel: address, grant: quantity, contact, label }),
  form("refuse", { nonce, free: quantity, why: text(1_024) }),
  form("request", { id: whole(), name, timeoutMs: whole() }, true),
  form("abandon", { id: whole() }),
  form("reply", { id: whole(), allowed: whole() }, true),
  form("failure", { id: whole(), allowed: whole(), error: wireError }),
  form("credit", { allowed: whole() }),
  form("probe", { used: whole() }),
  form("drain", { used: whole() }),
  form("closing", { used: whole() }),
  form("upgraded", { label, after: whole() }),
  form("ask", { nonce, what: oneOf("mesh", "listings", "book", "shop"), module: name }),
  form("mesh", {
    nonce,
    contact,
    authorities: list(peer, MAX_PEERS),
    brokers: whole(),
    modules: names,
  }),
  form("listings", { nonce, exchanges: list(listing, MAX_MODULES) }),
  form("book", {
    nonce,
    contact,
    orders: list(orderView, MAX_ORDERS),
    sellers: list(seller, MAX_ORDERS),
  }),
  form("shop", { nonce, contact, label, capacity: quantity, granted: quantity, running: whole() }),
  form("full", { id: whole(), revision: whole() }),
  form("lower", { used: whole(), grant: quantity, returned: whole() }),
];

const NUMBERS: ReadonlyMap<Kind, number> = new Map(FORMS.map(({ kind }, at) => [kind, at]));
const NO_BODY: Uint8Array = new Uint8Array(0);

function form<K extends Kind>(
  kind: K,
  fields: Fields<Omit<BusMessages[K], "body">>,
  hasBody: boolean = false,
): Form {
  return { kind, row: new Row(fields) as unknown as Row<object>, hasBody };
}

/** A letter as it leaves the node whose incarnation is `self`. */
export function writeMessage(
  letter: BusMessage,
  self: string,
): { letter: readonly unknown[]; body: Uint8Array } {
  const number = NUMBERS.get(letter.kind) ?? -1;
  const found = FORMS[number];
  if (!found) throw new AtlasError("bad_request", `a letter of kind ${letter.kind} never travels`);
  const tuple: unknown[] = [number];
  found.row.write(letter, self, tuple);
  return { letter: tuple, body: "body" in letter ? bytesOf(letter.body) : NO_BODY };
}

/** A letter that came to the node `self`. @throws AtlasError `bad_request` */
export function readMessage(tuple: readonly unknown[], body: Payload, self: string): BusMessage {
  const [number] = tuple;
  const found = typeof number === "number" ? FORMS[number] : undefined;
  if (!found) throw new AtlasError("bad_request", "a letter is of no known kind");
  const letter: { kind: Kind; body?: Payload } = { kind: found.kind };
  found.row.read(tuple, 1, self, letter);
  if (found.hasBody) letter.body = body;
  return letter as BusMessage;
}

/** The nodes that a letter tells of, to be remembered for when one of them is dialled. */
export function contactsIn(letter: BusMessage): readonly Peer[] {
  switch (letter.kind) {
    case "syn":
    case "ack":
    case "news":
      return [
        letter.contact,
        ...letter.authorities,
        ...letter.exchanges.map((listing) => listing.contact),
      ];
    case "order":
      return [letter.order.contact];
    case "mesh":
      return [letter.contact, ...letter.authorities];
    case "listings":
      return letter.exchanges.map((listing) => listing.contact);
    case "book":
      return [letter.contact, ...letter.sellers.map((seller) => seller.contact)];
    default:
      return "contact" in letter ? [letter.contact] : [];
  }
}
