/**
 * Simulated masters that replicate to each other with a lag, or not at all during a split.
 *
 * Takes the steps of each node's process to its own master over the simulated network, applies
 * them, returns the replies, and sends each write to the other masters after the lag, in order.
 */
import { closedError, unavailable } from "../../adapters/store/check.ts";
import { OptimisticStore } from "../../adapters/store/optimistic/store.ts";
import {
  type Master,
  type MasterClaim,
  ownerOf,
  validClaims,
} from "../../adapters/store/optimistic/master.ts";
import { isAtlasError } from "../../src/errors.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Commit, CommitReply, OwnershipPage, Store } from "../../src/ports/store.ts";
import { pause } from "../../src/time/wait.ts";
import type { Path } from "./paths.ts";
import type { SimProcess } from "./process.ts";
import type { World } from "./world.ts";
import { MasterState, SimMaster, type Write } from "./master_state.ts";
import type { MastersShape } from "../plan/plan.ts";

/** Observes what masters do, in true time. */
export interface MastersObserver {
  /** A master read a key's claims, for a lookup or a claim. */
  claimsRead(key: string, claims: readonly MasterClaim[], at: number): void;
  /** A claim arrived at a master; its own master comes first. */
  arrived(key: string, claim: MasterClaim, master: number, at: number): void;
  committed(commit: Commit, at: number): void;
  /** A claim was answered; `stands`: whether its entry is still at its master. */
  claimed(key: string, opId: string, won: boolean, stands: boolean): void;
}

interface ReplicatedWrite {
  readonly at: number;
  readonly write: Write;
}

/** How late a duplicate of a request may arrive, in ms. */
export const LATE_MS: number = 4_000;

/** The network address of a master, by its number. */
export function masterHost(master: number): string {
  return `store of ${nameOf(master)}`;
}

function nameOf(master: number): string {
  return `m${master}`;
}

export class SimMasters {
  readonly names: readonly string[];
  readonly shape: MastersShape;
  readonly world: World;
  readonly #observer: MastersObserver;
  /** Each master's copy of every master's entries. */
  readonly #views: readonly (readonly MasterState[])[];
  /** The writes of each master, and how many of them each other master has applied. */
  readonly #sent: readonly ReplicatedWrite[][];
  readonly #done: readonly number[][];
  readonly #splits = new Set<object>();

  constructor(shape: MastersShape, world: World, observer: MastersObserver) {
    this.shape = shape;
    this.world = world;
    this.#observer = observer;
    const all = Array.from({ length: shape.count }, (_, i) => i);
    this.names = all.map(nameOf);
    this.#views = all.map(() => all.map(() => new MasterState()));
    this.#sent = all.map(() => []);
    this.#done = all.map(() => all.map(() => 0));
  }

  /** The number of the master that a node uses, by the node's number. */
  masterOf(node: number): number {
    return node % this.shape.count;
  }

  /** The store of a process of this node, at the node's master. */
  open(process: SimProcess, clock: Clock, node: number): Store {
    const { boundMs, recheckMs, count } = this.shape;
    const master = this.masterOf(node);
    const store = new OptimisticStore({
      master: new MasterConnection(this, process, clock, master),
      masterName: this.names[master] as string,
      hasRivals: count > 1,
      boundMs,
      recheckMs,
      now: () => clock.now(),
      pause: (ms) => pause(clock, ms),
    });
    const claim = store.claim.bind(store);
    store.claim = async (attempt) => {
      const reply = await claim(attempt);
      const { key, opId } = attempt;
      const claims = validClaims(this.stateAt(master).claims(key));
      const left = claims.some((claim) => claim.opId === opId);
      this.#observer.claimed(key, opId, reply.won, left);
      return reply;
    };
    return store;
  }

  /** Stops replication until `token` is given to {@link mend}. */
  split(token: object): void {
    if (!this.world.isHealed) this.#splits.add(token);
  }

  mend(token: object): void {
    this.#splits.delete(token);
  }

  clear(): void {
    this.#splits.clear();
  }

  /** The state at a master, with all writes that have arrived. */
  stateAt(master: number): SimMaster {
    const view = this.#views[master] as readonly MasterState[];
    this.#views.forEach((_, from) => this.#receive(from, master));
    return new SimMaster(this.names, master, view, (write) => {
      this.#sent[master]?.push({ at: this.world.scheduler.now, write });
      this.#do(write, master, master);
    });
  }

  looked(key: string, claims: readonly MasterClaim[]): readonly MasterClaim[] {
    this.#observer.claimsRead(key, claims, this.world.scheduler.now);
    return claims;
  }

  committed(commit: Commit, reply: CommitReply): CommitReply {
    if (reply === "committed") this.#observer.committed(commit, this.world.scheduler.now);
    return reply;
  }

