/**
 * PLB, the probabilistic load balancer: buys credit of sellers, and spends one for each call.
 *
 * Takes calls of its proxy; `match` and `full` of the broker, `accept` and `refuse` of listeners,
 * `reply`, `failure`, `credit`, `closing` and `upgraded` of channels, and `down`. Gives `order`
 * to the broker, `open` to listeners, `request`, `abandon`, `probe`, `lower` and `drain` to
 * channels. It has one or several buy orders, whose channels it all draws from. A call without
 * credit waits, first come first served; one that is given up by then spends none. Capacity that
 * is lost is bought again.
 *
 * Source: design §5, PLB and Hot code load.
 */
import type { ModuleCallOptions, ModuleCallResult, PlbStats } from "../../api/modules.ts";
import { AtlasError, fromWireError } from "../../errors.ts";
import { MAX_WAITING } from "../../limits.ts";
import type { TimerWheel } from "../../time/timer_wheel.ts";
import type { Address } from "../bus/address.ts";
import type { BusMessage, BusMessageOf } from "../bus/messages.ts";
import { Process } from "../bus/process.ts";
import type { CallCounters } from "../metrics.ts";
import type { BuyTerms } from "./allocation.ts";
import { CallQueue } from "./call_queue.ts";
import { type Bias, ChannelPool, type InUse, isShort } from "./channel_pool.ts";
import {
  type ChannelView,
  givenUp,
  ModuleCall,
  type ModuleCallKeeper,
  noFunction,
  wasClosed,
} from "./module_call.ts";
import { OrderKeepers } from "./order_keepers.ts";

export interface PlbParts {
  readonly name: string;
  /** Its orders; how much each wants changes with `resize`. */
  readonly orders: readonly BuyTerms[];
  readonly bias: Bias;
  readonly noWait: boolean;
  readonly callTimeoutMs: number;
  readonly deadlines: TimerWheel;
  readonly tally: CallCounters;
  /** Outlives a balancer that fails. */
  readonly state: { isClosing: boolean };
  /** Something about its capacity changed. */
  readonly onChange: () => void;
  /** It was closed, and has given all capacity back. */
  readonly onClosed: () => void;
}

export class PlbProcess extends Process implements ModuleCallKeeper {
  readonly #parts: PlbParts;
  readonly #pool: ChannelPool;
  readonly #buyers: OrderKeepers;
  readonly #waiting: CallQueue;
  #label: InUse | null = null;
  #inFlight = 0;

