/**
 * Holds this node's activations, at most one for each key.
 *
 * Turns any number of calls for an unowned key into one claim. Releases idle activations, and
 * all of them when the node drains. When its lease has lapsed it stops them, and releases nothing.
 *
 * Source: `docs/design.md`, Claims; Calls.
 */
import type { Placement } from "../api/app.ts";
import type { DrainOptions } from "../api/calls.ts";
import type { Atlas, NodeEvent } from "../api/node.ts";
import type { StopReason } from "../api/resource.ts";
import { AtlasError, messageOf } from "../errors.ts";
import { SubscriberReaper } from "../events/subscriber.ts";
import { DEFAULT_DECLINE_MS, MAX_DECLINE_MS, MAX_DECLINED, PRUNE_DELAY_MS } from "../limits.ts";
import { checkOptions, type OptionNames, quoted } from "../model/options.ts";
import type { Ownership } from "../model/ownership.ts";
import { checkPrefix, isUnder, rrpAt } from "../model/rrp.ts";
import type { AsyncContext } from "../ports/async_context.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { LineageName, Overtaken, Store } from "../ports/store.ts";
import type { NodeLife } from "../registry/lease.ts";
import { quarantined } from "../registry/lineage.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { Activation } from "./activation.ts";
import {
  type ActivationHost,
  checkRoom,
  type HostedType,
  hostedType,
  type HostParts,
  noTurns,
  type TurnStats,
} from "./activation_host.ts";
import { Conflicts } from "./conflicts.ts";
import { ExpiredAnswers, tidy } from "./expired_answers.ts";
import { FormerOwnerships } from "./former_ownerships.ts";
import { reassertAll, tellLostState } from "./reassertion.ts";
import { Reconciliation } from "./reconciliation.ts";

/** The longest interval between sweeps for idle resources, in ms. */
const SWEEP_MS = 1_000;

/** The result of opening a key: an activation here, or another node's ownership. */
type Opened = Activation | Ownership;

/** Releases a key to another node, and resolves to its next owner. MUST NOT reject. */
type HandOver = () => Promise<Ownership | null>;

export class Host implements ActivationHost<Activation> {
  readonly store: Store;
  readonly clock: Clock;
  readonly context: AsyncContext;
  readonly random: Random;
  readonly deadlines: TimerWheel;
  readonly facadeFor: (from: Activation) => Atlas;
  readonly stats: TurnStats = noTurns();
  readonly #parts: HostParts;
  readonly #types = new Map<string, HostedType>();
  readonly #activations = new Map<string, Activation>();
  /** Claims in progress, one for each key. */
  readonly #opening = new Map<string, Promise<Opened>>();
  /** Claimed, and running `onStart`. */
  readonly #starting = new Set<Activation>();
  /** Activations that are closing. Their key is free when they have ended. */
  readonly #closing = new Map<string, Promise<void>>();
  /** Activations that are closing; what `#closing` has for a key may also be other work. */
  readonly #ending = new Set<Activation>();
  readonly #idle: IdleSweep<Activation>;
  readonly #conflicts: Conflicts;
  readonly #drained: DrainedPrefixes;
  readonly #formerOwnerships: FormerOwnerships;
  readonly #expiredAnswers: ExpiredAnswers;
  readonly reaper: SubscriberReaper;
  /** Activations that operate without the store. */
  readonly reconciliation: Reconciliation;
  #life: NodeLife | null = null;
  /** The life whose lease lapsed while the store was out of reach; null once it is back. */
  #former: NodeLife | null = null;
  #accepting = false;
  #isDraining = false;

