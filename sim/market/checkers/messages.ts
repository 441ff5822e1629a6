/**
 * Rules on the processes of a market and the messages between them:
 *
 * - `mesh`: workers don't mesh.
 * - `processes`: no process fails.
 * - `rest`: processes don't exchange messages endlessly.
 * - `messages`: messages stay within orders, grants and credit.
 */
import { accepts } from "../../../src/api/module.ts";
import type { BusMessageOf, MessageKind } from "../../../src/lambda/bus/messages.ts";
import type { Order } from "../../../src/lambda/bus/order.ts";
import type { Report } from "../../checkers/checker.ts";
import type { SentMessage } from "../message_faults.ts";
import type { MarketChecker } from "../history.ts";

/** Messages that only authorities, exchanges and their brokers send each other. */
const OF_THE_MESH: readonly MessageKind[] = [
  "syn",
  "ack",
  "join",
  "interest",
  "not_interested",
  "order",
  "cancel",
  "match",
];

/**
 * Rule: workers don't mesh. Messages between workers are only about channels or about finding an
 * authority.
 */
export const mesh: MarketChecker = {
  name: "mesh",
  watch({ plan, world }, report) {
    const isWorker = (process: string | undefined): boolean => {
      const index = Number(/^node-(\d+)#/.exec(process ?? "")?.[1]);
      return plan.market.roles[index] === "worker";
    };
    return {
      messageSent({ process, to, message: { kind } }) {
        if (!OF_THE_MESH.includes(kind) || !isWorker(process)) return;
        const [incarnation = ""] = to.split("/");
        const other = world().network.lives.get(incarnation);
        if (isWorker(other)) report(`worker ${process} sends ${kind} to worker ${other}`);
      },
    };
  },
};

/** Rule: no process of a market throws: a restart would hide the fault. */
export const processes: MarketChecker = {
  name: "processes",
  watch(_context, report) {
    return {
      eventLogged(life, { event, fields: { process, reason } }) {
        // A mutant makes processes throw, to check that they are restarted.
        if (event !== "process failed" || reason === "thrown on purpose") return;
        report(`${process} at ${life} failed: ${reason}`);
      },
    };
  },
};

/** More events and messages than any ms needs. */
const MAX_EVENTS = 5_000;
const MAX_MESSAGES = 20_000;

/** Rule: processes don't exchange messages endlessly at one instant of virtual time. */
export const rest: MarketChecker = {
  name: "rest",
  watch({ world }, report) {
    let ms = 0;
    let events = 0;
    let count = 0;
    return {
      messageSent(sent) {
        if (++count === MAX_MESSAGES) report(`${count} messages in 1 ms, by ${sent.process}`);
      },
      stepped(at) {
        if (Math.floor(at) !== ms) {
          ms = Math.floor(at);
          events = count = 0;
        } else if (++events === MAX_EVENTS) {
          const busy = [...world().nodes()].map(({ process }) => process)
            .sort((one, other) => other.runs - one.runs);
          report(`${events} events in 1 ms, most of them at ${busy[0]?.id}`);
        }
      },
    };
  },
};

/** One channel, as its messages show it. */
interface Counter {
  allowed: number;
  returned: number;
  sent: number;
  readonly answered: Set<number>;
}

/** The matches that a buyer received for one of its orders. */
interface BuyOrderMatches {
  /** The order's revision; by seller, the quantity that each exchange matched for it. */
  revision: number;
  found: Map<string, Map<string, number>>;
  /** By seller, the quantity that may have been requested at earlier revisions. */
  readonly earlier: Map<string, number>;
}

/**
 * Rule: messages stay within orders, grants and credit. No exchange matches more than an order asks
 * for, no buyer orders more of a seller than any one exchange found there, no seller grants more
 * than it was asked for, no request exceeds its credit, and none is answered twice.
 *
 * Sees messages between nodes only, not those within a node.
 */
export const messages: MarketChecker = {
  name: "messages",
  watch({ plan }, report) {
    const checker = new MessageChecker(report);
    const workers = new Set(
      plan.market.roles.flatMap((role, index) => role === "worker" ? [`node-${index}`] : []),
    );
    return {
      messageSent: (sent) => checker.read(sent, workers.has(sent.process.split("#")[0] ?? "")),
    };
  },
};

class MessageChecker {
  readonly #report: Report;
  readonly #channels = new Map<string, Counter>();
  /** By exchange, broker, id and revision. */
  readonly #orders = new Map<string, { readonly order: Order; matched: number }>();
  /** By buyer, and by id of its order. */
  readonly #shopping = new Map<string, Map<number, BuyOrderMatches>>();
  /** The quantity that each buyer asked of each seller. */
  readonly #asked = new Map<string, number>();
  /** The requested quantity, by buyer and nonce. */
  readonly #openings = new Map<string, number>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** @param isAllHeard whether the sender's node has no exchange of its own. */
  read({ from, to, message }: SentMessage, isAllHeard: boolean): void {
    switch (message.kind) {
      case "order":
        return this.#ordered(message, from, to);
      case "match":
        return this.#matched(message, from, to);
      case "open":
        return this.#opened(message, from, to, isAllHeard);
      case "accept":
        return this.#accepted(message, to);
      case "request":
        return this.#requested(message, to);
      case "lower":
        return this.#lowered(to, message.returned);
      case "reply":
      case "failure":
        this.#answered(from, message.id);
        return this.#allowed(from, message.allowed);
      case "credit":
        return this.#allowed(from, message.allowed);
    }
  }

  #ordered({ order }: BusMessageOf<"order">, broker: string, exchange: string): void {
    const { id, revision, trader, side } = order;
    this.#orders.set(`${exchange} ${broker} ${id} ${revision}`, { order, matched: 0 });
    if (side === "sell") return;
    const orders = this.#shopping.get(trader) ?? new Map<number, BuyOrderMatches>();
    this.#shopping.set(trader, orders);
    const shopping = orders.get(id) ?? { revision, found: new Map(), earlier: new Map() };
    orders.set(id, shopping);
    if (shopping.revision >= revision) return;
    // Requests of that revision may still wait for a link.
    for (const seller of shopping.found.keys()) {
      shopping.earlier.set(seller, foundOf(shopping, seller));
    }
    shopping.revision = revision;
    shopping.found = new Map();
  }

  #matched(message: BusMessageOf<"match">, exchange: string, broker: string): void {
    const { id, revision, quantity, seller, version } = message;
    const known = this.#orders.get(`${exchange} ${broker} ${id} ${revision}`);
    if (!known) {
      return this.#report(
        `${exchange} matches order ${id}, revision ${revision}, of ${broker}, which it never got`,
      );
    }
    known.matched += quantity;
    const { order } = known;
    // A reservation that was not used may be matched again after a while, not at once.
    const better = Math.max(order.nearby, order.newer);
    if (quantity > order.quantity + better) {
      this.#report(
        `${exchange} found ${quantity} for an order of ${order.quantity} and ${better} better`,
      );
    }
    if (!accepts(order.range, version)) {
      this.#report(`${exchange} found ${version} for an order of ${order.range ?? "the newest"}`);
    }
    const shopping = this.#shopping.get(order.trader)?.get(id);
    if (shopping?.revision !== revision) return;
    const found = shopping.found.get(seller) ?? new Map<string, number>();
    shopping.found.set(seller, found.set(exchange, (found.get(exchange) ?? 0) + quantity));
  }

  #opened(message: BusMessageOf<"open">, buyer: string, seller: string, isAllHeard: boolean): void {
    const { nonce, want } = message;
    this.#openings.set(`${buyer} ${nonce}`, want);
    const orders = this.#shopping.get(buyer);
    if (!orders || !isAllHeard) return;
    const opened = (this.#asked.get(`${buyer} ${seller}`) ?? 0) + want;
    this.#asked.set(`${buyer} ${seller}`, opened);
    const found = [...orders.values()].reduce((sum, it) => sum + foundOf(it, seller), 0);
    if (opened > found) {
      this.#report(
        `${buyer} asks ${seller} for ${opened}, where no exchange found more than ${found}`,
      );
    }
  }

  #accepted({ nonce, grant }: BusMessageOf<"accept">, buyer: string): void {
    const want = this.#openings.get(`${buyer} ${nonce}`);
    if (want === undefined) this.#report(`${buyer} is granted ${grant}, and never asked`);
    else if (grant > want) this.#report(`${buyer} asked for ${want}, and is granted ${grant}`);
  }

  #requested({ id }: BusMessageOf<"request">, channel: string): void {
    const counter = this.#counter(channel);
    const allowed = counter.allowed - counter.returned;
    if (id > allowed) {
      this.#report(`request ${id} goes to ${channel}, which allows ${allowed}`);
    }
    if (id !== counter.sent + 1) {
      this.#report(`request ${id} goes to ${channel} after request ${counter.sent}`);
    }
    counter.sent = id;
  }

  /** A buyer returned credit, which it can't use any more. */
  #lowered(channel: string, returned: number): void {
    const counter = this.#counter(channel);
    counter.returned = Math.max(counter.returned, returned);
    if (counter.sent + counter.returned > counter.allowed) {
      this.#report(`${counter.returned} credits of ${channel} are given back that aren't there`);
    }
  }

  #allowed(channel: string, allowed: number): void {
    const counter = this.#counter(channel);
    counter.allowed = Math.max(counter.allowed, allowed);
  }

  #answered(channel: string, id: number): void {
    const counter = this.#counter(channel);
    if (id > counter.sent) this.#report(`${channel} answers request ${id} of ${counter.sent}`);
    if (counter.answered.has(id)) this.#report(`${channel} answers request ${id} twice`);
    counter.answered.add(id);
  }

  #counter(channel: string): Counter {
    let counter = this.#channels.get(channel);
    if (!counter) {
      counter = { allowed: 0, returned: 0, sent: 0, answered: new Set() };
      this.#channels.set(channel, counter);
    }
    return counter;
  }
}

/** The quantity that a buyer may have asked of a seller by now. */
function foundOf({ found, earlier }: BuyOrderMatches, seller: string): number {
  return (earlier.get(seller) ?? 0) + Math.max(0, ...found.get(seller)?.values() ?? []);
}
