/**
 * The records of a listener's channels: code, grant and counts.
 *
 * A channel and its listener write them, and the market reads them for statistics, so no process
 * has to call another. They survive a listener that fails: its replacement knows what is still in
 * use.
 */
import type { Module } from "../../api/module.ts";
import type { ListenerChannelStats } from "../../api/modules.ts";
import { type Address, nodeOf, processOf } from "../bus/address.ts";

/** One channel. issued = used + outstanding + revoked. */
export class ChannelRecord {
  readonly buyer: Address;
  /** The code that new requests run on. */
  module: Module;
  grant = 0;
  /** Credit issued; requests that arrived or are lost; credit that was returned or revoked. */
  issued = 0;
  used = 0;
  revoked = 0;
  running = 0;
  /** Functions that still run although their channel failed. */
  orphanRuns = 0;
  /** Running requests, by code; counted in place, because each request changes a count twice. */
  readonly codes: Map<Module, { running: number }> = new Map();

  constructor(buyer: Address, module: Module) {
    this.buyer = buyer;
    this.module = module;
  }

  get outstanding(): number {
    return this.issued - this.used - this.revoked;
  }

  runStarted(module: Module): void {
    this.running++;
    const code = this.codes.get(module);
    if (code) code.running++;
    else this.codes.set(module, { running: 1 });
  }

  /** Returns whether that code is no longer used here. */
  runEnded(module: Module): boolean {
    this.running--;
    const code = this.codes.get(module);
    if (code && --code.running > 0) return false;
    this.codes.delete(module);
    return module !== this.module;
  }

  stats(address: Address): ListenerChannelStats {
    const { buyer, module, grant, issued, used, outstanding, revoked, running } = this;
    const { version, hash } = module;
    return {
      channel: processOf(address),
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
export type ChannelRecords = Map<Address, ChannelRecord>;

/** All code that some channel uses. */
export function* modulesIn(records: ChannelRecords): Iterable<Module> {
  for (const { module, codes } of records.values()) {
    yield module;
    yield* codes.keys();
  }
}

export function runningIn(records: ChannelRecords): number {
  let sum = 0;
  for (const { running } of records.values()) sum += running;
  return sum;
}
