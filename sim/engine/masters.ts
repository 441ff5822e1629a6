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
  standing,
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

/** Who sees what masters do, in true time. */
export interface MastersObserver {
  /** A master read a key's stakes, for a lookup or a claim. */
  claimsRead(key: string, stakes: readonly MasterClaim[], at: number): void;
  /** A stake came to a master: the first time where it was made. */
  arrived(key: string, stake: MasterClaim, master: number, at: number): void;
  committed(commit: Commit, at: number): void;
  /** A claim came back; whether its stake stands at its master. */
  claimed(key: string, opId: string, won: boolean, stands: boolean): void;
}

interface ReplicatedWrite {
  readonly at: number;
  readonly write: Write;
}

/** How late a repeated request may come, ms. */
export const LATE_MS: number = 4_000;

/** The place in the network of a master, by its number. */
export function masterHost(master: number): string {
  return `store of ${nameOf(master)}`;
}

function nameOf(master: number): string {
  return `m${master}`;
}

export class SimMasters {
  readonly names: readonly string[];
  readonly stage: MastersShape;
  readonly world: World;
  readonly #observer: MastersObserver;
  /** Each master's pages, as each master has them. */
  readonly #views: readonly (readonly MasterState[])[];
  /** What each master wrote, and how much of it each other has done. */
  readonly #sent: readonly ReplicatedWrite[][];
  readonly #done: readonly number[][];
  readonly #splits = new Set<object>();

  constructor(stage: MastersShape, world: World, observer: MastersObserver) {
    this.stage = stage;
    this.world = world;
    this.#observer = observer;
    const all = Array.from({ length: stage.count }, (_, i) => i);
    this.names = all.map(nameOf);
    this.#views = all.map(() => all.map(() => new MasterState()));
    this.#sent = all.map(() => []);
    this.#done = all.map(() => all.map(() => 0));
  }

  /** The number of the master that a node asks, by the node's. */
  masterOf(node: number): number {
    return node % this.stage.count;
  }

  /** The store of a process of a node, by the node's number: at the master that it asks. */
  open(process: SimProcess, clock: Clock, node: number): Store {
    const { boundMs, recheckMs, count } = this.stage;
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
      const stakes = standing(this.book(master).stakes(key));
      const left = stakes.some((stake) => stake.opId === opId);
      this.#observer.claimed(key, opId, reply.won, left);
      return reply;
    };
    return store;
  }

  /** No post until `token` is given to {@link mend}. */
  split(token: object): void {
    if (!this.world.isHealed) this.#splits.add(token);
  }

  mend(token: object): void {
    this.#splits.delete(token);
  }

  clear(): void {
    this.#splits.clear();
  }

  /** The book at a master, with all the post that has come. */
  book(master: number): SimMaster {
    const view = this.#views[master] as readonly MasterState[];
    this.#views.forEach((_, from) => this.#receive(from, master));
    return new SimMaster(this.names, master, view, (write) => {
      this.#sent[master]?.push({ at: this.world.scheduler.now, write });
      this.#do(write, master, master);
    });
  }

  looked(key: string, stakes: readonly MasterClaim[]): readonly MasterClaim[] {
    this.#observer.claimsRead(key, stakes, this.world.scheduler.now);
    return stakes;
  }

  committed(commit: Commit, reply: CommitReply): CommitReply {
    if (reply === "committed") this.#observer.committed(commit, this.world.scheduler.now);
    return reply;
  }

  #receive(from: number, at: number): void {
    const sent = this.#sent[from] as ReplicatedWrite[];
    const done = this.#done[at] as number[];
    if (from === at || this.#splits.size > 0) return;
    const until = this.world.scheduler.now - this.stage.lagMs;
    for (let next = done[from] as number; (sent[next]?.at ?? Infinity) <= until; next++) {
      this.#do((sent[next] as ReplicatedWrite).write, from, at);
      done[from] = next + 1;
    }
  }

  #do(write: Write, from: number, at: number): void {
    const pages = this.#views[at]?.[from] as MasterState;
    const before = new Map(pages.stakes);
    write(pages);
    for (const [key, stake] of pages.stakes) {
      if (before.get(key) === stake) continue;
      this.#observer.arrived(key, stake, at, this.world.scheduler.now);
    }
  }
}

/** One process's line to its master: single requests, which may be lost or come twice. */
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
    this.#ask((book) => book.register(member, options));
  readonly renew: Master["renew"] = (incarnation, seq, watch) =>
    this.#ask((book) => book.renew(incarnation, seq, watch));
  readonly kill: Master["kill"] = (incarnation, seq) =>
    this.#ask((book) => book.kill(incarnation, seq));
  readonly leave: Master["leave"] = (member) => this.#ask((book) => book.leave(member));
  readonly members: Master["members"] = () => this.#ask((book) => book.members());
  readonly claims: Master["claims"] = (key) =>
    this.#ask((book) => this.#masters.looked(key, book.stakes(key)));
  readonly writeClaim: Master["writeClaim"] = (claim) => this.#ask((book) => book.stake(claim));
  readonly withdraw: Master["withdraw"] = (key, incarnation, epoch) =>
    this.#ask((book) => book.drop(key, incarnation, epoch));
  readonly settle: Master["settle"] = (key, incarnation, epoch) =>
    this.#ask((book) => book.settle(key, incarnation, epoch));
  readonly commit: Master["commit"] = (commit) =>
    this.#ask((book) => this.#masters.committed(commit, book.commit(commit)));
  readonly read: Master["read"] = (key, fields) => this.#ask((book) => book.read(key, fields));
  readonly range: Master["range"] = (key, range) => this.#ask((book) => book.range(key, range));

  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    return this.#ask((book) => {
      const owned = book.keys().flatMap((key) => ownerOf(book.stakes(key)) ?? []);
      const from = Number(cursor ?? 0);
      const entries = owned.filter(({ rrp }) => rrp.startsWith(prefix)).slice(from, from + limit);
      return { entries, next: entries.length < limit ? null : String(from + limit) };
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  /** Has a step done at the master; a dead process never hears of it again. */
  #ask<T>(step: (book: SimMaster) => T): Promise<T> {
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
        // On healed roads nothing is left of the dead.
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

  #do<T>(step: (book: SimMaster) => T): T | Error {
    try {
      return step(this.#masters.book(this.#master));
    } catch (error) {
      if (isAtlasError(error)) return error;
      throw error;
    }
  }
}