  constructor(parts: PlbParts) {
    super();
    this.#parts = parts;
    const region = (): string => this.context.self().region;
    this.#pool = new ChannelPool(parts.bias, region, () => this.context.random());
    this.#waiting = new CallQueue(parts.name, () => this.context, this.#pool, parts.tally);
    this.#buyers = new OrderKeepers(parts.name, parts.orders, this.#pool, {
      desk: () => this.context,
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

  /** Capacity bought, over all channels. */
  get granted(): number {
    return this.#pool.granted;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** The names that can be called. */
  get exports(): readonly string[] {
    return this.#label?.exports ?? [];
  }

  /** Whether all capacity is bought, and the credit for it is here. */
  get isSatisfied(): boolean {
    return this.#buyers.isSatisfied;
  }

  /** Calls that are not settled. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** What is asked for, in words. */
  get asked(): string {
    return this.#buyers.asked;
  }

  stats(): PlbStats {
    const channels = this.#pool.stats();
    return {
      module: this.#parts.name,
      version: this.#pool.inUse()?.version ?? null,
      wanted: this.#buyers.wanted,
      granted: this.#pool.granted,
      tokens: this.#pool.tokens,
      waiting: this.#waiting.size,
      running: channels.reduce((sum, channel) => sum + channel.running, 0),
      ...this.#parts.tally.own,
      orders: this.#buyers.stats(),
      channels,
    };
  }

  /** Calls a function. Rejects with an AtlasError. */
  call(
    name: string,
    args: readonly unknown[],
    options: ModuleCallOptions,
  ): Promise<ModuleCallResult> {
    let call: ModuleCall;
    try {
      this.#check(name);
      call = new ModuleCall(this, name, args, options, this.#parts, this.context.now());
    } catch (error) {
      return Promise.reject(error);
    }
    const answer = call.answer();
    this.#parts.tally.add("calls", 1);
    this.#inFlight++;
    if (call.wasAborted) {
      this.gaveUp(call, "the caller gave the call up", options.signal?.reason);
      return answer;
    }
    this.#parts.deadlines.add(call, call.deadline);
    this.#waiting.add(call);
    return answer;
  }

  /** @throws AtlasError */
  #check(name: string): void {
    const { name: module } = this.#parts;
    if (this.#isClosing) throw wasClosed(module);
    if (this.hasEnded) throw new AtlasError("unavailable", `the balancer of ${module} failed`);
    // What there will be, nobody knows before the first is bought.
    if (this.#label && !this.exports.includes(name)) throw noFunction(module, this.#label, name);
    if (this.#waiting.size >= MAX_WAITING) {
      throw new AtlasError("overloaded", `${MAX_WAITING} calls of ${module} wait already`);
    }
  }

  /** A call was answered, or given up. */
  settled(call: ModuleCall): void {
    this.#inFlight--;
    this.#parts.deadlines.remove(call);
    this.#waiting.endWait(call);
  }

  /** Nobody waits for the answer any more: unsent it spends nothing, sent it is called off. */
  gaveUp(call: ModuleCall, what: string, cause: unknown): void {
    const { view } = call;
    if (view) {
      view.calls.delete(call.id);
      this.context.send(view.address, { kind: "abandon", id: call.id });
    }
    this.#waiting.remove(call);
    const bought = { granted: this.granted, wanted: this.#buyers.wanted };
    call.reject(givenUp(this.name, call, what, cause, bought));
  }

  /**
   * Wants so much from now on, of each order in proportion to what it asked for.
   *
   * @throws AtlasError `unavailable` where it was closed
   */
  resize(wanted: number): void {
    if (this.#isClosing) throw wasClosed(this.name);
    this.#buyers.resize(wanted);
  }

  /** Buys no more, lets what runs finish, and gives all capacity back. */
  close(): void {
    if (this.#isClosing) return;
    this.#parts.state.isClosing = true;
    if (this.hasEnded) return;
    this.#buyers.close();
    this.refuseWaiting(wasClosed(this.name));
    for (const view of [...this.#pool.views.values()]) this.#drain(view);
    this.#leaveIfDone();
  }

  protected override started(): void {
    if (this.#isClosing) this.context.defer(() => this.#leaveIfDone());
    else this.#buyers.trade();
  }

  protected override stopped(reason: string, isOver: boolean): void {
    if (isOver) this.#parts.state.isClosing = true;
    this.refuseWaiting(new AtlasError("unavailable", reason));
    for (const view of [...this.#pool.views.values()]) this.#lose(view, reason);
    if (isOver) this.#parts.onClosed();
  }

  receive(letter: BusMessage, from: Address): void {
    switch (letter.kind) {
      case "match":
      case "full":
      case "refuse":
        return this.#buyers.receive(letter, from);
      case "accept":
        return this.#accepted(letter, from);
      case "moved":
        return this.#buyers.trade(true);
      case "down":
        return this.#down(letter, from);
    }
    const view = this.#pool.views.get(from);
    if (view) this.#ofChannel(letter, view);
  }

  #accepted(letter: BusMessageOf<"accept">, from: Address): void {
    if (!this.#buyers.accepted(letter, from)) return;
    this.#parts.tally.sold();
    this.#relabel();
    this.#waiting.probeLater();
  }

  #ofChannel(letter: BusMessage, view: ChannelView): void {
    switch (letter.kind) {
      case "reply":
        this.#credit(view, letter.allowed);
        this.#replied(letter, view);
        return this.#heard(view);
      case "failure":
        this.#credit(view, letter.allowed);
        this.#failed(letter, view);
        return this.#heard(view);
      case "credit":
        this.#credit(view, letter.allowed);
        this.#heard(view);
        return this.#parts.onChange();
      case "closing":
        return this.#closing(view, letter.used);
      case "upgraded":
        return this.#upgraded(view, letter);
    }
  }

  #credit(view: ChannelView, allowed: number): void {
    const isFirst = view.allowed === 0;
    this.#pool.credit(view, allowed);
    // What it takes the place of can go now.
    if (isFirst) this.#buyers.changed(view);
  }

  /** A channel said something. What it still lacks may be on its way, or lost. */
  #heard(view: ChannelView): void {
    this.#waiting.pump();
    if (isShort(view)) this.#waiting.probeLater();
  }

  // Calls.

  #replied({ id, body }: BusMessageOf<"reply">, view: ChannelView): void {
    const call = view.calls.get(id);
    if (!call) return;
    view.calls.delete(id);
    call.answered(body, view);
  }

  #failed({ id, error: wire }: BusMessageOf<"failure">, view: ChannelView): void {
    const call = view.calls.get(id);
    if (!call) return;
    view.calls.delete(id);
    const error = fromWireError(wire);
    // It was on its way to code that has the function when other code took its place.
    const isElsewhere = error.code === "not_found" && !view.exports.has(call.name) &&
      this.exports.includes(call.name);
    const isSafe = (error.retryable || isElsewhere) && !error.maybeExecuted;
    if (isSafe && !this.#isClosing) this.#waiting.putBack([call]);
    else call.reject(error);
  }

  /** Fails all calls that wait for credit: none of them has run. */
  refuseWaiting(error: AtlasError): void {
    this.#waiting.refuse(() => error);
  }

  // Capacity.

  /** Sends no more over a channel; what runs there is still answered. */
  #drain(view: ChannelView): void {
    if (view.isDraining) return;
    this.#pool.drain(view);
    this.context.send(view.address, { kind: "drain", used: view.used });
  }

  /** Keeps only so much of a channel. */
  #lower(view: ChannelView, grant: number): void {
    this.#pool.lower(view, grant);
    const { used, returned } = view;
    this.context.send(view.address, { kind: "lower", used, grant, returned });
  }

  /** A channel takes no more requests than it took. */
  #closing(view: ChannelView, used: number): void {
    this.#pool.drain(view);
    const unread = [...view.calls].filter(([id]) => id > used);
    for (const [id] of unread) view.calls.delete(id);
    this.#waiting.putBack(unread.map(([, call]) => call));
    this.#relabel();
    this.#buyers.changed(view);
  }

  /** A channel has new code, which runs what was sent after some request. */
  #upgraded(view: ChannelView, { label, after }: BusMessageOf<"upgraded">): void {
    this.#pool.relabel(view, label, after);
    this.#relabel();
    this.#buyers.changed(view);
  }

  #down(letter: BusMessageOf<"down">, from: Address): void {
    const view = this.#pool.views.get(letter.address);
    if (view) this.#lose(view, letter.reason);
    this.#buyers.receive(letter, from);
    this.#relabel();
    this.#buyers.trade();
    this.#leaveIfDone();
  }

  /** A channel is gone: what it had not answered may or may not have run. */
  #lose(view: ChannelView, reason: string): void {
    this.#pool.remove(view);
    for (const call of view.calls.values()) {
      const message = `${this.name}.${call.name} on ${view.contact.node}: ${reason}`;
      call.reject(new AtlasError("unavailable", message, { maybeExecuted: true }));
    }
    view.calls.clear();
  }

  /** The proxy has the functions of all code in use, or that was in use last. */
  #relabel(): void {
    const label = this.#pool.inUse() ?? this.#label;
    if (label === this.#label) return;
    this.#label = label;
    this.#waiting.refuse(({ name }) =>
      this.exports.includes(name) ? null : noFunction(this.#parts.name, label, name)
    );
  }

  #leaveIfDone(): void {
    if (!this.#isClosing || this.#pool.views.size > 0 || this.hasEnded) return;
    this.context.stop(this.address, "the proxy was closed");
  }
}
