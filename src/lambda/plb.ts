/**
 * PLB, the probabilistic load balancer: a buyer with a purse full of tokens, each good
 * for one request at the shop that gave it.
 *
 * Takes calls of its proxy; `match` of the broker, `accept` and `refuse` of listeners,
 * `reply`, `failure`, `credit`, `closing` and `upgraded` of channels, and `down`. Gives
 * `order` to the broker, `open` to listeners, `request`, `abandon`, `probe` and `drain` to
 * channels. A call without a token waits, first come first served; one that is given up
 * by then spends none. Capacity that is lost is bought again.
 *
 * Source: design §5, PLB and Hot code load.
 */
import { AtlasError, fromWireError } from "../errors.ts";
import { MAX_WAITING } from "../limits.ts";
import type { Timer } from "../ports/clock.ts";
import type { Deadlines } from "../time/deadlines.ts";
import type { Address } from "./address.ts";
import type { ModuleCallOptions, ModuleCallResult, PlbStats } from "./api.ts";
import { Buyer, type BuyerParts } from "./buyer.ts";
import type { Label, Letter, LetterOf } from "./letters.ts";
import type { CallTally } from "./meter.ts";
import { accepts } from "./module.ts";
import { givenUp, ModuleCall, type ModuleCallKeeper } from "./module_call.ts";
import { noFunction, WaitingRoom, wasClosed } from "./module_call.ts";
import { Part } from "./part.ts";
import { type Bias, type ChannelView, Pool } from "./pool.ts";

/** How often sellers are asked how much they allow while calls wait or no word came, ms. */
const PROBE_MS = 1_000;

export interface PlbParts extends BuyerParts {
  readonly bias: Bias;
  readonly noWait: boolean;
  readonly callTimeoutMs: number;
  readonly deadlines: Deadlines;
  readonly tally: CallTally;
  /** Something about its capacity changed. */
  readonly onChange: () => void;
  /** It was closed, and has given all capacity back. */
  readonly onClosed: () => void;
}

export class PlbPart extends Part implements ModuleCallKeeper {
  readonly #parts: PlbParts;
  readonly #pool: Pool;
  readonly #buyer: Buyer;
  readonly #waiting = new WaitingRoom();
  #label: Label | null = null;
  #probe: Timer | null = null;
  #isClosing = false;
  #inFlight = 0;

