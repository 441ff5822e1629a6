/**
 * The calls of one load balancer that wait for credit, and how they are sent out.
 *
 * Takes calls; spends a credit of the pool for each, first come first served. While calls wait and
 * no credit comes, or a channel has less than was bought, the sellers are asked how much they allow:
 * perhaps a message got lost.
 */
import { AtlasError } from "../../errors.ts";
import type { Timer } from "../../ports/clock.ts";
import type { CallCounters } from "../metrics.ts";
import { type ChannelView, type ModuleCall, PendingCalls } from "./module_call.ts";
import type { ProcessContext } from "../bus/process.ts";
import type { ChannelPool } from "./channel_pool.ts";

/** How often sellers are asked how much they allow while calls wait or no word came, ms. */
const PROBE_MS = 1_000;

export class CallQueue {
  readonly #name: string;
  readonly #desk: () => ProcessContext;
  readonly #pool: ChannelPool;
  readonly #tally: CallCounters;
  readonly #waiting = new PendingCalls();
  #probe: Timer | null = null;

  /** @param name the module's. */
  constructor(name: string, desk: () => ProcessContext, pool: ChannelPool, tally: CallCounters) {
    this.#name = name;
    this.#desk = desk;
    this.#pool = pool;
    this.#tally = tally;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Sends a call out, or has it wait behind those that came before. */
  add(call: ModuleCall): void {
    // Those that wait already can't use what is in hand: their functions are in other code.
    const view = this.#pool.pick(call.name);
    if (view) return this.#sendOut(call, view);
    if (call.noWait) {
      return call.reject(new AtlasError("overloaded", `no credit for ${this.#name} now`));
    }
    call.waitsSince = this.#desk().now();
    this.#tally.add("waits", 1);
    this.#waiting.add(call);
    this.probeLater();
  }

  /** Nobody waits for its answer any more. */
  remove(call: ModuleCall): void {
    this.#waiting.remove(call);
  }

  /** Gives waiting calls the credit in hand, first come first served. */
  pump(): void {
    if (this.#waiting.size === 0) return;
    for (const call of this.#waiting) {
      if (this.#pool.tokens === 0) return;
      const view = this.#pool.pick(call.name);
      if (!view) continue;
      this.#waiting.remove(call);
      this.endWait(call);
      this.#sendOut(call, view);
    }
  }

  /** Calls that surely did not run go elsewhere, before those that came later. */
  putBack(calls: readonly ModuleCall[]): void {
    for (const call of calls) {
      call.view = null;
      call.label = null;
      call.waitsSince = this.#desk().now();
    }
    this.#waiting.putBack(calls);
    this.pump();
    this.probeLater();
  }

  /** Fails all calls that wait for credit: none of them has run. */
  refuse(errorOf: (call: ModuleCall) => AtlasError | null): void {
    for (const call of [...this.#waiting]) {
      const error = errorOf(call);
      if (!error) continue;
      this.#waiting.remove(call);
      call.reject(error);
    }
  }

  /** A call waits no longer, however that came. */
  endWait(call: ModuleCall): void {
    if (call.waitsSince === 0) return;
    this.#tally.add("waitedMs", this.#desk().now() - call.waitsSince);
    call.waitsSince = 0;
  }

  /** Calls wait, or credit is missing, and no word comes: perhaps one got lost. */
  probeLater(): void {
    if (this.#probe || (this.#waiting.size === 0 && this.#pool.short().length === 0)) return;
    this.#probe = this.#desk().after(PROBE_MS, () => {
      this.#probe = null;
      for (const { address, used } of new Set([...this.#pool.spent(), ...this.#pool.short()])) {
        this.#desk().send(address, { kind: "probe", used });
      }
      this.probeLater();
    });
  }

  #sendOut(call: ModuleCall, view: ChannelView): void {
    this.#pool.spend(view, call);
    const timeoutMs = Math.max(1, Math.ceil(call.deadline - this.#desk().now()));
    const { id, name, body } = call;
    this.#desk().send(view.address, { kind: "request", id, name, timeoutMs, body });
  }
}
