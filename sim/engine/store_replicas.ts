/**
 * The replicas of a simulated store, which copy the primary's steps with a lag and may be promoted.
 *
 * Takes each step of the primary and its true time; gives the number of replicas that have it, a
 * failover manager's report about them (`ReplicaGroup`), and the state that a promoted replica
 * continues with. The former primary may continue for some machines, with the other replica, until
 * they switch. Steps are deterministic, so a replica is the primary's log replayed from the start.
 *
 * Source: Redis' replication, WAIT, Sentinel and Cluster; docs/design.md, Store failover.
 */
import {
  type CopiedStep,
  isConfirmed,
  type ReplicaGroup,
} from "../../adapters/store/redis/replicas.ts";
import type { SeededRandom } from "./random.ts";
import type { Step, StepName, StepReply } from "./observer.ts";
import { StoreState } from "../../adapters/store/store_state.ts";

/** Steps that change the state. */
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
/** The least number of replicas that must have a step, if steps wait for replicas. */
const LEAST = 1;
/** How long a replica must be silent before it counts as down, ms. */
const DOWN_AFTER_MS = 200;
/** How old the known state of the replicas may be, ms. */
const LOOK_MS = 1_000;

interface Logged {
  readonly step: Step;
  readonly at: number;
  /** The copy that applied it. */
  readonly id: string;
}

/** The position of a step: whose log, and at which index. */
export interface LogPosition {
  readonly primary: string;
  readonly at: number;
  readonly doneAt: number;
}

interface Replica {
  readonly name: string;
  /** The ratio of its copying time to the other replicas'. */
  readonly slowness: number;
  /** The number of entries of the primary's log that it has. */
  copied: number;
  /** The time since when it has copied without a break. */
  since: number;
  /** It has caught up once it has this many entries. */
  mark: number;
  /** The time since when it is down; null if it is up. */
  downSince: number | null;
}

/** A primary that was replaced and doesn't know it. */
interface Former {
  readonly name: string;
  readonly state: StoreState;
  /** Machines that still use it. */
  readonly hosts: Set<string>;
  /** Replicas that go on copying it. */
  readonly beside: readonly Replica[];
  /** When it applied each step since then. */
  readonly log: number[];
}

/** How a replica is promoted. */
export interface Promotion {
  /** Picks one of the replicas that may be promoted; null: the one with the most steps. */
  readonly pick: SeededRandom | null;
  /** Machines that go on using the former primary until they switch. */
  readonly behind: readonly string[];
  /** Whether the other replicas go on copying the former primary until then. */
  readonly isBeside: boolean;
  /** How long after that the failover manager reports it, ms. */
  readonly toldAfterMs: number;
}

/** Whether a step changes the state. */
export function isWrite({ name }: Step): boolean {
  return WRITES.has(name);
}

export class Replicas {
  readonly #lagMs: number;
  readonly #readsFromReplica: boolean;
  readonly #waits: boolean;
  /** How much further replicas lag for a while, ms. */
  readonly #lags = new Map<object, number>();
  /** The primary's log. */
  #log: Logged[] = [];
  #primary = "server-0";
  /**
   * The primary that the failover manager reports, and the time since when it reports the new one.
   */
  #told = { primary: "server-0", after: 0 };
  #replicas: Replica[];
  /** A server that was the primary, and is not a replica yet. */
  #leaving: string | null = null;
  #former: Former | null = null;
  #promotions = 0;
  #seen: ReplicaGroup | null = null;
  /** The first replica's state, if lookups are answered from it. */
  #copy = newState();
  #replayed = 0;

  /**
   * @param readsFromReplica whether `lookup` is answered by a replica: an error of a store.
   * @param waits whether steps wait for replicas; then there are two replicas, otherwise one.
   */
  constructor(lagMs: number, readsFromReplica: boolean, waits: boolean) {
    this.#lagMs = lagMs;
    this.#waits = waits;
    this.#readsFromReplica = readsFromReplica;
    const names = waits ? ["server-1", "server-2"] : ["server-1"];
    this.#replicas = names.map((name, i) => newReplica(name, i));
  }

