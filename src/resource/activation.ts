/**
 * One resource in memory, which takes one turn at a time. Takes calls; gives each an answer
 * after its turn's writes are committed under this ownership's epoch.
 *
 * Checks the lease before each commit and each answer, after the last await. An ownership that is
 * lost is never regained: a new ownership is a new activation.
 *
 * Source: `docs/design.md`, State; Membership and leases; Calls.
 */
import type { Atlas } from "../api/node.ts";
import type { Resource, ResourceContext, StopReason, Storage } from "../api/resource.ts";
import {
  AtlasError,
  type ErrorCode,
  isAtlasError,
  messageOf,
  stackOf,
  toAtlasError,
} from "../errors.ts";
import { EventBroadcaster } from "../events/broadcaster.ts";
import { PRUNE_DELAY_MS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Stamp } from "../ports/store.ts";
import type { NodeLife } from "../registry/lease.ts";
import { Signal } from "../time/wait.ts";
import { type ActivationHost, type HostedType, methodOf } from "./activation_host.ts";
import { Mailbox } from "./mailbox.ts";
import { OwnedKey, TurnDeadline } from "./owned_key.ts";
import { releaseOwnership, tellLoss } from "./reassertion.ts";
import { currentTurn, runTurn, settled, Turn, turnOf } from "./turn.ts";
import { type CommittingOwnership, TurnCommit } from "./turn_commit.ts";

/** Marks a running hook, which has no call. */
const HOOK = "hook";

export class Activation extends OwnedKey implements ResourceContext, CommittingOwnership {
  /** The number of the host's sweep in which it was last used. */
  usedAt = 0;
  readonly #host: ActivationHost<Activation>;
  #state: "opening" | "open" | "closing" | "releasing" | "closed" = "opening";
  #instance: Resource | null = null;
  /** The running call, or that a hook runs; null if nothing runs. */
  #current: Call | typeof HOOK | null = null;
  /** Turns begun: identifies a turn in call chains. */
  #turn = 0;
  /** Made when storage or an idempotency key is first used. */
  #turnCommit: TurnCommit | null = null;
  /** The time limit of the running turn, once that turn waits for something. */
  #deadline: TurnDeadline | null = null;

  constructor(
    host: ActivationHost<Activation>,
    key: string,
    type: HostedType,
    owner: Ownership,
    life: NodeLife,
    last: Stamp,
  ) {
    super(key, type, owner, life, last, host.lineageMark, host.clock.now());
    this.#host = host;
    // Stores without one write order don't report the last turn.
    if (host.store.recheckMs !== undefined) this.pruneAt = this.openedAt + PRUNE_DELAY_MS;
  }

  get signal(): AbortSignal {
    return currentTurn(this.#host.context, this)?.call?.signal ?? this.lifetime;
  }

  get storage(): Storage {
    return this.turnCommit.storage;
  }

  get broadcaster(): EventBroadcaster {
    return (this.rare.broadcaster ??= new EventBroadcaster(this.#host, this));
  }

  get node(): Atlas {
    return (this.rare.node ??= this.#host.facadeFor(this));
  }

  /** The running turn's entry in a call chain. */
  get chainEntry(): string {
    return `${this.key} ${this.epoch}.${this.#turn}`;
  }

  /** The running call; null in hooks, and if nothing runs. */
  get #call(): Call | null {
    return this.#current === HOOK ? null : this.#current;
  }

  get #broadcaster(): EventBroadcaster | null {
    return this.rareParts === null ? null : this.rareParts.broadcaster;
  }

  get #mailbox(): Mailbox | null {
    return this.rareParts === null ? null : this.rareParts.mailbox;
  }

  /** Whether the next turn has to wait. */
  get #isHeld(): boolean {
    return this.rareParts !== null && this.rareParts.isHeld;
  }

