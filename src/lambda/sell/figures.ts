/**
 * The figures of what a node sells: each channel and its listener write their own, and whoever is
 * asked for them reads here. So no part has to call another, and the figures outlive a listener
 * that failed: the next one knows what is still in use.
 */
import { type Address, nodeOf, partOf } from "../bus/address.ts";
import type { ListenerChannelStats } from "../../api/modules.ts";
import type { Module } from "../../api/module.ts";

/** One channel. issued = used + outstanding + revoked. */
export class ChannelBooks {
  readonly buyer: Address;
  /** The code that requests run on from now on. */
  module: Module;
  grant = 0;
  /** Credit given; requests that came, or never will; credit that was given back or taken back. */
  issued = 0;
  used = 0;
  revoked = 0;
  running = 0;
  /** Functions that still run though their channel failed. */
  strays = 0;
  /** Requests that run, by their code. */
  readonly codes: Map<Module, number> = new Map();

  constructor(buyer: Address, module: Module) {
    this.buyer = buyer;
    this.module = module;
  }

  get outstanding(): number {
    return this.issued - this.used - this.revoked;
  }

  began(module: Module): void {
    this.running++;
    this.codes.set(module, (this.codes.get(module) ?? 0) + 1);
  }

  /** Answers whether nothing runs on that code any more, and nothing will. */
  ended(module: Module): boolean {
    this.running--;
    const left = (this.codes.get(module) ?? 1) - 1;
    if (left > 0) this.codes.set(module, left);
    else this.codes.delete(module);
    return left === 0 && module !== this.module;
  }

  stats(address: Address): ListenerChannelStats {
    const { buyer, module, grant, issued, used, outstanding, revoked, running } = this;
    const { version, hash } = module;
    return {
      channel: partOf(address),
      buyer: nodeOf(buyer),
      version,
      hash,
      grant,
      issued,
      used,
      outstanding,
      revoked,
      running,
    };
  }
}

/** All channels of one listener, by address. */
export type ShopBooks = Map<Address, ChannelBooks>;

/** The code that runs on some channel, or would. */
export function* modulesIn(books: ShopBooks): Iterable<Module> {
  for (const { module, codes } of books.values()) {
    yield module;
    yield* codes.keys();
  }
}

export function runningIn(books: ShopBooks): number {
  let sum = 0;
  for (const { running } of books.values()) sum += running;
  return sum;
}
