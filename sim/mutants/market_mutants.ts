/**
 * Mutants of the market of modules: wrong credit counts, capacity sold twice or never returned,
 * lost orders. Some are max-au's lambda as published. Source: docs/design.md, Modules.
 */
import type { Mutant } from "./mutant.ts";

const AUTHORITY = "src/lambda/exchange/authority.ts";
const BROKER = "src/lambda/exchange/broker.ts";
const CHANNEL = "src/lambda/sell/channel.ts";
const EXCHANGE = "src/lambda/exchange/exchange.ts";
const LISTENER = "src/lambda/sell/listener.ts";
const PLB = "src/lambda/buy/plb.ts";

/** Mistakes of sellers and buyers. */
const TRADERS: readonly Omit<Mutant, "world">[] = [
  {
    name: "credit_increments",
    about: "A channel sends credit increments, which its buyer adds up, so that a lost or " +
      "duplicated message changes the sum.",
    edits: [
      {
        file: CHANNEL,
        find: "  #sendToBuyer(message: BusMessage): void {",
        replace: `  #told = 0;

  #fresh(): number {
    const more = Math.max(0, this.#record.issued - this.#told);
    this.#told += more;
    return more;
  }

  #sendToBuyer(message: BusMessage): void {`,
      },
      {
        file: CHANNEL,
        find: `        this.#catchUp(message.used);
        this.#issue(false);
        return this.#sendToBuyer({ kind: "credit", allowed: this.#record.issued });`,
        replace: `        this.#catchUp(message.used);
        this.#issue(false);
        return this.#sendToBuyer({ kind: "credit", allowed: this.#fresh() });`,
      },
      {
        file: CHANNEL,
        find: `message.grant);
        this.#issue(true);
        return this.#sendToBuyer({ kind: "credit", allowed: this.#record.issued });`,
        replace: `message.grant);
        this.#issue(true);
        return this.#sendToBuyer({ kind: "credit", allowed: this.#fresh() });`,
      },
      {
        file: CHANNEL,
        find: `      this.#issue(true);
      this.#sendToBuyer({ kind: "credit", allowed: this.#record.issued });`,
        replace: `      this.#issue(true);
      this.#sendToBuyer({ kind: "credit", allowed: this.#fresh() });`,
      },
      {
        file: CHANNEL,
        find: `{ kind: "reply", id, allowed: this.#record.issued, body }`,
        replace: `{ kind: "reply", id, allowed: this.#fresh(), body }`,
      },
      {
        file: CHANNEL,
        find: `kind: "failure",
      id,
      allowed: this.#record.issued,`,
        replace: `kind: "failure",
      id,
      allowed: this.#fresh(),`,
      },
      {
        file: "src/lambda/buy/channel_pool.ts",
        find: `    if (view.isDraining || allowed <= view.allowed) return;
    this.#tokens += allowed - view.allowed;
    view.allowed = allowed;`,
        replace: `    if (view.isDraining) return;
    this.#tokens += allowed;
    view.allowed += allowed;`,
      },
      // Checkers decode messages in the changed form, so that the form alone isn't reported.
      {
        file: "sim/market/checkers/messages.ts",
        find: "counter.allowed = Math.max(counter.allowed, allowed);",
        replace: "counter.allowed += allowed;",
      },
    ],
  },
  {
    name: "grant_as_asked",
    about: "A listener with any free capacity grants as much as was asked for.",
    edits: [
      {
        file: LISTENER,
        find: "const grant = Math.min(want, free);",
        replace: "const grant = free < 1 ? 0 : want;",
      },
      {
        file: "src/lambda/sell/offers.ts",
        find: `    const held: ChannelGrant = new Map();
    let left = quantity;
    for (const offer of this.#for(region)) {
      const part = Math.min(left, offer.free);`,
        replace: `    const held: ChannelGrant = new Map();
    let left = quantity;
    for (const offer of this.#for(region)) {
      const part = left;`,
      },
    ],
  },
  {
    name: "no_rebuy",
    about: "A buyer that loses a seller does not buy again.",
    edits: [{
      file: PLB,
      find: `    this.#updateExports();
    this.#orders.update();
    this.#stopIfDone();`,
      replace: `    this.#updateExports();
    this.#stopIfDone();`,
    }],
  },
  {
    name: "old_code_dropped_early",
    about: "A channel whose buyer accepts newer code drops the old at once, whatever runs on it.",
    edits: [{
      file: CHANNEL,
      find: "    if (!this.#record.codes.has(former)) this.#reportUnused(former);",
      replace: `    this.#record.codes.delete(former);
    this.#reportUnused(former);`,
    }],
  },
  {
    name: "given_up_call_spends",
    about: "A call that was aborted while it waited still gets a credit, and is sent.",
    edits: [{
      file: PLB,
      find: `    this.#waiting.remove(call);
    const bought =`,
      replace: "    const bought =",
    }],
  },
  {
    name: "dead_buyer_keeps_capacity",
    about: "A channel whose buyer is gone keeps its capacity.",
    edits: [{
      file: CHANNEL,
      find: `    this.#abortRuns(new AtlasError("unavailable", "the caller's node is gone"));
    this.#drain();`,
      replace: `    this.#abortRuns(new AtlasError("unavailable", "the caller's node is gone"));`,
    }],
  },
  {
    name: "failures_cost_credit",
    about: "The credit of a call is not returned where its function throws.",
    edits: [
      {
        file: CHANNEL,
        find: `this.#reportUnused(run.module);
    this.#issue(false);`,
        replace: `this.#reportUnused(run.module);
    if ("error" in outcome) this.#failed++;
    this.#issue(false);`,
      },
      {
        file: CHANNEL,
        find: "const added = this.#target - this.#running.size - outstanding;",
        replace: "const added = this.#target - this.#running.size - outstanding - this.#failed;",
      },
      { file: CHANNEL, find: "  #returned = 0;", replace: "  #returned = 0;\n  #failed = 0;" },
    ],
  },
  {
    name: "lost_call_said_unrun",
    about: "A call whose seller dies is reported as not executed.",
    edits: [{
      file: PLB,
      find: `call.reject(new AtlasError("unavailable", message, { maybeExecuted: true }));`,
      replace: `call.reject(new AtlasError("unavailable", message));`,
    }],
  },
  {
    name: "order_not_lowered",
    about: "A listener offers all its capacity, including what it has granted.",
    edits: [{
      file: LISTENER,
      find: "const quantity = offer.free;",
      replace: "const quantity = offer.capacity;",
    }],
  },
  {
    name: "swap_before_buying",
    about: "A buyer that learns of new code drains its channels first, and then buys again.",
    edits: [{
      file: PLB,
      find: "    this.#pool.relabel(view, label, after);",
      replace: `    this.#pool.relabel(view, label, after);
    this.#drain(view);`,
    }],
  },
  {
    name: "runs_beyond_credit",
    about: "A request beyond its channel's credit is run.",
    edits: [{
      file: CHANNEL,
      find: "    if (id > issued - revoked) {",
      replace: "    if (id < 1) {",
    }],
  },
];

