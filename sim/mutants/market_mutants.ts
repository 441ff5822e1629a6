/**
 * Mistakes in the market of modules: credit counted wrongly, capacity sold twice or never
 * given back, orders that somebody forgets.
 *
 * Source: design §5; some of them are max-au's lambda as it was published.
 */
import type { Mutant } from "./mutant.ts";

const AUTHORITY = "src/lambda/authority.ts";
const BROKER = "src/lambda/broker.ts";
const CHANNEL = "src/lambda/channel.ts";
const EXCHANGE = "src/lambda/exchange.ts";
const LISTENER = "src/lambda/listener.ts";
const PLB = "src/lambda/plb.ts";

/** Mistakes of those who sell and buy. */
const TRADERS: readonly Omit<Mutant, "world">[] = [
  {
    name: "credit_increments",
    about: "A channel tells how much credit is new, and its buyer adds that up: a word that " +
      "is lost or comes twice counts.",
    edits: [
      {
        file: CHANNEL,
        find: "  #say(letter: Letter): void {",
        replace: `  #told = 0;

  #fresh(): number {
    const more = Math.max(0, this.#allowed - this.#told);
    this.#told += more;
    return more;
  }

  #say(letter: Letter): void {`,
      },
      {
        file: CHANNEL,
        find: `        this.#issue(true);
        return this.#say({ kind: "credit", allowed: this.#allowed });`,
        replace: `        this.#issue(true);
        return this.#say({ kind: "credit", allowed: this.#fresh() });`,
      },
      {
        file: CHANNEL,
        find: `        this.#issue(false);
        return this.#say({ kind: "credit", allowed: this.#allowed });`,
        replace: `        this.#issue(false);
        return this.#say({ kind: "credit", allowed: this.#fresh() });`,
      },
      {
        file: CHANNEL,
        find: `{ kind: "reply", id, allowed: this.#allowed, body }`,
        replace: `{ kind: "reply", id, allowed: this.#fresh(), body }`,
      },
      {
        file: CHANNEL,
        find: `{ kind: "failure", id, allowed: this.#allowed, error`,
        replace: `{ kind: "failure", id, allowed: this.#fresh(), error`,
      },
      {
        file: "src/lambda/pool.ts",
        find: `    if (view.isDraining || allowed <= view.allowed) return;
    this.#tokens += allowed - view.allowed;
    view.allowed = allowed;`,
        replace: `    if (view.isDraining) return;
    this.#tokens += allowed;
    view.allowed += allowed;`,
      },
      // Who reads letters reads them so, too: it is not for their form that it is caught.
      {
        file: "sim/market/checkers/letters.ts",
        find: "counter.allowed = Math.max(counter.allowed, allowed);",
        replace: "counter.allowed += allowed;",
      },
    ],
  },
  {
    name: "grant_as_asked",
    about: "A listener that has anything free grants as much as was asked for.",
    edits: [
      {
        file: LISTENER,
        find: "const grant = Math.min(want, free + (former ? former.grant + former.owed : 0));",
        replace: "const grant = free + (former?.grant ?? 0) < 1 ? 0 : want;",
      },
      {
        file: LISTENER,
        find: "this.#seat(from, module, Math.min(grant, free), grant);",
        replace: "this.#seat(from, module, former ? Math.min(grant, free) : grant, grant);",
      },
    ],
  },
  {
    name: "no_rebuy",
    about: "A buyer that loses a seller makes do with what is left.",
    edits: [{
      file: PLB,
      find: `    this.#buyer.down(address);
    this.#relabel();
    this.#buyer.trade();`,
      replace: `    this.#buyer.down(address);
    this.#relabel();`,
    }],
  },
  {
    name: "old_code_dropped_early",
    about: "A channel whose buyer has one with newer code ends at once, whatever runs there.",
    edits: [{
      file: LISTENER,
      find: "    if (!seat || grant >= seat.grant) return;",
      replace: `    if (seat?.heir && grant > 0) this.desk.dismiss(from, "it was replaced");
    if (!seat || grant >= seat.grant) return;`,
    }],
  },
  {
    name: "given_up_call_spends",
    about: "A call that was given up while it waited still gets a credit, and is sent.",
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
      find: `    this.#giveUp(new AtlasError("unavailable", "the caller's node is gone"));
    this.#drain();`,
      replace: `    this.#giveUp(new AtlasError("unavailable", "the caller's node is gone"));`,
    }],
  },
  {
    name: "failures_cost_credit",
    about: "The credit that a call was made with is not given back where its function throws.",
    edits: [
      {
        file: CHANNEL,
        find: "    meter.running--;\n    this.#issue(false);",
        replace: `    meter.running--;
    if ("error" in outcome) this.#failed++;
    this.#issue(false);`,
      },
      {
        file: CHANNEL,
        find: "const allowed = this.#used - this.#running.size + this.#grant;",
        replace: "const allowed = this.#used - this.#running.size - this.#failed + this.#grant;",
      },
      { file: CHANNEL, find: "  #revoked = 0;", replace: "  #revoked = 0;\n  #failed = 0;" },
    ],
  },
  {
    name: "lost_call_said_unrun",
    about: "A call whose seller dies is said not to have run.",
    edits: [{
      file: PLB,
      find: `call.reject(new AtlasError("unavailable", message, { maybeExecuted: true }));`,
      replace: `call.reject(new AtlasError("unavailable", message));`,
    }],
  },
  {
    name: "order_not_lowered",
    about: "A listener offers all its capacity, whatever it has granted.",
    edits: [{
      file: LISTENER,
      find: "const quantity = this.#parts.capacity - this.#granted;",
      replace: "const quantity = this.#parts.capacity;",
    }],
  },
  {
    name: "swap_before_buying",
    about: "A buyer that hears of new code drains what it has, and then asks for the new.",
    edits: [{
      file: PLB,
      find: "    this.#buyer.replace(view, view.grant);",
      replace: `    this.#buyer.replace(view, view.grant);
    this.#drain(view);`,
    }],
  },
  {
    name: "runs_beyond_credit",
    about: "A request beyond its channel's credit is run.",
    edits: [{
      file: CHANNEL,
      find: "    if (id > this.#allowed) {",
      replace: "    if (id < 1) {",
    }],
  },
];

