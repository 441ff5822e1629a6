/**
 * The probabilistic load balancer (PLB): buys credit from sellers and spends one per call.
 *
 * Takes calls of its proxy; `match` and `full` from the broker, `accept` and `refuse` from
 * listeners, `reply`, `failure`, `credit`, `closing` and `upgraded` from channels, and
 * `down`. Sends `order` to the broker, `open` to listeners, and `request`, `abandon`,
 * `probe`, `lower` and `drain` to channels. Calls draw from the channels of all its orders; without
 * credit they wait first come first served, and a call that is abandoned while it waits spends
 * none. Lost capacity is bought again.
 *
 * Source: `docs/design.md`, Modules; max-au's lambda_plb.
 */
import type { ModuleCallOptions, ModuleCallResult, PlbStats } from "../../api/modules.ts";
import { AtlasError, fromWireError } from "../../errors.ts";
import { MAX_WAITING } from "../../limits.ts";
import type { TimerWheel } from "../../time/timer_wheel.ts";
import type { Address } from "../bus/address.ts";
import type { BusMessage, BusMessageOf } from "../bus/messages.ts";
import type { CallCounters } from "../bus/metrics.ts";
import { Process } from "../bus/process.ts";
import type { BuyTerms } from "./allocation.ts";
import { CallQueue } from "./call_queue.ts";
import { type Bias, ChannelPool, isShort } from "./channel_pool.ts";
import type { InUse } from "./codes_in_use.ts";
import {
  abandonedError,
  type ChannelView,
  closedError,
  ModuleCall,
  type ModuleCallKeeper,
  NO_OPTIONS,
  noFunctionError,
} from "./module_call.ts";
import { OrderKeepers } from "./order_keepers.ts";

export interface PlbParts {
  readonly name: string;
  /** Its orders; `resize` changes how much each wants. */
  readonly orders: readonly BuyTerms[];
  readonly bias: Bias;
  readonly noWait: boolean;
  readonly callTimeoutMs: number;
  readonly deadlines: TimerWheel;
  readonly counters: CallCounters;
  /** Survives a restart. */
  readonly state: { isClosing: boolean };
  /** Its capacity changed. */
  readonly onChange: () => void;
  /** The load balancer was closed and has returned all capacity. */
  readonly onClosed: () => void;
}

export class PlbProcess extends Process implements ModuleCallKeeper {
  readonly #parts: PlbParts;
  readonly #pool: ChannelPool;
  readonly #orders: OrderKeepers;
  readonly #waiting: CallQueue;
  #inUse: InUse | null = null;
  #inFlight = 0;

