/**
 * One resource in memory: an actor on its stage, one scene at a time.
 *
 * Takes calls; gives each an answer after its turn's writes are committed under this
 * ownership's epoch. Asks the lease before each commit and each answer, after the last
 * await. What is lost once never comes back: a new ownership is a new activation.
 *
 * Source: design §3, State and Timing; §4.
 */
import type { Atlas } from "../api.ts";
import type { Placement, ResolvedType } from "../app.ts";
import { AtlasError, messageOf, toAtlasError } from "../errors.ts";
import type { Call } from "../model/call.ts";
import type { Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import type { Life } from "../registry/lease.ts";
import type { Stamp } from "../ports/store.ts";
import { Expiring } from "../time/deadlines.ts";
import { bidFarewell } from "./conflicts.ts";
import { Ledger, type LedgerTenure } from "./ledger.ts";
import { Mailbox } from "./mailbox.ts";
import { encodeResult, failureOf, reentered } from "./outcome.ts";
import type { Resource, ResourceContext, StopReason, Storage } from "./resource.ts";
import type { Stage } from "./stage.ts";
import { letGo, tellLoss } from "./tenure.ts";

/** Shared by all that have none, and never written to. */
const NO_CALLS: Call[] = [];

export class Activation extends Expiring implements ResourceContext, LedgerTenure {
  readonly key: string;
  readonly owner: Ownership;
  readonly life: Life;
  last: Stamp;
  /** When it was claimed, on the monotonic clock. */
  readonly openedAt: number;
  /** The host's sweep in which it was last used. */
  usedAt = 0;
  readonly #host: Stage<Activation>;
  readonly #type: ResolvedType;
  #state: "opening" | "open" | "closing" | "closed" = "opening";
  #instance: Resource | null = null;
  #busy = false;
  #isLettingGo = false;
  #current: Call | null = null;
  /** Turns begun: tells one from the other in call chains. */
  #turn = 0;
  /** Calls that the current one has joined: their turn waits for it. Innermost last. */
  #outer: Call[] = NO_CALLS;
  /** The calls whose turn was running when everything stopped: they have been failed. */
  #dropped: Call[] = NO_CALLS;
  #mailbox: Mailbox | null = null;
  /** Made when storage or an idempotency key is first used. */
  #ledger: Ledger | null = null;
  #node: Atlas | null = null;
  #lifetime: AbortController | null = null;
  /** Runs once the turn in progress has ended. */
  #onRest: (() => void) | null = null;
  /** Runs once this activation is over. */
  #onEnd: (() => void) | null = null;

  constructor(
    host: Stage<Activation>,
    key: string,
    type: ResolvedType,
    owner: Ownership,
    life: Life,
    last: Stamp,
  ) {
    super();
    this.#host = host;
    this.key = key;
    this.#type = type;
    this.owner = owner;
    this.life = life;
    this.last = last;
    this.openedAt = host.clock.now();
  }

  get id(): string {
    return parseKey(this.key).id;
  }

  get rrp(): string {
    return this.owner.rrp;
  }

  get epoch(): number {
    return this.owner.epoch;
  }

  get signal(): AbortSignal {
    return this.#current?.signal ?? this.lifetime;
  }

  /** Aborted once this activation is over. */
  get lifetime(): AbortSignal {
    this.#lifetime ??= new AbortController();
    if (this.#state === "closed") this.#lifetime.abort();
    return this.#lifetime.signal;
  }

  get storage(): Storage {
    return this.#book().storage;
  }

  get node(): Atlas {
    return (this.#node ??= this.#host.outlet(this));
  }

  /** The running turn's link in a chain of calls: this turn waits, and no other. */
  get link(): string {
    return `${this.key} ${this.epoch}.${this.#turn}`;
  }

  /** The call whose turn is running. */
  get current(): Call | null {
    return this.#current;
  }

  /** Which node its type wants it on. */
  get placement(): Placement {
    return this.#type.placement;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether it has let go of its name, or has asked for that: it is no owner any more. */
  get isOver(): boolean {
    return this.#state === "closed" || this.#isLettingGo;
  }

  get queued(): number {
    return this.#mailbox?.length ?? 0;
  }

  /** Whether nothing runs or waits here. */
  get isIdle(): boolean {
    return this.#state === "open" && !this.#busy;
  }

  /** Makes the instance and runs `onStart` as a turn. @throws what the user's code threw. */
  async start(): Promise<void> {
    const started = this.#hook(() => {
      this.#instance = new this.#type.class(this);
      return this.#instance?.onStart();
    });
    try {
      await Promise.race([started, this.#ended()]);
    } catch (error) {
      if (this.#state === "closed") throw error;
      await this.#release();
      this.#finish();
      throw error;
    }
    if (this.#state !== "opening") {
      throw new AtlasError("unavailable", `${this.key} was stopped while it started`);
    }
    this.#state = "open";
    this.#onEnd = null;
  }

  /** Takes a call: at once, or after those that wait. */
  deliver(call: Call): void {
    if (this.#state !== "open") return call.fail(this.lost(false));
    if (!this.#busy) return void this.#work(call);
    if (call.chain.length > 0 && call.chain.includes(this.link)) return this.#reenter(call);
    try {
      (this.#mailbox ??= new Mailbox(this.#type.mailbox)).push(call);
    } catch (error) {
      call.fail(toAtlasError(error));
    }
  }

  /**
   * Finishes the running turn, sends waiting calls away, runs `onStop`, gives the name back.
   *
   * @param handOver gives it to another node instead, which waiting calls are told of.
   */
  async close(reason: StopReason, handOver?: () => Promise<Ownership | null>): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "closing";
    if (!handOver) this.#refuse(this.lost(false));
    const ended = this.#ended();
    if (this.#busy) await Promise.race([new Promise<void>((rest) => (this.#onRest = rest)), ended]);
    if (this.isOver) return;
    try {
      await Promise.race([this.#hook(() => this.#instance?.onStop(reason)), ended]);
    } catch (error) {
      this.#host.tell("error", "onStop failed", { key: this.key, reason: messageOf(error) });
    }
    if (this.isOver) return;
    this.#isLettingGo = true;
    const next = handOver ? await handOver() : await this.#release();
    this.#finish();
    this.#refuse(this.lost(false), next);
  }

  /** Ownership is lost: everything stops at once, nothing more is committed or answered. */
  async abandon(winner: Promise<Ownership | null> | null = null): Promise<void> {
    if (this.#state === "closed") return;
    this.#stop("not_owner", `${this.key} was fenced`);
    const failed = (event: string, reason: string): void =>
      this.#host.tell("error", event, { key: this.key, reason });
    await bidFarewell(this.#instance, winner, failed);
  }

  /** A turn ran past its limit: the instance is given up, the name given back. */
  override expire(): void {
    const method = this.#current?.method ?? null;
    const { maxTurnMs } = this.#type;
    this.#host.tell("error", "turn ran too long", { key: this.key, method, maxTurnMs });
    this.#stop("timeout", `${this.key} was stopped: a call ran too long`);
    this.#release();
  }

  #stop(code: "not_owner" | "timeout", why: string): void {
    this.#finish();
    if (this.#current) this.#dropped = [this.#current, ...this.#outer];
    for (const call of this.#dropped) {
      // One that has not begun (its turn noticed the lapse) may safely go elsewhere.
      const error = new AtlasError(code, why, { maybeExecuted: call.started });
      call.fail(error);
      call.interrupt(error);
    }
    this.#refuse(this.lost(false));
    this.#ledger?.drop();
  }

  #finish(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#host.deadlines.remove(this);
    this.#lifetime?.abort();
    this.#onEnd?.();
    this.#host.closed(this);
  }

  #ended(): Promise<void> {
    return new Promise((resolve) => (this.#onEnd = resolve));
  }

  /** Sends waiting calls away, to `next` where that is known. */
  #refuse(error: AtlasError, next: Ownership | null = null): void {
    const mailbox = this.#mailbox;
    for (let call = mailbox?.shift(); call; call = mailbox?.shift()) call.fail(error, next);
  }

  #release(): Promise<null> {
    this.#isLettingGo = true;
    return letGo(this.#host, this);
  }

  /**
   * Works off `first`, then what waits, a turn each: a call, its writes and its answer.
   * Never rejects.
   */
  async #work(first: Call): Promise<void> {
    for (let call: Call | null = first; call; call = this.#next()) {
      const now = this.#enter(call);
      let isAtUser = false;
      try {
        if (now >= call.deadline) {
          throw new AtlasError("timeout", "the deadline passed in the mailbox");
        }
        if (!this.life.lease.holds()) throw this.lost(false);
        const { idempotencyKey } = call;
        if (idempotencyKey !== null && await this.#repeat(call, idempotencyKey)) continue;
        if (call.done) continue;
        const method = this.#host.method(this.#type, call);
        const args = call.arguments();
        call.started = isAtUser = true;
        const result = await method.apply(this.#instance, args);
        const encoded = encodeResult(call, result);
        isAtUser = false;
        if (idempotencyKey !== null) {
          await this.#book().commitAnswer(call, idempotencyKey, result);
          this.#host.stats.commits++;
        } else if (this.#ledger?.isDirty) await this.#commit(this.#ledger);
        if (!this.holds()) throw this.lost(true);
        call.succeed(encoded, this.owner);
      } catch (error) {
        // A call that was sent elsewhere is not this turn's any more.
        if (!this.#dropped.includes(call)) call.fail(failureOf(this.#host, call, error, isAtUser));
      } finally {
        this.#leave();
      }
    }
  }

  /** The next call of the mailbox, where there is one and it may be served. */
  #next(): Call | null {
    return this.#state === "open" && this.#mailbox !== null ? this.#mailbox.shift() : null;
  }

  #enter(call: Call | null): number {
    const now = this.#host.clock.now();
    this.#busy = true;
    this.#current = call;
    this.#turn++;
    this.usedAt = this.#host.sweeps;
    this.#host.stats.turns++;
    this.#ledger?.begin();
    this.#host.deadlines.add(this, now + this.#type.maxTurnMs);
    return now;
  }

  #leave(): void {
    this.#ledger?.drop();
    this.#host.deadlines.remove(this);
    this.#current = null;
    this.#busy = false;
    this.#onRest?.();
  }

  /** Answers a call whose idempotency key was answered before. */
  async #repeat(call: Call, idempotencyKey: string): Promise<boolean> {
    const answered = await this.#book().find(call, idempotencyKey);
    // Read as the owner, or not worth an answer.
    if (!this.life.lease.holds()) throw this.lost(false);
    if (answered) call.succeed(call.encode(answered.result), this.owner);
    return answered !== undefined;
  }

  async #commit(ledger: Ledger): Promise<void> {
    await ledger.commit();
    this.#host.stats.commits++;
  }

  #book(): Ledger {
    if (!this.#ledger) {
      this.#ledger = new Ledger(this.#host, this);
      if (this.#busy) this.#ledger.begin();
    }
    return this.#ledger;
  }

  holds(): boolean {
    return this.#state !== "closed" && this.life.lease.holds();
  }

  fenced(): void {
    this.#host.tell("warning", "ownership is lost", { key: this.key, epoch: this.epoch });
    this.#host.fenced(this);
  }

  behind(last: Stamp): void {
    tellLoss(this.#host, this, last);
    this.#stop("not_owner", `${this.key} was stopped: the store lost turns of it`);
    this.#release();
  }

  lost(maybeExecuted: boolean): AtlasError {
    const why = `this node's ownership of ${this.key} has ended`;
    return new AtlasError("not_owner", why, { maybeExecuted });
  }

  /** Runs a hook as a turn of its own. @throws what it threw; its writes are dropped then. */
  async #hook(run: () => void | Promise<void>): Promise<void> {
    this.#enter(null);
    try {
      await run();
      if (this.#ledger?.isDirty) await this.#commit(this.#ledger);
      if (!this.life.lease.holds()) throw this.lost(false);
    } finally {
      this.#leave();
    }
  }

  /** A call of a chain that waits for this very turn: joins it, or fails at once. */
  #reenter(call: Call): void {
    if (this.#type.reentrant) this.#join(call);
    else call.fail(reentered(this.key, [...call.chain, this.link]));
  }

  /** Runs a call within the turn that waits for it: its writes go with that turn's. */
  async #join(call: Call): Promise<void> {
    const outer = this.#current as Call;
    this.#outer = [...this.#outer, outer];
    this.#current = call;
    try {
      if (call.idempotencyKey !== null) {
        throw new AtlasError("bad_request", "a reentrant call can't have an idempotency key");
      }
      const method = this.#host.method(this.#type, call);
      const args = call.arguments();
      call.started = true;
      const encoded = encodeResult(call, await method.apply(this.#instance, args));
      if (!this.holds()) throw this.lost(true);
      call.succeed(encoded, this.owner);
    } catch (error) {
      if (!this.#dropped.includes(call)) {
        call.fail(failureOf(this.#host, call, error, call.started));
      }
    } finally {
      if (this.#current === call) this.#current = outer;
      this.#outer = this.#outer.filter((other) => other !== outer);
    }
  }
}