/** Mistakes of those who bring them together. */
const AGENTS: readonly Omit<Mutant, "world">[] = [
  {
    name: "order_not_resent",
    about: "A broker hands standing orders in at the first exchange that it knows, and at no " +
      "further one.",
    edits: [{
      file: BROKER,
      find: "if (order.module === module) this.desk.send(exchange",
      replace: "if (order.module === module && known.size === 1) this.desk.send(exchange",
    }],
  },
  {
    name: "match_counted_twice",
    about: "A seller that two exchanges found counts twice: the broker passes both on, and " +
      "neither it nor the buyer minds for which revision of the order they are.",
    edits: [
      {
        file: BROKER,
        find: "const before = entry.passed.get(match.seller) ?? 0;",
        replace: "const before = 0;",
      },
      {
        file: BROKER,
        find: "if (!entry || match.revision !== entry.order.revision) return;",
        replace: "if (!entry) return;",
      },
      {
        file: "src/lambda/buyer.ts",
        find: "id !== this.#order?.id || revision !== this.#order.revision) return;",
        replace: "id !== this.#order?.id || revision > this.#order.revision) return;",
      },
    ],
  },
  {
    name: "lost_broker_orders_stay",
    about: "An exchange keeps the orders of a broker that is gone.",
    edits: [{
      file: EXCHANGE,
      find: "for (const key of [...this.#byBroker.get(letter.address) ?? []]) this.#drop(key);",
      replace: "this.#byBroker.delete(letter.address);",
    }],
  },
  {
    name: "exchange_not_reopened",
    about: "Authorities that are left open no exchange in place of one that was lost.",
    edits: [
      {
        file: AUTHORITY,
        find: `      if (this.#own.get(module) === address) this.#own.delete(module);
      this.#settle(module);`,
        replace: "      if (this.#own.get(module) === address) this.#own.delete(module);",
      },
      {
        file: AUTHORITY,
        find: `{ kind: "search", now: false });
      this.#rank();`,
        replace: `{ kind: "search", now: false });`,
      },
    ],
  },
];

export const MARKET_MUTANTS: readonly Mutant[] = [...TRADERS, ...AGENTS]
  .map((mutant) => ({ ...mutant, world: "market" }));
