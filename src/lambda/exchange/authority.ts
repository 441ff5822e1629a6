/**
 * An authority: keeps the mesh of all authorities connected, and ensures that every traded module
 * has two exchanges.
 *
 * Takes `syn`, `ack` and `topology` from authorities and the bootstrap, `join`, `interest` and
 * `not_interested` from brokers; tells brokers about authorities and exchanges. Opens an exchange
 * if it is responsible for the module, and closes its own if there are too many.
 *
 * Each authority decides by itself, by the same rule, which authorities are responsible: by rank of
 * a hash over authority and module (rendezvous hashing; Thaler and Ravishankar, 1998). So exchanges
 * spread over the authorities, and authorities with equal knowledge agree. If the two best-ranked
 * authorities do not open theirs within 1 s, any authority that knows fewer than two exchanges
 * opens one.
 *
 * Source: `docs/design.md`, Modules.
 */
import { MAX_MODULES, MAX_PEERS } from "../../limits.ts";
import { hashText } from "../../model/rrp.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, BROKER, nodeOf } from "../bus/address.ts";
import type { BusMessage, ExchangeListing, Topology } from "../bus/messages.ts";
import { Process } from "../bus/process.ts";
import { Exchange } from "./exchange.ts";

/** Exchanges that a module should have. */
const EXCHANGES_PER_MODULE = 2;
/** How long the two best-ranked authorities have to open theirs, ms. */
const GRACE_MS = 1_000;
/** The least interval between two log events `authority full`, ms. */
const LOG_INTERVAL_MS = 60_000;

export class Authority extends Process {
  /** Other authorities, by address. */
  readonly #mesh = new Map<Address, Peer>();
  /** Brokers, and the modules that they trade in. */
  readonly #brokers = new Map<Address, Set<string>>();
  readonly #exchanges = new Map<string, Map<Address, Peer>>();
  readonly #own = new Map<string, Address>();
  /** Gets notified which authorities answered or were lost. */
  readonly #bootstrap: Address;
  #review: Timer | null = null;
  #loggedAt = -Infinity;

  constructor(bootstrap: Address) {
    super();
    this.#bootstrap = bootstrap;
  }

  protected override started(): void {
    // After a restart, the broker of this node still knows the other authorities.
    this.context.send(addressOf("", BROKER), {
      kind: "find_authorities",
      contact: this.context.self(),
    });
  }