  constructor(parts: HostParts) {
    this.#parts = parts;
    ({
      store: this.store,
      clock: this.clock,
      context: this.context,
      random: this.random,
      deadlines: this.deadlines,
      facadeFor: this.facadeFor,
    } = parts);
    let shortest = SWEEP_MS * 4;
    for (const type of parts.types.values()) shortest = Math.min(shortest, type.idleAfterMs);
    for (const [name, type] of parts.types) {
      this.#types.set(name, hostedType(name, type, parts.place));
    }
    this.#idle = new IdleSweep({
      clock: this.clock,
      everyMs: shortest / 4,
      all: () => this.#activations.values(),
      look: (activation) => this.#look(activation),
    });
    this.#drained = new DrainedPrefixes(parts.clock);
    this.#formerOwnerships = new FormerOwnerships(this, parts.claims);
    this.reaper = new SubscriberReaper(parts.clock, parts.isDead);
    this.reconciliation = new Reconciliation({ ...parts, host: this });
    this.#expiredAnswers = new ExpiredAnswers({
      ...parts,
      host: this,
      lifeFor: (key) => this.#mayOwn(key) ? this.#life : null,
      hold: (key, work) => this.#closing.set(key, work.finally(() => this.#closing.delete(key))),
    });
    this.#conflicts = new Conflicts(this, () => this.#activations.values());
  }

  get size(): number {
    return this.#activations.size;
  }

  get sweeps(): number {
    return this.#idle.count;
  }

  get leaseTrouble(): string {
    return this.#parts.leaseTrouble();
  }

  get lineage(): string | undefined {
    return this.#parts.claims.present?.id;
  }

  get lineageMark(): string | undefined {
    return this.#parts.claims.presentMark;
  }

  /** Starts serving as `life`. */
  open(life: NodeLife): void {
    this.#life = life;
    this.#former = null;
    this.#accepting = !this.#isDraining;
    this.reconciliation.open(life);
    this.#idle.start();
    this.#conflicts.watch();
  }

  /** Whether this node may own a resource of this type now. */
  canHost(type: string, key: string): boolean {
    return this.#accepting && this.#types.has(type) && !this.#isDrained(key) &&
      this.#life?.lease.holds() === true;
  }

  /** Whether resources of this type are part of the app at all. */
  knows(type: string): boolean {
    return this.#types.has(type);
  }

  /** A type's placement; `local` if this node doesn't know the type. */
  placement(type: string): Placement {
    return this.#types.get(type)?.placement ?? "local";
  }

  /** The resource, if it is here and accepts calls. */
  find(key: string): Activation | undefined {
    return this.#activations.get(key);
  }

  /**
   * Resolves to a key's owner: an activation here, or the live owner elsewhere.
   *
   * @throws AtlasError `unavailable`, `overloaded`, or what the resource's start threw.
   */
  acquire(key: string, type: string): Promise<Opened> {
    return this.#once(key, () => this.#acquire(key, type));
  }

  /** Makes one claim for all calls of a key that isn't here. */
  #once(key: string, open: () => Promise<Opened>): Promise<Opened> {
    const present = this.#activations.get(key) ?? this.#opening.get(key);
    if (present) return Promise.resolve(present);
    const opening = this.#opened(key, open);
    this.#opening.set(key, opening);
    return opening;
  }

  async #opened(key: string, open: () => Promise<Opened>): Promise<Opened> {
    try {
      return await open();
    } finally {
      this.#opening.delete(key);
    }
  }

  async #acquire(key: string, type: string): Promise<Opened> {
    await this.#closing.get(key);
    const life = this.#life;
    const resolved = this.#types.get(type);
    if (!resolved || !life || !this.canHost(type, key)) {
      throw new AtlasError("unavailable", `this node can't take ${key} now`);
    }
    if (this.reconciliation.has(key)) {
      throw new AtlasError("unavailable", `offline turns of ${key} are not committed yet`);
    }
    checkRoom(this.#activations.size + this.#opening.size);
    const { claims, place } = this.#parts;
    const { owner, last, isStateLost, lineage } = await claims.acquire(key, life, place);
    if (owner.incarnation !== life.incarnation) return owner;
    // A claim that was won in a former lineage may not be in the store, and was not reasserted.
    if (!claims.stands(lineage)) throw quarantined(key);
    if (!this.#formerOwnerships.returned(key, last) && isStateLost) tellLostState(this, key, owner);
    const activation = new Activation(this, key, resolved, owner, life, last);
    this.#starting.add(activation);
    try {
      await activation.start();
    } finally {
      this.#starting.delete(activation);
    }
    if (!activation.isOpen || life !== this.#life) {
      throw new AtlasError("unavailable", `${key} was stopped while it started`);
    }
    this.#activations.set(key, activation);
    if (activation.operatesOffline) activation.turnCommit.learn();
    if (!this.#accepting || this.#isDrained(key)) this.#close(activation, "drain");
    return activation;
  }

  /** Whether a resource of this type may be activated while the store can't be reached. */
  canStartOffline(type: string): boolean {
    return this.#former !== null && this.#types.get(type)?.partition === "available";
  }

  /**
   * Activates a key without the store: nothing of its state can be read. Its writes are logged, and
   * committed only if the key turns out to have no state.
   *
   * @param epoch the highest that is known of its owners; 0: none.
   * @throws AtlasError `unavailable`, `overloaded`, or what the resource's start threw.
   */
  startOffline(key: string, type: string, epoch: number): Promise<Opened> {
    return this.#once(key, () => this.#startOffline(key, type, epoch));
  }

  async #startOffline(key: string, type: string, epoch: number): Promise<Activation> {
    await this.#closing.get(key);
    const former = this.#former;
    const resolved = this.#types.get(type);
    if (!former || !resolved || this.reconciliation.has(key)) {
      throw new AtlasError("unavailable", `this node can't take ${key} now`);
    }
    checkRoom(this.#activations.size + this.#opening.size);
    const activation = await this.reconciliation.startOffline(key, resolved, former, epoch);
    this.#activations.set(key, activation);
    return activation;
  }

  /** An activation has ended. */
  closed(activation: Activation): void {
    this.#formerOwnerships.add(activation);
    const { key } = activation;
    if (this.#activations.get(key) === activation) this.#activations.delete(key);
  }

  fenced(activation: Activation): void {
    this.#conflicts.lost(activation);
  }

  /** Ends activations that have to yield to owners in other regions. */
  overtaken(overtaken: readonly Overtaken[]): void {
    for (const { key, epoch, winner } of overtaken) {
      this.#conflicts.overtaken(this.#activations.get(key), epoch, winner);
    }
  }

  /**
   * Reasserts to the store all that this life holds. Resolves to false if the lineage has changed
   * meanwhile.
   *
   * @throws AtlasError `unavailable` if the store doesn't answer.
   */
  async reassert(life: NodeLife, lineage: LineageName): Promise<boolean> {
    const all = new Set([...this.#activations.values(), ...this.#starting, ...this.#ending]);
    const held = [...all].filter((activation) => activation.life === life && !activation.isOver);
    if (!await reassertAll(this.store, held, lineage)) return false;
    this.tell("info", "reasserted", { resources: held.length, lineage: lineage.id });
    return true;
  }

  failedOver(): void {
    this.#formerOwnerships.check();
  }

  /**
   * The lease has lapsed: everything stops at once, except what may operate while the store is
   * `away`.
   */
  abandon(away: boolean): void {
    this.#accepting = false;
    this.#former = away && !this.#isDraining ? this.#life ?? this.#former : null;
    this.#life = null;
    for (const activation of [...this.#activations.values(), ...this.#starting]) {
      if (activation.offline || (away && activation.canGoOffline)) {
        this.reconciliation.goOffline(activation, false);
      } else activation.abandon();
    }
    if (this.reconciliation.size > 0) {
      this.tell("warning", "offline", { resources: this.reconciliation.size });
    }
  }

  /**
   * Stops claiming, closes all activations, and resolves when all are released. Activations with
   * offline turns continue until these turns are committed or lost to another owner, or until
   * {@link stop} ends them.
   */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#accepting = false;
    this.#former = null;
    await Promise.allSettled(this.#opening.values());
    do {
      await this.reconciliation.settled();
      for (const activation of this.#activations.values()) this.#close(activation, "drain");
      await Promise.all(this.#closing.values());
      // Turns that were still running may have been added to the offline log.
    } while (this.reconciliation.hasTurns);
    this.reconciliation.close();
  }

  /** Closes activations under a prefix, and doesn't claim their keys for a while. */
  async drainPrefix({ prefix, forMs }: Required<DrainOptions>): Promise<void> {
    const { region, node } = this.#parts.place;
    const own = rrpAt(region, node, "");
    if (!own.startsWith(prefix) && !prefix.startsWith(own)) return;
    this.tell("info", "handing over", { prefix, forMs });
    this.#drained.add(prefix, forMs);
    await Promise.allSettled(this.#opening.values());
    const closing: Promise<void>[] = [];
    for (const activation of this.#activations.values()) {
      if (isUnder(prefix, activation.rrp)) closing.push(this.#close(activation, "drain"));
    }
    await Promise.all(closing);
  }

  #isDrained(key: string): boolean {
    const { region, node } = this.#parts.place;
    return this.#drained.covers(rrpAt(region, node, key));
  }

  /** Stops sweeping. */
  stop(): void {
    this.#expiredAnswers.stop();
    this.#idle.stop();
    this.reaper.stop();
    this.#conflicts.stop();
    this.#formerOwnerships.stop();
    this.reconciliation.close();
  }

  tell(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
    this.#parts.onEvent({ level, event, fields });
  }

  /**
   * Closes a resource here so that another node can activate it. Calls that wait are redirected
   * there, and the key is not claimed here before `handOver` has ended.
   *
   * @param handOver releases the key and resolves to its next owner, or null. MUST NOT reject.
   */
  handOver(activation: Activation, handOver: HandOver): Promise<void> {
    const isHere = this.#activations.get(activation.key) === activation && !activation.offline;
    return isHere ? this.#close(activation, "move", handOver) : Promise.resolve();
  }

  #close(activation: Activation, reason: StopReason, handOver?: HandOver): Promise<void> {
    const { key } = activation;
    const closing = this.#ending.has(activation) && this.#closing.get(key);
    if (closing) return closing;
    this.#ending.add(activation);
    const closed = this.#end(activation, reason, handOver).catch((error) =>
      this.tell("error", "closing failed", { key, reason: messageOf(error) })
    ).finally(() => {
      this.#closing.delete(key);
      this.#ending.delete(activation);
    });
    this.#closing.set(key, closed);
    return closed;
  }

  async #end(activation: Activation, reason: StopReason, handOver?: HandOver): Promise<void> {
    if (reason === "idle") await tidy(activation, this.clock.now() + PRUNE_DELAY_MS);
    // Before the activation closes, so that subscribers receive all events sent so far.
    await activation.settleEvents();
    this.#activations.delete(activation.key);
    await activation.close(reason, handOver);
    if (activation.pruneAt < Infinity) this.#expiredAnswers.add(activation.key, activation.pruneAt);
  }

  /** Whether a key that isn't here may be owned briefly without an instance. */
  #mayOwn(key: string): boolean {
    const isHere = this.#activations.has(key) || this.#opening.has(key) || this.#closing.has(key);
    return !isHere && this.canHost(key.slice(0, key.indexOf("/")), key);
  }

  #look(activation: Activation): void {
    const { idleAfterMs } = activation.type;
    const isIdle = activation.isIdle && this.#idle.isUnusedFor(activation.usedAt, idleAfterMs);
    if (isIdle) this.#close(activation, "idle");
    else void tidy(activation, this.clock.now());
  }
}

const OPTIONS: OptionNames<DrainOptions> = { prefix: true, forMs: true };

/** Drain options, checked and filled in. @throws AtlasError `bad_request` or `invalid_rrp` */
export function checkDrain(options: DrainOptions): Required<DrainOptions> {
  const { prefix, forMs = DEFAULT_DECLINE_MS } = checkOptions(options, OPTIONS);
  checkPrefix(prefix);
  if (typeof forMs === "number" && forMs >= 1 && forMs <= MAX_DECLINE_MS) return { prefix, forMs };
  throw new AtlasError(
    "bad_request",
    `forMs is ${quoted(forMs)}, it must be 1 to ${MAX_DECLINE_MS}`,
  );
}

export class DrainedPrefixes {
  readonly #clock: Clock;
  /** Prefix → the time until which it is declined, on the monotonic clock; the oldest first. */
  readonly #prefixes = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Declines keys whose RRP starts with `prefix` for `ms` from now. */
  add(prefix: string, ms: number): void {
    this.#prefixes.delete(prefix);
    if (this.#prefixes.size >= MAX_DECLINED) {
      this.#prefixes.delete(this.#prefixes.keys().next().value as string);
    }
    this.#prefixes.set(prefix, this.#clock.now() + ms);
  }

  covers(rrp: string): boolean {
    if (this.#prefixes.size === 0) return false;
    const now = this.#clock.now();
    for (const [prefix, until] of this.#prefixes) {
      if (until <= now) this.#prefixes.delete(prefix);
      else if (isUnder(prefix, rrp)) return true;
    }
    return false;
  }
}

/** The number of resources that one step of a sweep visits. */
const SWEEP_SHARE = 20_000;

interface IdleSweepParts<T> {
  readonly clock: Clock;
  /** The pause between two steps, in ms. */
  readonly everyMs: number;
  readonly all: () => IterableIterator<T>;
  readonly look: (one: T) => void;
}

/**
 * Visits all resources of a node repeatedly, a share of them in each step, so that no step takes
 * long. Counts the steps, by which idleness is measured.
 */
class IdleSweep<T> {
  /** Steps so far. */
  count = 0;
  readonly #parts: IdleSweepParts<T>;
  #timer: Timer | null = null;
  #at: IterableIterator<T> | null = null;

  constructor(parts: IdleSweepParts<T>) {
    this.#parts = parts;
  }

  /** Runs a step now, and repeats. */
  start(): void {
    this.stop();
    this.#sweep();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Whether a resource last used in a given step has been idle for longer than `ms`. */
  isUnusedFor(usedAt: number, ms: number): boolean {
    return (this.count - usedAt) * this.#parts.everyMs > ms;
  }

  #sweep(): void {
    const { clock, everyMs, all, look } = this.#parts;
    this.count++;
    this.#at ??= all();
    for (let looked = 0; looked < SWEEP_SHARE; looked++) {
      const { value, done } = this.#at.next();
      if (done) {
        this.#at = null;
        break;
      }
      look(value);
    }
    this.#timer = clock.after(everyMs, () => this.#sweep());
  }
}