  constructor(parts: PlbParts) {
    super();
    this.#parts = parts;
    const region = (): string => this.desk.self().region;
    this.#pool = new Pool(parts.bias, region, () => this.desk.chance());
    this.#buyer = new Buyer(parts, this.#pool, {
      desk: () => this.desk,
      drain: (view) => this.#drain(view),
      onChange: parts.onChange,
    });
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
    const { wanted } = this.#buyer;
    return this.#pool.granted >= wanted && this.#pool.allowed >= wanted;
  }

  /** Calls that are not settled. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** What is asked for, in words. */
  get asked(): string {
    const { name, range } = this.#parts;
    return `capacity ${this.#buyer.wanted} of ${name}, ${range ?? "newest version"}`;
  }

  stats(): PlbStats {
    const channels = this.#pool.stats();
    return {
      module: this.#parts.name,
      version: this.#pool.newest()?.version ?? null,
      wanted: this.#buyer.wanted,
      granted: this.#pool.granted,
      tokens: this.#pool.tokens,
      waiting: this.#waiting.size,
      running: channels.reduce((sum, channel) => sum + channel.running, 0),
      ...this.#parts.tally.own,
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
      call = new ModuleCall(this, name, args, options, this.#parts, this.desk.now());
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
    // Those that came before go first.
    const view = this.#waiting.size === 0 ? this.#pool.pick(name) : null;
    if (view) this.#sendOut(call, view);
    else this.#wait(call);
    return answer;
  }

  /** @throws AtlasError */
  #check(name: string): void {
    const { name: module } = this.#parts;
    if (this.#isClosing) throw wasClosed(module);
    // What there will be, nobody knows before the first is bought.
    if (this.#label && !this.exports.includes(name)) throw noFunction(module, this.#label, name);
    if (this.#waiting.size >= MAX_WAITING) {
      throw new AtlasError("overloaded", `${MAX_WAITING} calls of ${module} wait already`);
    }
  }

  #wait(call: ModuleCall): void {
    if (call.noWait) {
      return call.reject(new AtlasError("overloaded", `no credit for ${this.#parts.name} now`));
    }
    call.waitsSince = this.desk.now();
    this.#parts.tally.add("waits", 1);
    this.#waiting.add(call);
    this.#pump();
    this.#probeLater();
  }

  /** A call was answered, or given up. */
  settled(call: ModuleCall): void {
    this.#inFlight--;
    this.#parts.deadlines.remove(call);
    this.#endWait(call);
  }

  /** Nobody waits for the answer any more: unsent it spends nothing, sent it is called off. */
  gaveUp(call: ModuleCall, what: string, cause: unknown): void {
    const { view } = call;
    if (view) {
      view.calls.delete(call.id);
      this.desk.send(view.address, { kind: "abandon", id: call.id });
    }
    this.#waiting.remove(call);
    const bought = { granted: this.granted, wanted: this.#buyer.wanted };
    call.reject(givenUp(this.name, call, what, cause, bought));
  }

  /** Wants so much from now on. @throws AtlasError `unavailable` where it was closed. */
  resize(wanted: number): void {
    if (this.#isClosing) throw wasClosed(this.name);
    this.#buyer.resize(wanted);
  }

  /** Buys no more, lets what runs finish, and gives all capacity back. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#buyer.close();
    this.refuseWaiting(wasClosed(this.name));
    for (const view of [...this.#pool.views.values()]) this.#drain(view);
    this.#leaveIfDone();
  }

  protected override started(): void {
    this.#buyer.trade();
  }

  protected override stopped(): void {
    this.#isClosing = true;
    this.refuseWaiting(new AtlasError("unavailable", "the node was closed"));
    for (const view of [...this.#pool.views.values()]) this.#lose(view, "the node was closed");
    this.#parts.onClosed();
  }

  receive(letter: Letter, from: Address): void {
    switch (letter.kind) {
      case "match":
        return this.#buyer.matched(letter);
      case "accept":
        if (!this.#buyer.accepted(letter, from)) return;
        this.#parts.tally.sold();
        this.#relabel();
        return this.#probeLater();
      case "refuse":
        return this.#buyer.refused(letter.nonce, from);
      case "moved":
        return this.#buyer.trade(true);
      case "down":
        return this.#down(letter.address, letter.reason);
    }
    const view = this.#pool.views.get(from);
    if (view) this.#ofChannel(letter, view);
  }

  #ofChannel(letter: Letter, view: ChannelView): void {
    switch (letter.kind) {
      case "reply":
        this.#pool.credit(view, letter.allowed);
        this.#replied(letter, view);
        return this.#pump();
      case "failure":
        this.#pool.credit(view, letter.allowed);
        this.#failed(letter, view);
        return this.#pump();
      case "credit":
        this.#pool.credit(view, letter.allowed);
        this.#pump();
        return this.#parts.onChange();
      case "closing":
        return this.#closing(view, letter.used);
      case "upgraded":
        return this.#upgraded(view, letter.label);
    }
  }

  // Calls.

  /** Gives waiting calls the credit in hand, first come first served. */
  #pump(): void {
    if (this.#waiting.size === 0) return;
    for (const call of this.#waiting) {
      if (this.#pool.tokens === 0) return;
      const view = this.#pool.pick(call.name);
      if (!view) continue;
      this.#waiting.remove(call);
      this.#endWait(call);
      this.#sendOut(call, view);
    }
  }

  #sendOut(call: ModuleCall, view: ChannelView): void {
    this.#pool.spend(view, call);
    const timeoutMs = Math.max(1, Math.ceil(call.deadline - this.desk.now()));
    const { id, name, body } = call;
    this.desk.send(view.address, { kind: "request", id, name, timeoutMs, body });
  }

  #endWait(call: ModuleCall): void {
    if (call.waitsSince === 0) return;
    this.#parts.tally.add("waitedMs", this.desk.now() - call.waitsSince);
    call.waitsSince = 0;
  }

  #replied({ id, body }: LetterOf<"reply">, view: ChannelView): void {
    const call = view.calls.get(id);
    if (!call) return;
    view.calls.delete(id);
    call.answered(body, view);
  }

  #failed({ id, error: wire }: LetterOf<"failure">, view: ChannelView): void {
    const call = view.calls.get(id);
    if (!call) return;
    view.calls.delete(id);
    const error = fromWireError(wire);
    const isSafe = error.retryable && !error.maybeExecuted;
    if (isSafe && !this.#isClosing) this.#putBack([call]);
    else call.reject(error);
  }

  /** Calls that surely did not run go elsewhere, before those that came later. */
  #putBack(calls: readonly ModuleCall[]): void {
    for (const call of calls) {
      call.view = null;
      call.waitsSince = this.desk.now();
    }
    this.#waiting.putBack(calls);
    this.#pump();
    this.#probeLater();
  }

  /** Calls wait, and nobody lets them: perhaps a word got lost. */
  #probeLater(): void {
    if (this.#probe || (this.#waiting.size === 0 && !this.#pool.isStarved)) return;
    this.#probe = this.desk.after(PROBE_MS, () => {
      this.#probe = null;
      for (const { address, used } of this.#pool.spent()) {
        this.desk.send(address, { kind: "probe", used });
      }
      this.#probeLater();
    });
  }

  /** Fails all calls that wait for credit: none of them has run. */
  refuseWaiting(error: AtlasError): void {
    for (const call of [...this.#waiting]) {
      this.#waiting.remove(call);
      call.reject(error);
    }
  }

  // Capacity.

  /** Sends no more over a channel; what runs there is still answered. */
  #drain(view: ChannelView): void {
    if (view.isDraining) return;
    this.#pool.drain(view);
    this.desk.send(view.address, { kind: "drain", used: view.used });
  }

  /** A channel takes no more requests than it took. */
  #closing(view: ChannelView, used: number): void {
    this.#pool.drain(view);
    const unread = [...view.calls].filter(([id]) => id > used);
    for (const [id] of unread) view.calls.delete(id);
    this.#putBack(unread.map(([, call]) => call));
    this.#relabel();
    this.#buyer.trade();
  }

  /** A listener has new code. */
  #upgraded(view: ChannelView, { version, hash }: Label): void {
    if (view.isDraining || view.isReplaced || this.#isClosing) return;
    if (hash === view.label.hash || !accepts(this.#parts.range, version)) return;
    this.#buyer.replace(view, view.grant);
  }

  #down(address: Address, reason: string): void {
    const view = this.#pool.views.get(address);
    if (view) this.#lose(view, reason);
    this.#buyer.down(address);
    this.#relabel();
    this.#buyer.trade();
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

  /** The proxy is that of the newest code in use, or that was in use last. */
  #relabel(): void {
    const label = this.#pool.newest() ?? this.#label;
    if (label === this.#label) return;
    this.#label = label;
    for (const call of [...this.#waiting]) {
      if (this.exports.includes(call.name)) continue;
      this.#waiting.remove(call);
      call.reject(noFunction(this.#parts.name, label, call.name));
    }
  }

  #leaveIfDone(): void {
    if (!this.#isClosing || this.#pool.views.size > 0 || this.hasEnded) return;
    this.desk.dismiss(this.address, "the proxy was closed");
  }
}
