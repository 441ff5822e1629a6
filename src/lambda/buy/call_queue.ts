/**
 * The calls of one load balancer that wait for credit, first come first served.
 *
 * Sends a call as soon as the pool has credit for it. While calls wait without credit, or a channel
 * has less credit than its grant, it asks the sellers (`probe`), because a message may be lost.
 */
import { AtlasError } from "../../errors.ts";
import type { Timer } from "../../ports/clock.ts";
import type { CallCounters } from "../bus/metrics.ts";
import type { ProcessContext } from "../bus/process.ts";
import type { ChannelPool } from "./channel_pool.ts";
import { type ChannelView, type ModuleCall, PendingCalls } from "./module_call.ts";

/** How often sellers are probed while calls wait or credit is missing, ms. */
const PROBE_MS = 1_000;

export class CallQueue {
  readonly #name: string;
  readonly #context: () => ProcessContext;
  readonly #pool: ChannelPool;
  readonly #counters: CallCounters;
  readonly #waiting = new PendingCalls();
  #probe: Timer | null = null;

  /** @param name the module's. */
  constructor(
    name: string,
    context: () => ProcessContext,
    pool: ChannelPool,
    counters: CallCounters,
  ) {
    this.#name = name;
    this.#context = context;
    this.#pool = pool;
    this.#counters = counters;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Sends a call that is made `now`, or queues it. */
  add(call: ModuleCall, now: number): void {
    // Calls that are queued already can't use this credit, because that channel's code lacks their
    // functions.
    const view = this.#pool.pick(call.name);
    if (view) return this.#send(call, view, now);
    if (call.noWait) {
      return call.reject(new AtlasError("overloaded", `no credit for ${this.#name} now`));
    }
    call.waitsSince = now;
    this.#counters.add("waits", 1);
    this.#waiting.add(call);
    this.probeLater();
  }

  /** The call's caller no longer waits. */
  remove(call: ModuleCall): void {
    this.#waiting.remove(call);
  }

  /** Sends queued calls while there is credit. */
  pump(): void {
    if (this.#waiting.size === 0) return;
    for (const call of this.#waiting) {
      if (this.#pool.tokens === 0) return;
      const view = this.#pool.pick(call.name);
      if (!view) continue;
      this.#waiting.remove(call);
      this.endWait(call);
      this.#send(call, view, this.#context().now());
    }
  }

  /** Queues calls that did not run again, ahead of later ones. */
  putBack(calls: readonly ModuleCall[]): void {
    for (const call of calls) {
      call.view = null;
      call.label = null;
      call.waitsSince = this.#context().now();
    }
    this.#waiting.putBack(calls);
    this.pump();
    this.probeLater();
  }

  /** Rejects queued calls for which there is an error: none of them has run. */
  refuse(errorOf: (call: ModuleCall) => AtlasError | null): void {
    for (const call of [...this.#waiting]) {
      const error = errorOf(call);
      if (!error) continue;
      this.#waiting.remove(call);
      call.reject(error);
    }
  }

  /** A call no longer waits. */
  endWait(call: ModuleCall): void {
    if (call.waitsSince === 0) return;
    this.#counters.add("waitedMs", this.#context().now() - call.waitsSince);
    call.waitsSince = 0;
  }

  /** Plans a probe if calls wait or credit is missing. */
  probeLater(): void {
    if (this.#probe || (this.#waiting.size === 0 && this.#pool.short().length === 0)) return;
    this.#probe = this.#context().after(PROBE_MS, () => {
      this.#probe = null;
      for (const { address, used } of new Set([...this.#pool.spent(), ...this.#pool.short()])) {
        this.#context().send(address, { kind: "probe", used });
      }
      this.probeLater();
    });
  }

  #send(call: ModuleCall, view: ChannelView, now: number): void {
    this.#pool.spend(view, call);
    const timeoutMs = Math.max(1, Math.ceil(call.deadline - now));
    const { id, name, body } = call;
    this.#context().send(view.address, { kind: "request", id, name, timeoutMs, body });
  }
}