  turn(what: string): Turn {
    return turnOf(this.#host.context, this, what);
  }

  /** Whether it may operate while its node can't reach the store. */
  get canGoOffline(): boolean {
    return this.#state === "open" && this.operatesOffline;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether its key is released, or its release was requested. It then is no longer the owner. */
  get isOver(): boolean {
    return this.#state === "closed" || this.#state === "releasing";
  }

  /** Whether nothing runs or waits here. */
  get isIdle(): boolean {
    return this.#state === "open" && this.#current === null && !this.offline &&
      !this.#broadcaster?.size;
  }

  /** Creates the instance and runs `onStart` as a turn. @throws the error of the user's code. */
  async start(): Promise<void> {
    const hasConnections = this.hasOnDisconnect && !this.offline;
    let recalled: (() => Promise<void>) | null | undefined = null;
    try {
      const started = this.#hook(() => {
        this.#instance = new this.type.class(this);
        return this.#instance?.onStart();
      });
      recalled = hasConnections ? this.broadcaster.recall() : null;
      if (started) await Promise.race([started, this.ended()]);
    } catch (error) {
      if (this.#state === "closed") throw error;
      if (!isAtlasError(error)) tellHook(this.#host, this.key, "onStart", error);
      await this.#release();
      this.#finish();
      throw error;
    }
    if (this.#state !== "opening") {
      throw new AtlasError("unavailable", `${this.key} was stopped while it started`);
    }
    this.#state = "open";
    this.end = null;
    await recalled?.();
  }

  /** Runs a call: at once, or after the calls that already wait. */
  receive(call: Call): void {
    if (this.#state !== "open") return call.fail(this.lost(false));
    if (this.#current === null && !this.#isHeld) return this.#runTurns(call);
    if (call.chain.length > 0 && call.chain.includes(this.chainEntry)) {
      return this.type.reentrant
        ? void this.#join(call)
        : call.fail(reentered(this.key, [...call.chain, this.chainEntry]));
    }
    (this.rare.mailbox ??= new Mailbox(this.type.mailbox, this.#host.stats)).offer(call);
  }

  /**
   * Finishes the running turn, redirects waiting calls, runs `onStop`, releases the key.
   *
   * @param handOver gives the key to another node instead, to which waiting calls are redirected.
   */
  async close(reason: StopReason, handOver?: () => Promise<Ownership | null>): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "closing";
    if (!handOver) this.#mailbox?.refuse(this.lost(false));
    await this.#untilIdle();
    if (this.isOver) return;
    try {
      const stopped = this.#hook(
        () => (this.#broadcaster?.markLastTurn(), this.#instance?.onStop(reason)),
      );
      if (stopped) await Promise.race([stopped, this.ended()]);
    } catch (error) {
      tellHook(this.#host, this.key, "onStop", error);
    }
    if (this.isOver) return;
    this.#state = "releasing";
    const next = handOver ? await handOver() : await this.#release();
    this.#broadcaster?.end(this.lost(false), next);
    this.#finish();
    this.#mailbox?.refuse(this.lost(false), next);
  }

  /** Makes calls wait until every subscriber has received all events sent so far. */
  async settleEvents(): Promise<void> {
    if (!this.#broadcaster?.size) return;
    await this.hold();
    await this.#broadcaster.settle();
  }

  /** Makes calls wait. Resolves once no turn runs, or this activation is closed. */
  hold(): Promise<void> {
    this.rare.isHeld = true;
    return this.#untilIdle();
  }

  /** Resumes serving calls. Calls that waited run first. */
  resume(): void {
    if (this.rareParts) this.rareParts.isHeld = false;
    const call = this.#current === null ? this.#next() : null;
    if (call) this.#runTurns(call);
  }

  /**
   * Ends offline operation under a new ownership: all turns of the offline log are in the store.
   */
  reconciled(owner: Ownership, life: NodeLife, last: Stamp): void {
    [this.owner, this.life, this.last, this.offline] = [owner, life, last, null];
    this.#turnCommit?.storage.reconciled();
  }

  /** Ownership is lost: stops at once; nothing more is committed or answered. */
  async abandon(winner: Promise<Ownership | null> | null = null): Promise<void> {
    // An instance that was stopped before still has to run `onConflict`, if it has an offline log.
    if (this.#state === "closed" && !(winner && this.offline)) return;
    this.#stop("not_owner", `${this.key} was fenced${this.#host.leaseTrouble}`);
    await runFinalHooks(this, this.#instance, winner, this.#host);
  }

  /** A turn exceeded its time limit: stops the instance and releases the key. */
  expire(): void {
    const { maxTurnMs } = this.type;
    this.#host.tell("error", "turn ran too long", { ...about(this.key, this.#call), maxTurnMs });
    this.#stop("timeout", `${this.key} was stopped: a call ran too long`);
    this.#release();
  }

  /** The node is closed while a turn runs: its result is not reported. */
  onWheelClosed(): void {
    this.#host.tell("warning", "closed during a turn", about(this.key, this.#call));
    this.#stop("unavailable", `${this.key} was stopped: the node was closed`);
    this.#release();
  }

  #stop(code: "not_owner" | "timeout" | "unavailable", why: string): void {
    this.#finish();
    const call = this.#call;
    if (call) this.rare.dropped = [call, ...this.rare.outer];
    interrupt(this.rare.dropped, code, why);
    this.#mailbox?.refuse(this.lost(false));
    this.#turnCommit?.drop();
  }

  #finish(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#endDeadline();
    this.endLifetime();
    this.#broadcaster?.end(this.lost(false));
    this.end?.notify();
    this.#host.closed(this);
  }

  /** Resolves when no turn runs, or this activation is closed. */
  async #untilIdle(): Promise<void> {
    if (this.#current === null || this.#state === "closed") return;
    await Promise.race([(this.rare.turnEnded ??= new Signal()).wait(), this.ended()]);
  }

  #release(): Promise<null> {
    if (this.#state !== "closed") this.#state = "releasing";
    // Without the store nothing can be released: the entry ends with this node's incarnation.
    return this.offline ? Promise.resolve(null) : releaseOwnership(this.#host, this);
  }

  /** Runs `first`, then the waiting calls, a turn each: the call, its writes and its answer. */
  #runTurns(first: Call): void {
    for (let call: Call | null = first; call; call = this.#next()) {
      const turn = new Turn(this, call);
      this.#enter(call);
      let isAtUser = false;
      try {
        if (!this.holds()) throw this.lost(false);
        const now = this.#turnBegan();
        if (now >= call.deadlineFrom(now)) {
          throw new AtlasError("timeout", "the deadline passed in the mailbox");
        }
        if (call.idempotencyKey !== null) return void this.#runLongTurn(turn, call, now, null);
        isAtUser = true;
        const result = this.#perform(turn, call);
        // A turn that waits for nothing ends at once: no timer could stop it meanwhile.
        if (result instanceof Promise || this.#hasEffects) {
          return void this.#runLongTurn(turn, call, now, { result });
        }
        turn.end();
        const encoded = encodeResult(call, result);
        isAtUser = false;
        if (!this.holds()) throw this.lost(true);
        this.#answer(call, encoded);
      } catch (error) {
        this.#failed(call, error, isAtUser);
      }
      this.#leave(turn);
    }
  }

  /**
   * Runs the rest of a turn that has to wait, then the waiting calls. Never rejects.
   *
   * @param ran what its method returned; null if the method has not run yet.
   */
  async #runLongTurn(
    turn: Turn,
    call: Call,
    now: number,
    ran: { readonly result: unknown } | null,
  ): Promise<void> {
    this.#limit(now);
    const { idempotencyKey } = call;
    let isAtUser = ran !== null;
    try {
      if (ran === null && (await this.#repeat(call, idempotencyKey as string) || call.done)) return;
      isAtUser = true;
      const result = await (ran === null ? this.#perform(turn, call) : ran.result);
      turn.end();
      const encoded = encodeResult(call, result);
      if (this.#broadcaster?.hasPending) await this.#broadcaster.reserveNumbers();
      isAtUser = false;
      if (idempotencyKey !== null) {
        await this.turnCommit.commitAnswer(call, idempotencyKey, result);
      } else if (this.#turnCommit?.isDirty) await this.#turnCommit.commit(call);
      if (!this.holds()) throw this.lost(true);
      if (this.#broadcaster?.hasPending) this.#broadcaster.flush();
      this.#answer(call, encoded);
    } catch (error) {
      this.#failed(call, error, isAtUser);
    } finally {
      this.#leave(turn);
      const next = this.#next();
      if (next) this.#runTurns(next);
    }
  }

  /** Whether the running turn wrote anything or sent events. */
  get #hasEffects(): boolean {
    return this.#turnCommit?.isDirty === true || this.#broadcaster?.hasPending === true;
  }

  /** Whether the activation was stopped in a turn of this call, which has failed then. */
  #isDropped(call: Call): boolean {
    return this.rareParts !== null && this.rareParts.dropped.includes(call);
  }

  #failed(call: Call, error: unknown, isAtUser: boolean): void {
    // A call that was redirected doesn't belong to this turn any more.
    if (!this.#isDropped(call)) call.fail(failureOf(this.#host, call, error, isAtUser));
  }

  /** The time, at most 1 ms ago. To be read after a check of the lease. */
  #turnBegan(): number {
    return this.offline ? this.#host.clock.now() : this.life.lease.checkedAt;
  }

  /** The next call of the mailbox; null if it is empty or no call may be served now. */
  #next(): Call | null {
    return this.isOpen && !this.#isHeld ? this.#mailbox?.shift() ?? null : null;
  }

  #enter(call: Call | typeof HOOK): void {
    this.#current = call;
    this.#turn++;
    this.usedAt = this.#host.sweeps;
    this.#host.stats.turns++;
    this.#turnCommit?.begin();
  }

  #leave(turn: Turn): void {
    turn.end();
    this.#turnCommit?.drop();
    this.#broadcaster?.drop();
    this.#endDeadline();
    this.#current = null;
    this.rareParts?.turnEnded?.notify();
  }

  /** Limits the time of the running turn, which began at `now`. */
  #limit(now: number): void {
    this.#deadline = new TurnDeadline(this);
    this.#host.deadlines.add(this.#deadline, now + this.type.maxTurnMs);
  }

  #endDeadline(): void {
    if (this.#deadline === null) return;
    this.#host.deadlines.remove(this.#deadline);
    this.#deadline = null;
  }

  /** Answers the caller. Adds a verdict if the store can't be reached. */
  #answer(call: Call, encoded: unknown): void {
    call.succeed(encoded, this, this.offline?.answered() ?? null);
  }

  /** Answers a call whose idempotency key was answered before. */
  async #repeat(call: Call, idempotencyKey: string): Promise<boolean> {
    const answered = await this.turnCommit.find(call, idempotencyKey);
    // Counts only if this activation still is the owner.
    if (!this.holds()) throw this.lost(false);
    if (answered) this.#answer(call, call.encode(answered.result));
    // The offline log also records the answer.
    else this.offline?.checkRoom(this.key);
    return answered !== undefined;
  }

  get turnCommit(): TurnCommit {
    if (!this.#turnCommit) {
      this.#turnCommit = new TurnCommit(this.#host, this);
      if (this.#current !== null) this.#turnCommit.begin();
    }
    return this.#turnCommit;
  }

  holds(): boolean {
    // Checked in this order, because the check of the lease may take the resource offline.
    return this.#state !== "closed" && (this.life.lease.holds() || this.offline !== null);
  }

  fenced(): void {
    this.#host.tell("warning", "ownership is lost", { key: this.key, epoch: this.epoch });
    this.#host.fenced(this);
  }

  behind(last: Stamp): void {
    tellLoss(this.#host, this, last);
    this.last = last;
    this.#stop("not_owner", `${this.key} was stopped: the store lost turns of it`);
    this.#release();
  }

  /** Runs a call's method as `turn`. */
  #perform(turn: Turn, call: Call): unknown {
    const { context } = this.#host;
    const method = methodOf(this.type, call);
    const args = call.arguments();
    call.started = true;
    return context.run(turn, () => settled(method.apply(this.#instance, args)));
  }

  /**
   * Runs a hook as a turn of its own. Null: it has ended already.
   *
   * @throws the hook's error, or rejects with it; its writes are then dropped.
   */
  #hook(run: () => void | Promise<void>): Promise<void> | null {
    const turn = new Turn(this, null);
    this.#enter(HOOK);
    let isLong = false;
    try {
      const ran = runTurn(this.#host.context, turn, run);
      isLong = ran instanceof Promise || this.#hasEffects;
      if (isLong) return this.#runLongHook(turn, ran);
      turn.end();
      if (!this.life.lease.holds() && !this.offline) throw this.lost(false);
      return null;
    } finally {
      if (!isLong) this.#leave(turn);
    }
  }

  /** Runs the rest of a hook that has to wait. @throws as {@link #hook} */
  async #runLongHook(turn: Turn, ran: void | Promise<void>): Promise<void> {
    this.#limit(this.#host.clock.now());
    try {
      await ran;
      turn.end();
      if (this.#broadcaster?.hasPending) await this.#broadcaster.reserveNumbers();
      if (this.#turnCommit?.isDirty) await this.#turnCommit.commit();
      if (!this.life.lease.holds() && !this.offline) throw this.lost(false);
      if (this.#broadcaster?.hasPending) this.#broadcaster.flush();
    } finally {
      this.#leave(turn);
    }
  }

  /** Runs a call within the turn that waits for it. Its writes are committed with that turn's. */
  async #join(call: Call): Promise<void> {
    const outer = this.#current as Call;
    const turn = new Turn(this, call);
    this.rare.outer = [...this.rare.outer, outer];
    this.#current = call;
    try {
      if (call.idempotencyKey !== null) {
        throw new AtlasError("bad_request", "a reentrant call can't have an idempotency key");
      }
      const encoded = encodeResult(call, await this.#perform(turn, call));
      if (!this.holds()) throw this.lost(true);
      this.#answer(call, encoded);
    } catch (error) {
      if (!this.#isDropped(call)) {
        call.fail(failureOf(this.#host, call, error, call.started));
      }
    } finally {
      turn.end();
      if (this.#current === call) this.#current = outer;
      this.rare.outer = this.rare.outer.filter((other) => other !== outer);
    }
  }
}

/** Encodes the result; one that can't be encoded is the user's error. */
export function encodeResult(call: Call, result: unknown): unknown {
  try {
    return call.encode(result);
  } catch (error) {
    const why = isAtlasError(error) ? error.message : messageOf(error);
    throw new AtlasError("app", `${call.method}: ${why}`, { maybeExecuted: true });
  }
}

/**
 * The error of a call whose method had begun, for its caller: the code stays, with
 * `maybeExecuted` set. Its own writes are dropped; the effects of calls that it made are not.
 */
export function executed(error: unknown): AtlasError {
  const { code, retryable } = toAtlasError(error);
  return new AtlasError(code, messageOf(error), { retryable, maybeExecuted: true, cause: error });
}

/** The error of a call, for its caller; errors of the user's code are logged. */
export function failureOf(
  host: Pick<ActivationHost<unknown>, "tell">,
  { key, method, started, trace }: Call,
  error: unknown,
  isAtUser: boolean,
): AtlasError {
  if (isAtUser && !isAtlasError(error)) {
    const stack = stackOf(error);
    host.tell("error", "method threw", { key, method, stack, traceparent: trace });
  }
  return started ? executed(error) : toAtlasError(error);
}

/** The running turn, for logs: its method is null in hooks. */
export function about(
  key: string,
  call: Call | null,
): { key: string; method: string | null; traceparent: string | null } {
  return { key, method: call?.method ?? null, traceparent: call?.trace ?? null };
}

/** Logs a hook's error, with its stack. */
export function tellHook(
  host: Pick<ActivationHost<unknown>, "tell">,
  key: string,
  hook: string,
  error: unknown,
): void {
  host.tell("error", `${hook} failed`, { key, method: hook, stack: stackOf(error) });
}

/** Fails the calls of a turn that was ended early. */
export function interrupt(calls: readonly Call[], code: ErrorCode, why: string): void {
  for (const call of calls) {
    // A call that has not begun (its turn noticed the lapse) can safely be redirected.
    const error = new AtlasError(code, why, { maybeExecuted: call.started });
    call.fail(error);
    call.interrupt(error);
  }
}

/** The error for a call that came back to `key`, which is busy with the last turn of `chain`. */
export function reentered(key: string, chain: readonly string[]): AtlasError {
  const keys = chain.map((entry) => entry.slice(0, entry.indexOf(" ")));
  const message = `${key} is busy with the call that led here: ${keys.join(" → ")}`;
  return new AtlasError("reentrant_call", message);
}

/**
 * Runs the final hooks of an instance whose ownership is lost: `onConflict` if there is a winner,
 * then `onStop`. Never rejects; errors of hooks are logged.
 */
export async function runFinalHooks(
  of: { readonly key: string },
  instance: Resource | null,
  winner: Promise<Ownership | null> | null,
  host: Pick<ActivationHost<unknown>, "context" | "tell">,
): Promise<void> {
  await null;
  // Both may use storage and other members that need a turn, as far as available; neither has a
  // call.
  const turn = new Turn(of, null);
  const run = (hook: () => unknown): unknown => runTurn(host.context, turn, hook);
  try {
    const owner = await winner;
    if (owner) await run(() => instance?.onConflict(owner));
  } catch (error) {
    tellHook(host, of.key, "onConflict", error);
  }
  try {
    await run(() => instance?.onStop("fenced"));
  } catch (error) {
    tellHook(host, of.key, "onStop", error);
  }
  turn.end();
}