  /** The state that serves a step of this machine. */
  copyFor(step: Step, host: string, primary: StoreState, now: number): StoreState {
    if (this.#former?.hosts.has(host)) return this.#former.state;
    if (this.#readsFromReplica && step.name === "lookup") return this.#readable(now);
    return primary;
  }

  /**
   * A server applied a step at true time `at`. Gives the step's position in the log, if it wrote.
   */
  did(step: Step, state: StoreState, at: number): LogPosition | null {
    if (!isWrite(step)) return null;
    const former = this.#former;
    if (former?.state === state) {
      return { primary: former.name, at: former.log.push(at) - 1, doneAt: at };
    }
    return {
      primary: this.#primary,
      at: this.#log.push({ step, at, id: state.id }) - 1,
      doneAt: at,
    };
  }

  /**
   * Whether a step is confirmed by now; null: it never will be, because its server is no longer the
   * primary.
   */
  counts(place: LogPosition, now: number): boolean | null {
    this.#catchUp(now);
    const copied = this.#copies(place, now);
    if (copied === null) return null;
    const step: CopiedStep = { primary: place.primary, doneAt: place.doneAt, copied };
    if (!this.#seen || now - this.#seen.askedAt >= LOOK_MS) this.#seen = this.#group(now);
    return isConfirmed(step, LEAST, this.#seen) || isConfirmed(step, LEAST, this.#group(now));
  }

  #copies({ primary, at }: LogPosition, now: number): number | null {
    if (primary === this.#primary) return this.#replicas.filter((it) => it.copied > at).length;
    const { name, beside, log } = this.#former ?? {};
    if (primary !== name) return null;
    const doneAt = log?.[at] ?? now;
    return beside?.filter((it) =>
      it.downSince === null && Math.max(doneAt, it.since) + this.#lagOf(it) <= now
    ).length ?? 0;
  }

  /** The replicas, as the failover manager reports them now. */
  #group(now: number): ReplicaGroup {
    const { primary, after } = this.#told;
    const isTold = now >= after;
    const former = this.#former?.beside ?? [];
    const all = [...this.#replicas, ...former];
    const present =
      all.filter(({ downSince }) => downSince === null || now - downSince < DOWN_AFTER_MS).length;
    return {
      primary: isTold ? this.#primary : primary,
      // Until it is reported, the promoted one is counted as a replica.
      present: isTold ? present : present + 1,
      hasAbsent: present < all.length || isTold && this.#leaving !== null,
      askedAt: now,
    };
  }

  /** Replicas lag `ms` more until `token` is given to {@link hurry}; 0 if they never lag. */
  lag(token: object, ms: number): void {
    if (this.#lagMs > 0) this.#lags.set(token, ms);
  }

  hurry(token: object): void {
    this.#lags.delete(token);
  }

  /** Stops one replica; another must be up, and no promotion may be unreported. */
  stop(index: number, now: number): { revive(now: number): void } | null {
    this.#catchUp(now);
    const replica = this.#replicas[index % this.#replicas.length];
    if (!replica || !this.#isWhole()) return null;
    replica.downSince = now;
    return {
      revive: (now) => {
        this.#catchUp(now);
        replica.downSince = null;
        this.#restart(replica, now);
      },
    };
  }

  /**
   * The state with which a replica continues as primary, without the steps that it had not copied.
   * Null if none may be promoted: if steps wait for replicas, a replica that came back must first
   * have the steps that existed then.
   */
  promote(former: StoreState, now: number, promotion: Promotion): StoreState | null {
    if (this.#former || this.#leaving !== null) return null;
    this.#catchUp(now);
    const able = this.#replicas.filter(({ downSince, copied, mark }) =>
      !this.#waits || downSince === null && copied >= mark
    ).sort((one, other) => other.copied - one.copied);
    const chosen = promotion.pick ? promotion.pick.pick(able) : able[0];
    if (!chosen) return null;
    const promoted = newState();
    this.#log = this.#log.slice(0, chosen.copied);
    for (const { step, id } of this.#log) replayStep(promoted, step, id);
    promoted.id = `copy-${++this.#promotions}`;
    const others = this.#replicas.filter((it) => it !== chosen);
    const isBeside = promotion.isBeside && promotion.behind.length > 0;
    this.#replicas = isBeside ? [] : others;
    if (!isBeside) { for (const it of others) it.copied = Math.min(it.copied, chosen.copied); }
    if (promotion.behind.length > 0) {
      const hosts = new Set(promotion.behind);
      const beside = isBeside ? others : [];
      this.#former = { name: this.#primary, state: former, hosts, beside, log: [] };
    }
    this.#told = { primary: this.#primary, after: now + promotion.toldAfterMs };
    this.#leaving = this.#primary;
    this.#primary = chosen.name;
    this.#copy = newState();
    this.#replayed = 0;
    return promoted;
  }

  /** Servers that are not replicas of the primary yet become replicas. */
  rejoin(now: number): void {
    this.#catchUp(now);
    const joining = [...this.#former?.beside ?? []];
    if (this.#leaving !== null) joining.push(newReplica(this.#leaving, joining.length));
    this.#former = this.#leaving = null;
    for (const replica of joining) {
      replica.copied = 0;
      this.#restart(replica, now);
      this.#replicas.push(replica);
    }
  }

  /** These machines use the new primary from now on. */
  unite(hosts: readonly string[]): void {
    for (const host of hosts) this.#former?.hosts.delete(host);
  }

  /** Ends all lags, splits and outages of servers. */
  clear(now: number): void {
    this.#lags.clear();
    this.rejoin(now);
    for (const replica of this.#replicas) replica.downSince = null;
    this.#told = { primary: this.#primary, after: 0 };
  }

  #restart(replica: Replica, now: number): void {
    // If no step waits for replicas, all current replicas count as having copied all the time.
    replica.since = this.#waits ? now : -Infinity;
    replica.mark = this.#waits ? this.#log.length : 0;
  }

  #isWhole(): boolean {
    return this.#former === null && this.#leaving === null && this.#replicas.length > 1 &&
      this.#replicas.every(({ downSince, copied, mark }) => downSince === null && copied >= mark);
  }

  #lagOf({ slowness }: Replica): number {
    let lagMs = this.#lagMs * slowness;
    for (const more of this.#lags.values()) lagMs += more;
    return lagMs;
  }

  #catchUp(now: number): void {
    for (const replica of this.#replicas) {
      if (replica.downSince !== null) continue;
      const lagMs = this.#lagOf(replica);
      for (let next = this.#log[replica.copied]; next; next = this.#log[replica.copied]) {
        if (Math.max(next.at, replica.since) > now - lagMs) break;
        replica.copied++;
      }
    }
  }

  /** A replica's state, with all steps that have arrived. */
  #readable(now: number): StoreState {
    this.#catchUp(now);
    for (; this.#replayed < (this.#replicas[0]?.copied ?? 0); this.#replayed++) {
      const { step, id } = this.#log[this.#replayed] as Logged;
      replayStep(this.#copy, step, id);
    }
    return this.#copy;
  }
}

function newReplica(name: string, index: number): Replica {
  return { name, slowness: 1 + index, copied: 0, since: -Infinity, mark: 0, downSince: null };
}

/** The copy includes the name that the primary wrote. */
function replayStep(state: StoreState, step: Step, id: string): void {
  state.id = id;
  applyStep(state, step);
}

/** Applies one step; the arguments match the step's name. */
export function applyStep(state: StoreState, step: Step): StepReply {
  const method = state[step.name] as (...args: readonly unknown[]) => StepReply;
  return method.apply(state, [...step.args]);
}

function newState(): StoreState {
  return new StoreState("", true);
}