  receive(message: BusMessage, from: Address): void {
    switch (message.kind) {
      case "syn":
        if (!this.#met(from, message)) return;
        return this.context.send(from, { kind: "ack", ...this.#topology() });
      case "ack":
        return this.#acknowledged(from, message);
      case "topology":
        return this.#learn(message);
      case "join":
        return this.#joined(from, message.modules);
      case "interest":
        return this.#interested(from, message.modules);
      case "not_interested":
        return this.#notInterested(from, message.modules);
      case "ask":
        return this.#answer(message, from);
      case "down":
        return this.#down(message.address);
    }
  }

  /** Adds an authority to the mesh. Returns whether there was room. */
  #met(from: Address, topology: Topology): boolean {
    if (!this.#mesh.has(from)) {
      if (this.#mesh.size >= MAX_PEERS) return false;
      this.#mesh.set(from, topology.contact);
      this.context.watch(from);
      this.context.send(this.#bootstrap, { kind: "met", peer: topology.contact });
      const { contact } = topology;
      for (const broker of this.#brokers.keys()) this.#sendTopology(broker, [contact], []);
    }
    this.#learn(topology);
    this.#adjustAll();
    return true;
  }

  /** An authority that was greeted replied. */
  #acknowledged(from: Address, topology: Topology): void {
    const isNew = !this.#mesh.has(from);
    if (!this.#met(from, topology) || !isNew) return;
    // The other authority does not know the exchanges that were opened since the greeting, because
    // it was not in the mesh yet.
    this.#sendTopology(from, [], [...this.#own.keys()].flatMap((module) => this.#listings(module)));
  }

  /** Greets unknown authorities and adds unknown exchanges. */
  #learn({ authorities, exchanges }: Topology): void {
    const { incarnation } = this.context.self();
    for (const peer of authorities) {
      const address = addressOf(peer.incarnation, AUTHORITY);
      if (peer.incarnation === incarnation || this.#mesh.has(address)) continue;
      this.context.send(address, { kind: "syn", ...this.#topology() });
    }
    const added = exchanges.filter((listing) => this.#addExchange(listing));
    this.#announce(added, false);
    for (const { module } of added) this.#adjust(module);
  }

  /** Adds an exchange; returns whether it is new. */
  #addExchange({ module, exchange, contact }: ExchangeListing): boolean {
    const known = this.#exchanges.get(module) ?? new Map<Address, Peer>();
    // An exchange of its own is added only when this process opens it.
    if (known.has(exchange) || nodeOf(exchange) === "") return false;
    if (known.size >= MAX_PEERS || this.#exchanges.size >= MAX_MODULES) return false;
    this.#exchanges.set(module, known.set(exchange, contact));
    this.context.watch(exchange);
    return true;
  }

  #joined(from: Address, modules: readonly string[]): void {
    if (!this.#brokers.has(from)) {
      if (this.#brokers.size >= MAX_PEERS) return this.#logFull("brokers", MAX_PEERS);
      this.#brokers.set(from, new Set());
      this.context.watch(from);
    }
    this.#sendTopology(from, [this.context.self(), ...this.#mesh.values()], []);
    this.#interested(from, modules);
  }

  #interested(from: Address, modules: readonly string[]): void {
    const interests = this.#brokers.get(from);
    if (!interests) return;
    for (const module of modules) {
      if (interests.size < MAX_MODULES) interests.add(module);
      this.#adjust(module);
    }
    this.#sendTopology(from, [], modules.flatMap((module) => this.#listings(module)));
  }

  #notInterested(from: Address, modules: readonly string[]): void {
    for (const module of modules) {
      this.#brokers.get(from)?.delete(module);
      this.#adjust(module);
    }
  }

  #down(address: Address): void {
    const interests = this.#brokers.get(address);
    this.#brokers.delete(address);
    for (const module of interests ?? []) this.#adjust(module);
    const lost = this.#mesh.get(address);
    if (lost) {
      this.#mesh.delete(address);
      this.context.send(this.#bootstrap, { kind: "lost", peer: lost });
      this.context.send(this.#bootstrap, { kind: "search", now: false });
      this.#adjustAll();
    }
    for (const [module, known] of this.#exchanges) {
      if (!known.delete(address)) continue;
      if (known.size === 0) this.#exchanges.delete(module);
      if (this.#own.get(module) === address) this.#own.delete(module);
      this.#adjust(module);
    }
  }

  /** Adjusts all modules, because the mesh and thus the ranks changed. */
  #adjustAll(): void {
    for (const module of new Set([...this.#exchanges.keys(), ...this.#interests()])) {
      this.#adjust(module);
    }
  }

  #interests(): Set<string> {
    const all = new Set<string>();
    for (const interests of this.#brokers.values()) for (const it of interests) all.add(it);
    return all;
  }

  /** Opens or closes its own exchange of a module, if it should. */
  #adjust(module: string): void {
    const own = this.#own.get(module);
    const known = this.#exchanges.get(module)?.size ?? 0;
    const isWanted = [...this.#brokers.values()].some((interests) => interests.has(module));
    if (own !== undefined) {
      if (!isWanted || (known > EXCHANGES_PER_MODULE && !this.#isBest(module))) {
        this.#close(module, own);
      }
    } else if (isWanted && known < EXCHANGES_PER_MODULE) {
      if (this.#rankOf(module, [...this.#mesh.keys()]) < EXCHANGES_PER_MODULE) this.#open(module);
      else this.#review ??= this.context.after(GRACE_MS, () => this.#afterGrace());
    }
  }

  #afterGrace(): void {
    this.#review = null;
    for (const module of this.#interests()) {
      const known = this.#exchanges.get(module)?.size ?? 0;
      if (known < EXCHANGES_PER_MODULE && !this.#own.has(module)) this.#open(module);
    }
  }

  #open(module: string): void {
    if (this.#exchanges.size >= MAX_MODULES) return this.#logFull("modules", MAX_MODULES);
    const name = `exchange.${this.context.nextId()}`;
    const exchange = this.context.spawn(name, new Exchange(module));
    this.context.watch(exchange);
    this.#own.set(module, exchange);
    const contact = this.context.self();
    const known = this.#exchanges.get(module) ?? new Map<Address, Peer>();
    this.#exchanges.set(module, known.set(exchange, contact));
    this.context.log("debug", "exchange opened", { module });
    this.#announce([{ module, exchange, contact }], true);
  }

  #close(module: string, own: Address): void {
    this.#own.delete(module);
    const known = this.#exchanges.get(module);
    known?.delete(own);
    if (known?.size === 0) this.#exchanges.delete(module);
    this.context.log("debug", "exchange closed", { module });
    this.context.stop(own, "there are enough exchanges");
  }

  /** Whether this node's exchange of a module is among the two best-ranked. */
  #isBest(module: string): boolean {
    const others = [...this.#exchanges.get(module)?.keys() ?? []]
      .filter((exchange) => nodeOf(exchange) !== "");
    return this.#rankOf(module, others) < EXCHANGES_PER_MODULE;
  }

  /** This node's rank, from 0, among itself and the nodes of `others`. */
  #rankOf(module: string, others: readonly Address[]): number {
    const { incarnation } = this.context.self();
    const mine = hashText(`${incarnation}/${module}`);
    return others.filter((other) => {
      const node = nodeOf(other);
      const theirs = hashText(`${node}/${module}`);
      return theirs > mine || (theirs === mine && node > incarnation);
    }).length;
  }

  /** Tells the brokers that trade in the module about exchanges, and the mesh if asked. */
  #announce(listings: readonly ExchangeListing[], toMesh: boolean): void {
    if (listings.length === 0) return;
    for (const [broker, interests] of this.#brokers) {
      const wanted = listings.filter(({ module }) => interests.has(module));
      if (wanted.length > 0) this.#sendTopology(broker, [], wanted);
    }
    if (toMesh) {
      for (const authority of this.#mesh.keys()) {
        this.#sendTopology(authority, [], listings);
      }
    }
  }

  #sendTopology(
    to: Address,
    authorities: readonly Peer[],
    exchanges: readonly ExchangeListing[],
  ): void {
    if (authorities.length + exchanges.length === 0) return;
    this.context.send(to, {
      kind: "topology",
      contact: this.context.self(),
      authorities,
      exchanges,
    });
  }

  /** Logs, at most once a minute, that a limit is reached. */
  #logFull(what: string, most: number): void {
    if (this.context.now() - this.#loggedAt < LOG_INTERVAL_MS) return;
    this.#loggedAt = this.context.now();
    this.context.log("warning", "authority full", { what, most });
  }

  #listings(module: string): ExchangeListing[] {
    return [...this.#exchanges.get(module) ?? []].map(([exchange, contact]) => ({
      module,
      exchange,
      // This node may have a new incarnation by now.
      contact: nodeOf(exchange) === "" ? this.context.self() : contact,
    }));
  }

  #topology(): Topology {
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