  #receive(from: number, at: number): void {
    const sent = this.#sent[from] as ReplicatedWrite[];
    const done = this.#done[at] as number[];
    if (from === at || this.#splits.size > 0) return;
    const until = this.world.scheduler.now - this.shape.lagMs;
    for (let next = done[from] as number; (sent[next]?.at ?? Infinity) <= until; next++) {
      this.#do((sent[next] as ReplicatedWrite).write, from, at);
      done[from] = next + 1;
    }
  }

  #do(write: Write, from: number, at: number): void {
    const entries = this.#views[at]?.[from] as MasterState;
    const before = new Map(entries.claims);
    write(entries);
    for (const [key, claim] of entries.claims) {
      if (before.get(key) === claim) continue;
      this.#observer.arrived(key, claim, at, this.world.scheduler.now);
    }
  }
}

/** One process's connection to its master, over which single requests may be lost or duplicated. */
class MasterConnection implements Master {
  readonly #masters: SimMasters;
  readonly #process: SimProcess;
  readonly #clock: Clock;
  readonly #master: number;
  readonly #out: Path;
  readonly #back: Path;
  #isClosed = false;
  #isUp = true;

  constructor(masters: SimMasters, process: SimProcess, clock: Clock, master: number) {
    this.#masters = masters;
    this.#process = process;
    this.#clock = clock;
    this.#master = master;
    const host = masterHost(master);
    this.#out = masters.world.paths.from(process.host, host);
    this.#back = masters.world.paths.from(host, process.host);
  }

  get up(): boolean {
    return this.#isUp && !this.#isClosed;
  }

  readonly register: Master["register"] = (member, options) =>
    this.#ask((state) => state.register(member, options));
  readonly renew: Master["renew"] = (incarnation, seq, watch) =>
    this.#ask((state) => state.renew(incarnation, seq, watch));
  readonly kill: Master["kill"] = (incarnation, seq) =>
    this.#ask((state) => state.kill(incarnation, seq));
  readonly leave: Master["leave"] = (member) => this.#ask((state) => state.leave(member));
  readonly members: Master["members"] = () => this.#ask((state) => state.members());
  readonly claims: Master["claims"] = (key) =>
    this.#ask((state) => this.#masters.looked(key, state.claims(key)));
  readonly writeClaim: Master["writeClaim"] = (claim) =>
    this.#ask((state) => state.writeClaim(claim));
  readonly withdraw: Master["withdraw"] = (key, incarnation, epoch) =>
    this.#ask((state) => state.drop(key, incarnation, epoch));
  readonly settle: Master["settle"] = (key, incarnation, epoch) =>
    this.#ask((state) => state.settle(key, incarnation, epoch));
  readonly commit: Master["commit"] = (commit) =>
    this.#ask((state) => this.#masters.committed(commit, state.commit(commit)));
  readonly read: Master["read"] = (key, fields) => this.#ask((state) => state.read(key, fields));
  readonly range: Master["range"] = (key, range) => this.#ask((state) => state.range(key, range));

  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    return this.#ask((state) => {
      const owned = state.keys().flatMap((key) => ownerOf(state.claims(key)) ?? []);
      const from = Number(cursor ?? 0);
      const entries = owned.filter(({ rrp }) => rrp.startsWith(prefix)).slice(from, from + limit);
      return { entries, next: entries.length < limit ? null : String(from + limit) };
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  /** Sends a step to the master; a dead process gets no answer. */
  #ask<T>(step: (state: SimMaster) => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (!this.#process.isAlive) return new Promise(() => {});
    const { scheduler, trace, shape: { store: { timeoutMs } } } = this.#masters.world;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => {
        this.#isUp = false;
        reject(unavailable(`the store: no answer within ${timeoutMs} ms`));
      });
      const settle = (answer: T | Error): void => {
        timer.cancel();
        this.#isUp = true;
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
      const arrive = (): void => {
        // Once the paths are healed, requests of dead processes no longer arrive.
        if (this.#masters.world.isHealed && !this.#process.isAlive) return;
        const answer = this.#do(step);
        trace.note("master", this.#process.id, this.#master);
        this.#back.whenOpen(() => {
          if (this.#back.isLossy()) return;
          scheduler.after(this.#back.delay(), () => this.#process.enter(() => settle(answer)));
        });
      };
      this.#out.whenOpen(() => {
        const ms = this.#out.delay();
        if (!this.#out.isLossy()) scheduler.after(ms, arrive);
        if (this.#out.isDoubled()) scheduler.after(ms + ms % 7 * LATE_MS / 7, arrive);
      });
    });
  }

  #do<T>(step: (state: SimMaster) => T): T | Error {
    try {
      return step(this.#masters.stateAt(this.#master));
    } catch (error) {
      if (isAtlasError(error)) return error;
      throw error;
    }
  }
}