  constructor(parts: PlbParts) {
    super();
    this.#parts = parts;
    const region = (): string => this.context.self().region;
    this.#pool = new ChannelPool(parts.bias, region, () => this.context.random());
    this.#waiting = new CallQueue(parts.name, () => this.context, this.#pool, parts.counters);
    this.#orders = new OrderKeepers(parts.name, parts.orders, this.#pool, {
      context: () => this.context,
      drain: (view) => this.#drain(view),
      lower: (view, grant) => this.#lower(view, grant),
      onChange: parts.onChange,
    });
  }

  get #isClosing(): boolean {
    return this.#parts.state.isClosing;
  }

  get name(): string {
    return this.#parts.name;
  }

  get tokens(): number {
    return this.#pool.tokens;
  }

  /** Capacity held, over all channels. */
  get granted(): number {
    return this.#pool.granted;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** The names that can be called. */
  get exports(): readonly string[] {
    return this.#inUse?.exports ?? [];
  }

  /** Whether all capacity is held and credit has arrived on every channel. */
  get isSatisfied(): boolean {
    return this.#orders.isSatisfied;
  }

  /** Calls that are not settled. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** The orders' terms as text, for errors. */
  get asked(): string {
    return this.#orders.asked;
  }

  stats(): PlbStats {
    const channels = this.#pool.stats();
    return {
      module: this.#parts.name,
      version: this.#pool.inUse()?.version ?? null,
      wanted: this.#orders.wanted,
      granted: this.#pool.granted,
      tokens: this.#pool.tokens,
      waiting: this.#waiting.size,
      running: channels.reduce((sum, channel) => sum + channel.running, 0),
      ...this.#parts.counters.own,
      orders: this.#orders.stats(),
      channels,
    };
  }

  /** Calls a function. Rejects with an AtlasError. */
  call(
    name: string,
    args: readonly unknown[],
    options: ModuleCallOptions,
  ): Promise<ModuleCallResult> {
    try {
      const now = this.context.now();
      const call = this.#callOf(name, args, options, now);
      const answer = call.answer();
      this.#begin(call, options, now);
      return answer;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Calls a function without options, and gives its result alone. Rejects with an AtlasError. */
  callForResult(name: string, args: readonly unknown[]): Promise<unknown> {
    try {
      const now = this.context.now();
      const call = this.#callOf(name, args, NO_OPTIONS, now);
      const result = call.result();
      this.#begin(call, NO_OPTIONS, now);
      return result;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** @throws AtlasError */
  #callOf(
    name: string,
    args: readonly unknown[],
    options: ModuleCallOptions,
    now: number,
  ): ModuleCall {
    this.#check(name);
    return new ModuleCall(this, name, args, options, this.#parts, now);
  }

  #begin(call: ModuleCall, options: ModuleCallOptions, now: number): void {
    this.#parts.counters.add("calls", 1);
    this.#inFlight++;
    if (call.wasAborted) {
      return this.abandoned(call, "the caller cancelled the call", options.signal?.reason);
    }
    this.#parts.deadlines.add(call, call.deadline);
    this.#waiting.add(call, now);
  }

  /** @throws AtlasError */
  #check(name: string): void {
    const { name: module } = this.#parts;
    if (this.#isClosing) throw closedError(module);
    if (this.hasStopped) {
      throw new AtlasError("unavailable", `the load balancer of ${module} failed`);
    }
    // Before the first channel is open, the exported functions are unknown.
    if (this.#inUse && !this.exports.includes(name)) {
      throw noFunctionError(module, this.#inUse, name);
    }
    if (this.#waiting.size >= MAX_WAITING) {
      throw new AtlasError("overloaded", `${MAX_WAITING} calls of ${module} are waiting already`);
    }
  }

  /** A call was answered or abandoned. */
  settled(call: ModuleCall): void {
    this.#inFlight--;
    this.#parts.deadlines.remove(call);
    this.#waiting.endWait(call);
  }

  /** The caller no longer waits: a queued call spends no credit, a sent one is abandoned. */
  abandoned(call: ModuleCall, what: string, cause: unknown): void {
    const { view } = call;
    if (view) {
      view.calls.take(call.id);
      this.context.send(view.address, { kind: "abandon", id: call.id });
    }
    this.#waiting.remove(call);
    const bought = { granted: this.granted, wanted: this.#orders.wanted };
    call.reject(abandonedError(this.name, call, what, cause, bought));
  }

  /**
   * Changes the wanted capacity, split among the orders in proportion to what each asked for.
   *
   * @throws AtlasError `unavailable` if it was closed
   */
  resize(wanted: number): void {
    if (this.#isClosing) throw closedError(this.name);
    this.#orders.resize(wanted);
  }

  /** Stops buying, lets sent calls finish, and returns all capacity. */
  close(): void {
    if (this.#isClosing) return;
    this.#parts.state.isClosing = true;
    if (this.hasStopped) return;
    this.#orders.close();
    this.refuseWaiting(closedError(this.name));
    for (const view of [...this.#pool.views.values()]) this.#drain(view);
    this.#stopIfDone();
  }

  protected override started(): void {
    if (this.#isClosing) this.context.defer(() => this.#stopIfDone());
    else this.#orders.update();
  }

  protected override stopped(reason: string, isOver: boolean): void {
    if (isOver) this.#parts.state.isClosing = true;
    this.refuseWaiting(new AtlasError("unavailable", reason));
    for (const view of [...this.#pool.views.values()]) this.#lost(view, reason);
    if (isOver) this.#parts.onClosed();
  }

  receive(message: BusMessage, from: Address): void {
    switch (message.kind) {
      case "match":
      case "full":
      case "refuse":
        return this.#orders.receive(message, from);
      case "accept":
        return this.#accepted(message, from);
      case "moved":
        return this.#orders.update(true);
      case "down":
        return this.#down(message, from);
    }
    const view = this.#pool.views.get(from);
    if (view) this.#fromChannel(message, view);
  }

  #accepted(message: BusMessageOf<"accept">, from: Address): void {
    if (!this.#orders.accepted(message, from)) return;
    this.#parts.counters.attach();
    this.#updateExports();
    this.#waiting.probeLater();
  }

  #fromChannel(message: BusMessage, view: ChannelView): void {
    switch (message.kind) {
      case "reply":
        this.#credit(view, message.allowed);
        this.#replied(message, view);
        return this.#answered(view);
      case "failure":
        this.#credit(view, message.allowed);
        this.#failed(message, view);
        return this.#answered(view);
      case "credit":
        this.#credit(view, message.allowed);
        this.#answered(view);
        return this.#parts.onChange();
      case "closing":
        return this.#closing(view, message.used);
      case "upgraded":
        return this.#upgraded(view, message);
    }
  }

  #credit(view: ChannelView, allowed: number): void {
    const isFirst = view.allowed === 0;
    this.#pool.credit(view, allowed);
    // The capacity that it replaces can be returned now.
    if (isFirst) this.#orders.changed(view);
  }

  /** Sends queued calls after a channel's message. Credit that is still missing may be lost. */
  #answered(view: ChannelView): void {
    this.#waiting.pump();
    if (isShort(view)) this.#waiting.probeLater();
  }

  // Calls.

  #replied({ id, body }: BusMessageOf<"reply">, view: ChannelView): void {
    view.calls.take(id)?.answered(body, view);
  }

  #failed({ id, error: wire }: BusMessageOf<"failure">, view: ChannelView): void {
    const call = view.calls.take(id);
    if (!call) return;
    const error = fromWireError(wire);
    // The channel was upgraded to code without the function while the request was in flight.
    const isElsewhere = error.code === "not_found" && !view.exports.has(call.name) &&
      this.exports.includes(call.name);
    const isSafe = (error.retryable || isElsewhere) && !error.maybeExecuted;
    if (isSafe && !this.#isClosing) this.#waiting.putBack([call]);
    else call.reject(error);
  }

  /** Rejects all calls that wait for credit: none of them has run. */
  refuseWaiting(error: AtlasError): void {
    this.#waiting.refuse(() => error);
  }

  // Capacity.

  /** Sends no more requests on a channel; those in flight are still answered. */
  #drain(view: ChannelView): void {
    if (view.isDraining) return;
    this.#pool.drain(view);
    this.context.send(view.address, { kind: "drain", used: view.used });
  }

  /** Lowers a channel's grant. */
  #lower(view: ChannelView, grant: number): void {
    this.#pool.lower(view, grant);
    const { used, returned } = view;
    this.context.send(view.address, { kind: "lower", used, grant, returned });
  }

  /** A channel accepts no more requests than the first `used`. */
  #closing(view: ChannelView, used: number): void {
    this.#pool.drain(view);
    const unaccepted = view.calls.all().filter(([id]) => id > used);
    for (const [id] of unaccepted) view.calls.take(id);
    this.#waiting.putBack(unaccepted.map(([, call]) => call));
    this.#updateExports();
    this.#orders.changed(view);
  }

  /** A channel has new code, which runs requests after a number. */
  #upgraded(view: ChannelView, { label, after }: BusMessageOf<"upgraded">): void {
    this.#pool.relabel(view, label, after);
    this.#updateExports();
    this.#orders.changed(view);
  }

  #down(message: BusMessageOf<"down">, from: Address): void {
    const view = this.#pool.views.get(message.address);
    if (view) this.#lost(view, message.reason);
    this.#orders.receive(message, from);
    this.#updateExports();
    this.#orders.update();
    this.#stopIfDone();
  }

  /** A channel is gone: its unanswered calls may have run. */
  #lost(view: ChannelView, reason: string): void {
    this.#pool.remove(view);
    for (const call of view.calls.takeAll()) {
      const message = `${this.name}.${call.name} on ${view.contact.node}: ${reason}`;
      call.reject(new AtlasError("unavailable", message, { maybeExecuted: true }));
    }
  }

  /** Updates the exported functions to those of the code in use, or last in use. */
  #updateExports(): void {
    const inUse = this.#pool.inUse() ?? this.#inUse;
    if (inUse === this.#inUse) return;
    this.#inUse = inUse;
    this.#waiting.refuse(({ name }) =>
      this.exports.includes(name) ? null : noFunctionError(this.#parts.name, inUse, name)
    );
  }

  #stopIfDone(): void {
    if (!this.#isClosing || this.#pool.views.size > 0 || this.hasStopped) return;
    this.context.stop(this.address, "the proxy was closed");
  }
}
