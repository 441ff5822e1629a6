/**
 * The replicas of a simulated store: apprentices who copy the notary's book, some pages
 * behind; when the notary falls ill the one who is furthest takes the chair, with the
 * pages that were copied so far.
 *
 * Takes each step that the primary did and its true time; gives whether it was copied,
 * the book that a promoted replica goes on with, and, while a failover is not known
 * everywhere, the old primary's own to the machines that still talk to it.
 *
 * Every step is deterministic, so a replica is the primary's log played from the start.
 *
 * Source: Redis' asynchronous replication, WAIT and failover; design §3, Store failover.
 */
import type { Step, StepName, StepReply } from "./observer.ts";
import { StoreState } from "./store_state.ts";

/** Steps that change the book. */
const WRITES: ReadonlySet<StepName> = new Set<StepName>([
  "register",
  "renew",
  "kill",
  "leave",
  "claim",
  "reassert",
  "release",
  "commit",
]);

interface Logged {
  readonly step: Step;
  readonly at: number;
  /** The copy that did it. */
  readonly id: string;
}

/** Whether a step changes the book. */
export function isWrite({ name }: Step): boolean {
  return WRITES.has(name);
}

export class Replicas {
  readonly #lagMs: number;
  readonly #readsFromReplica: boolean;
  /** Whether the next to be promoted has all that the last promoted one had. */
  readonly #isInOrder: boolean;
  /** Places of the log that every replica has. */
  #common = 0;
  /** How much further replicas lag for a while, ms. */
  readonly #lags = new Map<object, number>();
  /** All that made the primary's book what it is. */
  #log: Logged[] = [];
  #copy = copyBook();
  #copied = 0;
  #promotions = 0;
  /** The book of a primary that was replaced and doesn't know it, and who still asks it. */
  #former: { readonly state: StoreState; readonly hosts: Set<string> } | null = null;

  /**
   * @param readsFromReplica whether `lookup` is answered by a replica: an error of a store.
   * @param isInOrder whether none is promoted that lacks what an earlier one had.
   */
  constructor(lagMs: number, readsFromReplica: boolean, isInOrder: boolean) {
    this.#lagMs = lagMs;
    this.#isInOrder = isInOrder;
    this.#readsFromReplica = readsFromReplica;
  }

  /** The book that serves a step of this machine. */
  bookFor(step: Step, host: string, primary: StoreState, now: number): StoreState {
    if (this.#former?.hosts.has(host)) return this.#former.state;
    if (this.#readsFromReplica && step.name === "lookup") return this.#catchUp(now);
    return primary;
  }

  /** The primary did a step at true time `at`. Gives its place in the log, where it wrote. */
  did(step: Step, primary: StoreState, at: number): number | null {
    if (!isWrite(step)) return null;
    return this.#log.push({ step, at, id: primary.id }) - 1;
  }

  /** How long until a place of the log will have been copied, as things are; 0: it has been. */
  copiedIn(place: number, now: number): number {
    this.#catchUp(now);
    if (place < this.#copied) return 0;
    return Math.max(1, (this.#log[place]?.at ?? now) + this.#lag() - now);
  }

  /** Replicas lag `ms` more until `token` is given to {@link hurry}; 0 where they never lag. */
  lag(token: object, ms: number): void {
    if (this.#lagMs > 0) this.#lags.set(token, ms);
  }

  hurry(token: object): void {
    this.#lags.delete(token);
  }

  /** The book that a replica goes on with as primary; what it had not copied yet is gone. */
  promote(now: number): StoreState {
    const promoted = this.#catchUp(now);
    promoted.id = `copy-${++this.#promotions}`;
    this.#log = this.#log.slice(0, this.#copied);
    if (this.#isInOrder) this.#common = this.#copied;
    this.#copy = copyBook();
    this.#copied = 0;
    return promoted;
  }

  /** Machines that go on asking the old primary until they are cut over. */
  split(former: StoreState, hosts: readonly string[]): void {
    this.#former = { state: former, hosts: new Set(hosts) };
  }

  /** These machines ask the new primary from now on. */
  unite(hosts: readonly string[]): void {
    for (const host of hosts) this.#former?.hosts.delete(host);
    if (this.#former?.hosts.size === 0) this.#former = null;
  }

  /** No lag, no split from now on. */
  clear(): void {
    this.#lags.clear();
    this.#former = null;
  }

  #lag(): number {
    let lagMs = this.#lagMs;
    for (const more of this.#lags.values()) lagMs += more;
    return lagMs;
  }

  /** A replica's book, with all that has come to it. */
  #catchUp(now: number): StoreState {
    const lagMs = this.#lag();
    for (let next = this.#log[this.#copied]; next; next = this.#log[this.#copied]) {
      if (next.at > now - lagMs && this.#copied >= this.#common) break;
      // What is copied is what the primary wrote, its name with it.
      this.#copy.id = next.id;
      applyStep(this.#copy, next.step);
      this.#copied++;
    }
    return this.#copy;
  }
}

/** Does one step; the arguments are of the step's own name. */
export function applyStep(state: StoreState, step: Step): StepReply {
  const method = state[step.name] as (...args: readonly unknown[]) => StepReply;
  return method.apply(state, [...step.args]);
}

function copyBook(): StoreState {
  return new StoreState("", true);
}
