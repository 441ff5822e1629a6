/**
 * The replicas of a simulated store: apprentices who copy the notary's book, each some
 * pages behind; when the notary falls ill one of them takes the chair, with the pages
 * that were copied so far.
 *
 * Takes each step that the primary did and its true time; gives the book as a replica has
 * it, the book that a promoted replica goes on with, and, while a failover is not known
 * everywhere, the old primary's own to the machines that still talk to it.
 *
 * Every step is deterministic, so a replica is the primary's log played from the start.
 *
 * Source: Redis' asynchronous replication and failover; design §3, Store failover.
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
  "release",
  "commit",
]);

interface Logged {
  readonly step: Step;
  readonly at: number;
}

export class Replicas {
  readonly #lagMs: number;
  readonly #readsFromReplica: boolean;
  /** How much further replicas lag for a while, ms. */
  readonly #lags = new Map<object, number>();
  /** All that made the primary's book what it is. */
  #log: Logged[] = [];
  #copy = new StoreState();
  #copied = 0;
  /** The book of a primary that was replaced and doesn't know it, and who still asks it. */
  #former: { readonly state: StoreState; readonly hosts: Set<string> } | null = null;

  /** @param readsFromReplica whether `lookup` is answered by a replica: an error of a store. */
  constructor(lagMs: number, readsFromReplica: boolean) {
    this.#lagMs = lagMs;
    this.#readsFromReplica = readsFromReplica;
  }

  /** The book that serves a step of this machine. */
  bookFor(step: Step, host: string, primary: StoreState, now: number): StoreState {
    if (this.#former?.hosts.has(host)) return this.#former.state;
    if (this.#readsFromReplica && step.name === "lookup") return this.#catchUp(now);
    return primary;
  }

  /** A book did a step at true time `at`; only the primary's are copied. */
  did(step: Step, book: StoreState, primary: StoreState, at: number): void {
    if (book === primary && WRITES.has(step.name)) this.#log.push({ step, at });
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
    this.#log = this.#log.slice(0, this.#copied);
    this.#copy = new StoreState();
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

  /** A replica's book, with all that has come to it. */
  #catchUp(now: number): StoreState {
    let lagMs = this.#lagMs;
    for (const more of this.#lags.values()) lagMs += more;
    for (let next = this.#log[this.#copied]; next; next = this.#log[this.#copied]) {
      if (next.at > now - lagMs) break;
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
