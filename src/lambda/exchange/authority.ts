/**
 * Authority: keeps the mesh of all authorities whole, and sees to it that every module somebody
 * trades in has two exchanges.
 *
 * Takes `syn`/`ack` of other authorities and `news` of some, `join`, `interest` and `bored` of
 * brokers; tells brokers of authorities and exchanges. It opens an exchange of its own where that
 * falls to it, and closes its own where there are more.
 *
 * To whom it falls is decided by each authority for itself, in the same way: by rank of
 * a hash over authority and module (rendezvous hashing; Thaler and Ravishankar, 1998), so
 * that exchanges spread over authorities and those who know the same agree. Where the two
 * of the best rank don't do it in a moment, anyone who misses an exchange opens one.
 *
 * Source: design §5, Authority.
 */
import { MAX_MODULES, MAX_PEERS } from "../../limits.ts";
import { hashText } from "../../model/rrp.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, BROKER, nodeOf } from "../bus/address.ts";
import { Exchange } from "./exchange.ts";
import type { BusMessage, Knowledge, Listing } from "../bus/messages.ts";
import { Process } from "../bus/process.ts";

/** Exchanges that a module should have. */
const WANTED = 2;
/** How long the authorities of the best rank have to open theirs, ms. */
const GRACE_MS = 1_000;
/** Between two lines of the log that say that it is full, ms. */
const TELL_MS = 60_000;

export class Authority extends Process {
  /** Other authorities, by address. */
  readonly #mesh = new Map<Address, Peer>();
  /** Brokers, and the modules that they trade in. */
  readonly #brokers = new Map<Address, Set<string>>();
  readonly #exchanges = new Map<string, Map<Address, Peer>>();
  readonly #own = new Map<string, Address>();
  /** Who wants to hear when authorities are missing. */
  readonly #bootstrap: Address;
  #review: Timer | null = null;
  #toldAt = -Infinity;

  constructor(bootstrap: Address) {
    super();
    this.#bootstrap = bootstrap;
  }

  protected override started(): void {
    // Where another one failed before, the broker here knows the others.
    this.context.send(addressOf("", BROKER), { kind: "seek", contact: this.context.self() });
  }