/** Mistakes of brokers, exchanges and authorities. */
const AGENTS: readonly Omit<Mutant, "world">[] = [
  {
    name: "order_not_resent",
    about: "A broker sends standing orders only to the first exchange that it knows.",
    edits: [{
      file: BROKER,
      find: "if (order.module === module) this.context.send(exchange",
      replace: "if (order.module === module && known.size === 1) this.context.send(exchange",
    }],
  },
  {
    name: "match_counted_twice",
    about: "A seller that two exchanges match counts twice: the broker passes both matches on, " +
      "and neither compares the revision of the order.",
    edits: [
      {
        file: BROKER,
        find: "const before = entry.passed.get(offer) ?? 0;",
        replace: "const before = 0;",
      },
      {
        file: BROKER,
        find: "if (!entry || match.revision !== entry.order.revision) return;",
        replace: "if (!entry) return;",
      },
      {
        file: "src/lambda/buy/order_keeper.ts",
        find: "if (this.#isClosed || revision !== this.#order?.revision) return;",
        replace: "if (this.#isClosed || !this.#order || revision > this.#order.revision) return;",
      },
    ],
  },
  {
    name: "lost_broker_orders_stay",
    about: "An exchange keeps the orders of a broker that has ended.",
    edits: [{
      file: EXCHANGE,
      find: "for (const key of [...this.#byBroker.get(address) ?? []]) this.#drop(key);",
      replace: "this.#byBroker.delete(address);",
    }],
  },
  {
    name: "exchange_not_reopened",
    about: "The remaining authorities open no exchange in place of a lost one.",
    edits: [
      {
        file: AUTHORITY,
        find: `      if (this.#own.get(module) === address) this.#own.delete(module);
      this.#adjust(module);`,
        replace: "      if (this.#own.get(module) === address) this.#own.delete(module);",
      },
      {
        file: AUTHORITY,
        find: `{ kind: "search", now: false });
      this.#adjustAll();`,
        replace: `{ kind: "search", now: false });`,
      },
    ],
  },
];

