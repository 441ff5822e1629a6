/**
 * All messages that processes of the market send each other, and their wire form.
 *
 * Within a node a message is passed on unchanged, and no process may change it. Between nodes it is
 * a tuple of its kind's number and its fields; a body, if it has one, follows undecoded.
 *
 * Source: `docs/design.md`, Modules; totals instead of increments: link credit of AMQP 1.0 §2.6.7
 * and QUIC (RFC 9000 §4.1).
 */
import { isRange, isVersion, type Module } from "../../api/module.ts";
import type { OrderView } from "../../api/modules.ts";
import { AtlasError, type WireError } from "../../errors.ts";
import { MAX_CAPACITY, MAX_EXPORTS, MAX_MODULES, MAX_ORDERS, MAX_PEERS } from "../../limits.ts";
import type { Body } from "../../model/body.ts";
import type { Peer } from "../../ports/transport.ts";
import type { Address } from "./address.ts";
import { type Order, orderShape } from "./order.ts";
import { bodyOf, type Payload } from "./payload.ts";
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

/** An exchange and its node. */
export interface ExchangeListing {
  readonly module: string;
  readonly exchange: Address;
  readonly contact: Peer;
}

/** A seller and its node. */
export interface Seller {
  readonly seller: Address;
  readonly contact: Peer;
}

/** What buyers know about the code that a seller runs. */
export interface CodeLabel {
  readonly version: string;
  readonly exports: readonly string[];
  readonly hash: string;
}

/** The fields of each message, by kind. */
export interface BusMessages {
  // Between message buses, and from a bus to its own processes.

  /** Starts or ends monitoring of the receiver's process. */
  watch: { readonly process: string };
  unwatch: { readonly process: string };
  /** A process that the receiver watches or wrote to does not exist. */
  monitor_down: { readonly process: string };
  /** A watched process or its node has ended or can't be reached. Never sent between nodes. */
  down: { readonly address: Address; readonly reason: string };

  // The mesh: authorities, brokers, bootstrap.

  /** Authority to authority: a greeting with all that the sender knows, and the reply. */
  syn: Topology;
  ack: Topology;
  /** Broker to authority: asks for authorities, and for exchanges of these modules. */
  join: { readonly contact: Peer; readonly modules: readonly string[] };
  /** Broker to authority: the sender trades in these modules, or no longer does. */
  interest: { readonly modules: readonly string[] };
  not_interested: { readonly modules: readonly string[] };
  /** Any node to a broker: asks which authorities it knows. */
  find_authorities: { readonly contact: Peer };
  /** Known authorities and exchanges; all or some of them. */
  topology: Topology;
  /** To the bootstrap of this node: search for authorities, soon or at once. */
  search: { readonly now: boolean };

  // Orders.

  /** Trader to broker to exchange: stands until cancelled, and replaces lower revisions. */
  order: { readonly order: Order };
  cancel: { readonly id: number };
  /** Exchange to broker to trader: this seller has capacity that the order asks for. */
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
   * Exchange to broker, or broker to trader: the book has no room for this order at this revision.
   * The order's sender sends it again later.
   */
  full: { readonly id: number; readonly revision: number };

  // A channel's opening.

  open: {
    readonly nonce: number;
    readonly want: number;
    /** Versions that the buyer accepts, now and after an upgrade. */
    readonly range: string | null;
    readonly contact: Peer;
  };
  accept: {
    readonly nonce: number;
    readonly channel: Address;
    readonly grant: number;
    readonly contact: Peer;
    readonly label: CodeLabel;
  };
  refuse: { readonly nonce: number; readonly free: number; readonly why: string };

  // On a channel.

  request: {
    /** The request's number on its channel, from 1. */
    readonly id: number;
    readonly name: string;
    readonly timeoutMs: number;
    /** The array of arguments. */
    readonly body: Payload;
  };
  /** The caller no longer waits for this request. */
  abandon: { readonly id: number };
  /** `allowed` is the total credit issued since the channel was opened. */
  reply: { readonly id: number; readonly allowed: number; readonly body: Payload };
  failure: { readonly id: number; readonly allowed: number; readonly error: WireError };
  credit: { readonly allowed: number };
  /** The buyer has sent `used` requests and has no credit left: asks for the total allowed. */
  probe: { readonly used: number };
  /** The buyer has sent `used` requests and sends no more. */
  drain: { readonly used: number };
  /**
   * The buyer keeps only `grant`. It has sent `used` requests and returned `returned` credit in
   * total since the channel was opened.
   */
  lower: { readonly used: number; readonly grant: number; readonly returned: number };
  /** The channel has accepted `used` requests and accepts no more. */
  closing: { readonly used: number };
  /** Requests after number `after` run on this code. */
  upgraded: { readonly label: CodeLabel; readonly after: number };

  // Within one node. Never sent between nodes.

  /** To traders: this node has a new incarnation, which their orders must name. */
  moved: { readonly reason: string };

  /** Listener to channel: its capacity, its new code; drain; stop at once. */
  resize: { readonly grant: number };
  upgrade: { readonly module: Module };
  close: { readonly reason: string };
  halt: { readonly reason: string };
  /** Channel to listener: it holds only `grant` from now on; it no longer uses this code. */
  shrunk: { readonly grant: number };
  code_unused: { readonly module: Module };

  /** To the bootstrap of this node: this authority answered, or is unreachable. */
  met: { readonly peer: Peer };
  lost: { readonly peer: Peer };