  receive(letter: BusMessage, from: Address): void {
    switch (letter.kind) {
      case "syn":
        if (!this.#greeted(from, letter)) return;
        return this.context.send(from, { kind: "ack", ...this.#knowledge() });
      case "ack":
        return this.#acknowledged(from, letter);
      case "news":
        return this.#learn(letter);
      case "join":
        return this.#joined(from, letter.modules);
      case "interest":
        return this.#interested(from, letter.modules);
      case "bored":
        return this.#bored(from, letter.modules);
      case "ask":
        return this.#answer(letter, from);
      case "down":
        return this.#down(letter.address);
    }
  }

  /** Another authority spoke. Answers whether there was room for it. */
  #greeted(from: Address, knowledge: Knowledge): boolean {
    if (!this.#mesh.has(from)) {
      if (this.#mesh.size >= MAX_PEERS) return false;
      this.#mesh.set(from, knowledge.contact);
      this.context.watch(from);
      this.context.send(this.#bootstrap, { kind: "met", peer: knowledge.contact });
      const { contact } = knowledge;
      for (const broker of this.#brokers.keys()) this.#inform(broker, [contact], []);
    }
    this.#learn(knowledge);
    this.#rank();
    return true;
  }

  /** It greeted another, which answers. */
  #acknowledged(from: Address, knowledge: Knowledge): void {
    const isNew = !this.#mesh.has(from);
    if (!this.#greeted(from, knowledge) || !isNew) return;
    // What was opened since the greeting, the other was not told of: it wasn't in the mesh.
    this.#inform(from, [], [...this.#own.keys()].flatMap((module) => this.#listings(module)));
  }

  /** Greets authorities that it doesn't know, and takes note of exchanges. */
  #learn({ authorities, exchanges }: Knowledge): void {
    const { incarnation } = this.context.self();
    for (const peer of authorities) {
      const address = addressOf(peer.incarnation, AUTHORITY);
      if (peer.incarnation === incarnation || this.#mesh.has(address)) continue;
      this.context.send(address, { kind: "syn", ...this.#knowledge() });
    }
    const fresh = exchanges.filter((listing) => this.#note(listing));
    this.#announce(fresh, false);
    for (const { module } of fresh) this.#settle(module);
  }

  /** Takes note of an exchange; answers whether it is new. */
  #note({ module, exchange, contact }: Listing): boolean {
    const known = this.#exchanges.get(module) ?? new Map<Address, Peer>();
    // Its own ones are those that it opened itself.
    if (known.has(exchange) || nodeOf(exchange) === "") return false;
    if (known.size >= MAX_PEERS || this.#exchanges.size >= MAX_MODULES) return false;
    this.#exchanges.set(module, known.set(exchange, contact));
    this.context.watch(exchange);
    return true;
  }

  #joined(from: Address, modules: readonly string[]): void {
    if (!this.#brokers.has(from)) {
      if (this.#brokers.size >= MAX_PEERS) return this.#full("brokers", MAX_PEERS);
      this.#brokers.set(from, new Set());
      this.context.watch(from);
    }
    this.#inform(from, [this.context.self(), ...this.#mesh.values()], []);
    this.#interested(from, modules);
  }

  #interested(from: Address, modules: readonly string[]): void {
    const interests = this.#brokers.get(from);
    if (!interests) return;
    for (const module of modules) {
      if (interests.size < MAX_MODULES) interests.add(module);
      this.#settle(module);
    }
    this.#inform(from, [], modules.flatMap((module) => this.#listings(module)));
  }

  #bored(from: Address, modules: readonly string[]): void {
    for (const module of modules) {
      this.#brokers.get(from)?.delete(module);
      this.#settle(module);
    }
  }

  #down(address: Address): void {
    const interests = this.#brokers.get(address);
    this.#brokers.delete(address);
    for (const module of interests ?? []) this.#settle(module);
    const lost = this.#mesh.get(address);
    if (lost) {
      this.#mesh.delete(address);
      this.context.send(this.#bootstrap, { kind: "lost", peer: lost });
      this.context.send(this.#bootstrap, { kind: "search", now: false });
      this.#rank();
    }
    for (const [module, known] of this.#exchanges) {
      if (!known.delete(address)) continue;
      if (known.size === 0) this.#exchanges.delete(module);
      if (this.#own.get(module) === address) this.#own.delete(module);
      this.#settle(module);
    }
  }

  /** The mesh changed: so did who should run which exchange. */
  #rank(): void {
    for (const module of new Set([...this.#exchanges.keys(), ...this.#interests()])) {
      this.#settle(module);
    }
  }

  #interests(): Set<string> {
    const all = new Set<string>();
    for (const interests of this.#brokers.values()) for (const it of interests) all.add(it);
    return all;
  }

  /** Opens or closes its own exchange of a module, where that falls to it. */
  #settle(module: string): void {
    const own = this.#own.get(module);
    const known = this.#exchanges.get(module)?.size ?? 0;
    const isWanted = [...this.#brokers.values()].some((interests) => interests.has(module));
    if (own !== undefined) {
      if (!isWanted || (known > WANTED && !this.#isBest(module))) this.#close(module, own);
    } else if (isWanted && known < WANTED) {
      if (this.#place(module, [...this.#mesh.keys()]) < WANTED) this.#open(module);
      else this.#review ??= this.context.after(GRACE_MS, () => this.#afterGrace());
    }
  }

  #afterGrace(): void {
    this.#review = null;
    for (const module of this.#interests()) {
      const known = this.#exchanges.get(module)?.size ?? 0;
      if (known < WANTED && !this.#own.has(module)) this.#open(module);
    }
  }

  #open(module: string): void {
    if (this.#exchanges.size >= MAX_MODULES) return this.#full("modules", MAX_MODULES);
    const name = `exchange.${this.context.nextId()}`;
    const exchange = this.context.spawn(name, new Exchange(module));
    this.context.watch(exchange);
    this.#own.set(module, exchange);
    const contact = this.context.self();
    const known = this.#exchanges.get(module) ?? new Map<Address, Peer>();
    this.#exchanges.set(module, known.set(exchange, contact));
    this.context.tell("debug", "exchange opened", { module });
    this.#announce([{ module, exchange, contact }], true);
  }

  #close(module: string, own: Address): void {
    this.#own.delete(module);
    const known = this.#exchanges.get(module);
    known?.delete(own);
    if (known?.size === 0) this.#exchanges.delete(module);
    this.context.tell("debug", "exchange closed", { module });
    this.context.stop(own, "there are enough exchanges");
  }

  /** Whether this node's exchange of a module is among the best ones that are there. */
  #isBest(module: string): boolean {
    const others = [...this.#exchanges.get(module)?.keys() ?? []]
      .filter((exchange) => nodeOf(exchange) !== "");
    return this.#place(module, others) < WANTED;
  }

  /** This node's place among itself and the nodes of `others`, from 0. */
  #place(module: string, others: readonly Address[]): number {
    const { incarnation } = this.context.self();
    const mine = hashText(`${incarnation}/${module}`);
    return others.filter((other) => {
      const node = nodeOf(other);
      const theirs = hashText(`${node}/${module}`);
      return theirs > mine || (theirs === mine && node > incarnation);
    }).length;
  }

  /** Tells of exchanges: the brokers that trade in the module, and other authorities. */
  #announce(listings: readonly Listing[], toMesh: boolean): void {
    if (listings.length === 0) return;
    for (const [broker, interests] of this.#brokers) {
      const wanted = listings.filter(({ module }) => interests.has(module));
      if (wanted.length > 0) this.#inform(broker, [], wanted);
    }
    if (toMesh) {
      for (const authority of this.#mesh.keys()) {
        this.#inform(authority, [], listings);
      }
    }
  }

  #inform(to: Address, authorities: readonly Peer[], exchanges: readonly Listing[]): void {
    if (authorities.length + exchanges.length === 0) return;
    this.context.send(to, { kind: "news", contact: this.context.self(), authorities, exchanges });
  }

  /** There is no room for one more; said once in a while. */
  #full(what: string, most: number): void {
    if (this.context.now() - this.#toldAt < TELL_MS) return;
    this.#toldAt = this.context.now();
    this.context.tell("warning", "authority full", { what, most });
  }

  #listings(module: string): Listing[] {
    return [...this.#exchanges.get(module) ?? []].map(([exchange, contact]) => ({
      module,
      exchange,
      // A node that took another incarnation meanwhile is still this one.
      contact: nodeOf(exchange) === "" ? this.context.self() : contact,
    }));
  }

  #knowledge(): Knowledge {
    return {
      contact: this.context.self(),
      authorities: [...this.#mesh.values()],
      exchanges: [...this.#exchanges.keys()].flatMap((module) => this.#listings(module)),
    };
  }

  #answer({ nonce, what, module }: BusMessage & { kind: "ask" }, from: Address): void {
    if (what === "mesh") {
      this.context.send(from, {
        kind: "mesh",
        nonce,
        contact: this.context.self(),
        authorities: [...this.#mesh.values()],
        brokers: this.#brokers.size,
        modules: [...this.#exchanges.keys()].sort(),
      });
    } else if (what === "listings") {
      const exchanges = this.#listings(module);
      this.context.send(from, { kind: "listings", nonce, exchanges });
    }
  }
}