/** Mistakes about versions, orders, credit and authorities that are out of reach. */
const RULES: readonly Omit<Mutant, "world">[] = [
  {
    name: "canary_shuts_out",
    about:
      "An order without a version matches the newest stable code only, even when it is sold out.",
    edits: [
      {
        file: "src/lambda/exchange/matching.ts",
        find: "const open = [...sells.values()].filter((sell) => room(sell) > 0);",
        replace: "const open = [...sells.values()];",
      },
      {
        file: "src/lambda/exchange/matching.ts",
        find: "return range === null ? groups : [groups.flat()];",
        replace: "return range === null ? groups.slice(0, 1) : [groups.flat()];",
      },
    ],
  },
  {
    name: "stuck_on_old",
    about: "A buyer without a version keeps the code that it bought first, though newer is free.",
    edits: [{
      file: "src/lambda/buy/allocation.ts",
      find: "newer: Math.max(0, grantOf(old) - surplus),",
      replace: "newer: 0,",
    }],
  },
  {
    name: "seed_forgotten",
    about: "Known authorities are forgotten when they can't be reached.",
    edits: [{
      file: "src/lambda/exchange/bootstrap.ts",
      find: "return due.map(([address]) => address);",
      replace: "return [];",
    }],
  },
  {
    name: "list_awaited_for_ever",
    about: "A list of authorities that never arrives is not requested again.",
    edits: [{
      file: "src/lambda/exchange/bootstrap.ts",
      find: "const late = this.context.after(BOOTSTRAP_MS, () => {",
      replace: "const late = this.context.after(1e9, () => {",
    }],
  },
  {
    name: "watermark_withholds",
    about: "Credit above the low watermark is withheld until more is spent.",
    edits: [{
      file: CHANNEL,
      find: "outstanding > lowWatermark * this.#target) return this.#issueLater();",
      replace: "outstanding > lowWatermark * this.#target) return;",
    }],
  },
  {
    name: "second_order_forgotten",
    about: "Of several orders of a buyer only the first is updated with its holdings.",
    edits: [{
      file: "src/lambda/buy/order_keepers.ts",
      find: "for (const order of this.#orders) order.update(force);",
      replace: "this.#orders[0]?.update(force);",
    }],
  },
  {
    name: "lowered_credit_spent",
    about: "A buyer that returns capacity still spends the credit for it.",
    edits: [{
      file: "src/lambda/buy/channel_pool.ts",
      find: `    view.returned += back;
    this.#tokens -= back;`,
      replace: "    view.returned += 0 * back;",
    }],
  },
  {
    name: "process_not_restarted",
    about: "A process that threw is not restarted. (Each broker throws at its 25th message.)",
    edits: [
      {
        file: BROKER,
        find: "  receive(message: BusMessage, from: Address): void {",
        replace: `  #read = 0;

  receive(message: BusMessage, from: Address): void {
    if (++this.#read === 25) throw new Error("thrown on purpose");`,
      },
      {
        file: "src/lambda/bus/message_bus.ts",
        find: "this.#restarts.failed(address, this.#parts.clock, start);",
        replace: "void start;",
      },
    ],
  },
];

export const MARKET_MUTANTS: readonly Mutant[] = [...TRADERS, ...AGENTS, ...RULES]
  .map((mutant) => ({ ...mutant, world: "market" }));