  // Introspection. The words of `what` are on the wire.

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
  listings: { readonly nonce: number; readonly exchanges: readonly ExchangeListing[] };
  book: {
    readonly nonce: number;
    readonly contact: Peer;
    readonly orders: readonly OrderView[];
    readonly sellers: readonly Seller[];
  };
  shop: {
    readonly nonce: number;
    readonly contact: Peer;
    readonly label: CodeLabel;
    readonly capacity: number;
    readonly granted: number;
    readonly running: number;
  };
}

export interface Topology {
  readonly contact: Peer;
  readonly authorities: readonly Peer[];
  readonly exchanges: readonly ExchangeListing[];
}

export type MessageKind = keyof BusMessages;
export type BusMessageOf<K extends MessageKind> = { readonly kind: K } & BusMessages[K];
export type BusMessage = { [K in MessageKind]: BusMessageOf<K> }[MessageKind];

const process = text(64);
/** The longest name of a module or function, in characters. */
const MAX_NAME = 128;
const name = text(MAX_NAME);
const quantity = whole(MAX_CAPACITY);
const version = text(256, isVersion);
const contact = peer;

const label: Shape<CodeLabel> = record<CodeLabel>({
  version,
  exports: list(name, MAX_EXPORTS),
  hash: text(64),
});

const listing: Shape<ExchangeListing> = record<ExchangeListing>({
  module: name,
  exchange: address,
  contact,
});

const seller: Shape<Seller> = record<Seller>({ seller: address, contact });

const topology: Fields<Topology> = {
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

/** The wire form of one kind of message. */
interface Form {
  readonly kind: MessageKind;
  readonly row: Row<object>;
  /** Whether a body follows the tuple. */
  readonly hasBody: boolean;
}

/** Messages between nodes, by their number on the wire: never change one, only append. */
const FORMS: readonly Form[] = [
  form("watch", { process }),
  form("unwatch", { process }),
  form("monitor_down", { process }),
  form("syn", topology),
  form("ack", topology),
  form("join", { contact, modules: names }),
  form("interest", { modules: names }),
  form("not_interested", { modules: names }),
  form("find_authorities", { contact }),
  form("topology", topology),
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

const NUMBERS: ReadonlyMap<MessageKind, number> = new Map(FORMS.map(({ kind }, at) => [kind, at]));
function form<K extends MessageKind>(
  kind: K,
  fields: Fields<Omit<BusMessages[K], "body">>,
  hasBody: boolean = false,
): Form {
  return { kind, row: new Row(fields) as unknown as Row<object>, hasBody };
}

/** The kinds of nearly all messages, which don't take the way over their row. */
const REQUEST = NUMBERS.get("request") as number;
const REPLY = NUMBERS.get("reply") as number;
const CREDIT = NUMBERS.get("credit") as number;

/** Encodes a message that leaves the node with incarnation `self`. */
export function writeMessage(
  message: BusMessage,
  self: string,
): { tuple: readonly unknown[]; body: Body } {
  switch (message.kind) {
    case "request": {
      const { id, name, timeoutMs, body } = message;
      return { tuple: [REQUEST, id, name, timeoutMs], body: bodyOf(body) };
    }
    case "reply":
      return { tuple: [REPLY, message.id, message.allowed], body: bodyOf(message.body) };
    case "credit":
      return { tuple: [CREDIT, message.allowed], body: "" };
  }
  const number = NUMBERS.get(message.kind) ?? -1;
  const found = FORMS[number];
  if (!found) {
    throw new AtlasError(
      "bad_request",
      `a message of kind ${message.kind} is never sent between nodes`,
    );
  }
  const tuple: unknown[] = [number];
  found.row.write(message, self, tuple);
  return { tuple, body: "" };
}

/** Decodes a message that arrived at the node `self`. @throws AtlasError `bad_request` */
export function readMessage(tuple: readonly unknown[], body: Payload, self: string): BusMessage {
  const number = tuple[0];
  // The fields of these kinds are checked here as by their rows; what is wrong with one, its row says.
  if (number === REPLY) {
    const id = tuple[1];
    const allowed = tuple[2];
    if (isWhole(id) && isWhole(allowed)) return { kind: "reply", id, allowed, body };
  } else if (number === REQUEST) {
    const id = tuple[1];
    const called = tuple[2];
    const timeoutMs = tuple[3];
    if (isWhole(id) && isName(called) && isWhole(timeoutMs)) {
      return { kind: "request", id, name: called, timeoutMs, body };
    }
  } else if (number === CREDIT) {
    const allowed = tuple[1];
    if (isWhole(allowed)) return { kind: "credit", allowed };
  }
  const found = typeof number === "number" ? FORMS[number] : undefined;
  if (!found) throw new AtlasError("bad_request", "a message has an unknown kind");
  const message: { kind: MessageKind; body?: Payload } = { kind: found.kind };
  found.row.read(tuple, 1, self, message);
  if (found.hasBody) message.body = body;
  return message as BusMessage;
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_NAME;
}

const NO_CONTACTS: readonly Peer[] = [];

/** The contacts in a message, to be remembered for dialling. */
export function contactsIn(message: BusMessage): readonly Peer[] {
  switch (message.kind) {
    case "request":
    case "reply":
    case "credit":
      return NO_CONTACTS;
    case "syn":
    case "ack":
    case "topology":
      return [
        message.contact,
        ...message.authorities,
        ...message.exchanges.map((listing) => listing.contact),
      ];
    case "order":
      return [message.order.contact];
    case "mesh":
      return [message.contact, ...message.authorities];
    case "listings":
      return message.exchanges.map((listing) => listing.contact);
    case "book":
      return [message.contact, ...message.sellers.map((seller) => seller.contact)];
    default:
      return "contact" in message ? [message.contact] : [];
  }
}
