/**
 * The simulated store. Implements the port `Store` for each node's process: carries steps over the
 * simulated network, applies them one by one, and returns the replies, some of which get lost. Some
 * steps are applied long after their sender has timed out or died.
 *
 * As a stream (a Redis connection), a process's steps keep their order and fail together; as
 * requests (a REST store), each travels alone, may be lost, or may arrive twice.
 */
import { closedError, unavailable } from "../../adapters/store/check.ts";
import { isAtlasError } from "../../src/errors.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Store } from "../../src/ports/store.ts";
import type { Observer, Step, StepName, StepReply } from "./observer.ts";
import type { Path, Paths } from "./paths.ts";
import type { SimProcess } from "./process.ts";
import type { SeededRandom } from "./random.ts";
import { Refusals } from "./store_refusals.ts";
import type { Scheduler } from "./scheduler.ts";
import {
  applyStep,
  isWrite,
  type LogPosition,
  type Promotion,
  Replicas,
} from "./store_replicas.ts";
import { StoreState } from "../../adapters/store/store_state.ts";
import type { Trace } from "./trace.ts";
import type { StoreShape } from "../plan/plan.ts";

/** The store's network address. */
export const STORE_HOST = "store";
/** How long a duplicate of a request may be in flight, ms. */
const LATE_MS = 8_000;
/** How often a step that waits for replicas is checked, ms. */
const POLL_MS = 2;

const UNCONFIRMED = unavailable("the store: too few replicas confirmed the step");

/** A step in flight. */
interface Request {
  readonly step: Step;
  readonly connection: Connection;
  /** Whether the connection that carried it is gone. */
  isLost: boolean;
  settle(reply: StepReply | Error): void;
}

export class SimStore {
  /** The primary's copy. */
  state: StoreState;
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly paths: Paths;
  readonly random: SeededRandom;
  readonly shape: StoreShape;
  readonly observer: Required<Observer>;
  readonly host: string;
  readonly refusals: Refusals = new Refusals();
  readonly #connections = new Set<Connection>();
  readonly #outages = new Set<object>();
  readonly #pauses = new Set<object>();
  readonly #slowness = new Map<object, number>();
  readonly #replicas: Replicas | null;
  #queue: (() => void)[] = [];
  #isHealed = false;
  #copies = 0;

  constructor(
    parts:
      & Pick<SimStore, "scheduler" | "trace" | "paths" | "random" | "shape" | "observer">
      & Partial<Pick<SimStore, "host">>,
  ) {
    this.scheduler = parts.scheduler;
    this.trace = parts.trace;
    this.paths = parts.paths;
    this.random = parts.random;
    this.shape = parts.shape;
    this.observer = parts.observer;
    this.host = parts.host ?? STORE_HOST;
    const { lagMs, readsFromReplica = false, isConfirmed = false } = parts.shape;
    this.#replicas = lagMs === undefined
      ? null
      : new Replicas(lagMs, readsFromReplica, isConfirmed);
    this.state = new StoreState("", this.#replicas !== null);
  }

  /** A process's handle on the store. */
  open(process: SimProcess, clock: Clock): Store {
    const connection = new Connection(this, process, clock);
    this.#connections.add(connection);
    return handle(connection);
  }

  /** The store's process ends; what it has done is kept. */
  crash(token: object): void {
    this.#outages.add(token);
    this.#queue = [];
    for (const connection of this.#connections) connection.tear();
  }

  restart(token: object): void {
    this.#outages.delete(token);
  }

  /** Nothing is done until `token` is given to {@link resume}; requests wait. */
  pause(token: object): void {
    this.#pauses.add(token);
  }

  resume(token: object): void {
    if (!this.#pauses.delete(token) || this.#pauses.size > 0) return;
    const queue = this.#queue;
    this.#queue = [];
    for (const run of queue) this.scheduler.after(0, run);
  }

  /** Steps take up to `ms` until they begin, and as long again until they are answered. */
  slow(token: object, ms: number): void {
    this.#slowness.set(token, ms);
  }

  hurry(token: object): void {
    this.#slowness.delete(token);
  }

  /** Breaks one machine's connections; steps in flight may be applied, and are not answered. */
  tear(host: string): void {
    for (const connection of this.#connections) {
      if (connection.process.host === host) connection.tear();
    }
  }

  /** Replicas lag `ms` more until `token` is given to {@link catchUp}. */
  lag(token: object, ms: number): void {
    this.#replicas?.lag(token, ms);
  }

  catchUp(token: object): void {
    this.#replicas?.hurry(token);
  }

  /** A replica becomes the primary, without the steps that it had not copied. False if none can. */
  failover(promotion: Promotion): boolean {
    const former = this.state;
    const { now } = this.scheduler;
    const promoted = this.#replicas?.promote(former, now, promotion);
    if (!promoted) return false;
    this.state = promoted;
    const { behind } = promotion;
    this.trace.note("failover", ...behind);
    this.observer.failedOver(former, promoted, now);
    for (const connection of this.#connections) {
      if (!behind.includes(connection.process.host)) connection.tear();
    }
    return true;
  }

  /** Takes a replica down until the returned function is called; null if none may be down. */
  stopReplica(index: number): (() => void) | null {
    const { scheduler } = this;
    const stopped = this.#replicas?.stop(index, scheduler.now) ?? null;
    return stopped && (() => stopped.revive(scheduler.now));
  }

  /** A former primary, and the replicas that stayed with it, copy the current one from now on. */
  rejoin(): void {
    this.#replicas?.rejoin(this.scheduler.now);
  }

  /** Replaces the store by a copy of itself that lacks only these ownerships. */
  lose(keys: readonly string[]): void {
    this.state.lose(keys, `copy-${++this.#copies}`);
    this.trace.note("copy", ...keys);
    for (const connection of this.#connections) connection.tear();
  }

  /** Machines that still use the former primary switch to the new one. */
  cutOver(hosts: readonly string[]): void {
    this.#replicas?.unite(hosts);
    for (const host of hosts) this.tear(host);
  }

  clear(): void {
    this.#isHealed = true;
    this.#replicas?.clear(this.scheduler.now);
    this.#outages.clear();
    this.#slowness.clear();
    this.refusals.clear();
    for (const token of [...this.#pauses]) this.resume(token);
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** A request has arrived. */
  arrive(request: Request, reply: (answer: StepReply | Error) => void): void {
    if (this.#outages.size > 0) return reply(unavailable("the store refuses connections"));
    let ms = 0;
    for (const slowness of this.#slowness.values()) ms += this.random.between(0, slowness);
    const work = (): void => {
      if (this.#pauses.size > 0) this.#queue.push(work);
      else if (this.#outages.size === 0) this.#do(request, ms, reply);
    };
    if (ms > 0) this.scheduler.after(ms, work);
    else work();
  }

  #do(request: Request, ms: number, reply: (answer: StepReply | Error) => void): void {
    const { step, connection } = request;
    if (request.isLost) return;
    // Once the paths are healed, requests of dead processes no longer arrive.
    if (this.#isHealed && !connection.process.isAlive) return;
    const later = (answer: StepReply | Error): void => {
      if (ms > 0) this.scheduler.after(ms, () => reply(answer));
      else reply(answer);
    };
    const [{ now }, { host }] = [this.scheduler, connection.process];
    const copy = this.#replicas?.copyFor(step, host, this.state, now) ?? this.state;
    const refused = this.refusals.of(step, copy);
    if (refused) return later(refused);
    try {
      const answer = applyStep(copy, step);
      step.copy = copy.id;
      this.trace.note("store", step.process, step.name);
      const isFormer = copy !== this.state && isWrite(step);
      // Steps of a replaced primary are not part of the ground truth.
      if (!isFormer) this.observer.applied(step, answer, now);
      const place = this.#replicas?.did(step, copy, now) ?? null;
      if (!this.shape.isConfirmed || place === null) return later(answer);
      this.#confirm(place, answer, now + this.shape.timeoutMs / 2, later);
    } catch (error) {
      if (!isAtlasError(error)) throw error;
      later(error);
    }
  }

  /**
   * Answers once enough replicas have the step, or with an error once that has become impossible.
   */
  #confirm(
    place: LogPosition,
    answer: StepReply,
    giveUp: number,
    reply: (answer: StepReply | Error) => void,
  ): void {
    const { now } = this.scheduler;
    const counts = this.#replicas?.counts(place, now);
    if (counts) return reply(answer);
    if (counts === null || now >= giveUp) return reply(UNCONFIRMED);
    this.scheduler.after(POLL_MS, () => this.#confirm(place, answer, giveUp, reply));
  }
}

/** One process's connection to the store. */
class Connection {
  readonly process: SimProcess;
  readonly #store: SimStore;
  readonly #clock: Clock;
  readonly #out: Path;
  readonly #back: Path;
  readonly #requests = new Set<Request>();
  /** When the last message in each direction arrives: in a stream later ones don't overtake it. */
  #lastOut = 0;
  #lastBack = 0;
  #isDown = false;
  #isClosed = false;

  constructor(store: SimStore, process: SimProcess, clock: Clock) {
    this.#store = store;
    this.process = process;
    this.#clock = clock;
    this.#out = store.paths.from(process.host, store.host);
    this.#back = store.paths.from(store.host, process.host);
    process.onEnd(() => store.forget(this));
  }

  get status(): "up" | "down" {
    return this.#isClosed || this.#isDown ? "down" : "up";
  }

  /** Sends a step; a dead process gets no answer. */
  ask(name: StepName, args: readonly unknown[]): Promise<StepReply> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (!this.process.isAlive) return new Promise(() => {});
    const { scheduler, observer, shape } = this.#store;
    const step = { name, args, process: this.process.id, at: scheduler.now } as unknown as Step;
    observer.asked(step);
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(shape.timeoutMs, () => this.#timedOut(request));
      const request: Request = {
        step,
        connection: this,
        isLost: false,
        settle: (answer) => {
          if (!this.#requests.delete(request)) return;
          timer.cancel();
          if (answer instanceof Error) {
            observer.missed(step, scheduler.now);
            return reject(answer);
          }
          this.#isDown = false;
          observer.replyReceived(step, answer, scheduler.now);
          resolve(answer);
        },
      };
      this.#requests.add(request);
      this.#send(request);
    });
  }

  /** The connection breaks; steps in flight fail. */
  tear(): void {
    const { scheduler, random } = this.#store;
    for (const request of this.#requests) {
      if (random.chance(0.5)) request.isLost = true;
    }
    const torn = [...this.#requests];
    scheduler.after(random.between(0, 100), () => this.process.enter(() => this.#fail(torn)));
  }

  close(): void {
    this.#isClosed = true;
    this.#store.forget(this);
    for (const request of [...this.#requests]) request.settle(closedError());
  }

  #timedOut(request: Request): void {
    const { isStream, timeoutMs } = this.#store.shape;
    // The adapter closes a stream on which an answer is overdue.
    const lost = isStream ? [...this.#requests] : [request];
    this.#fail(lost, `no answer within ${timeoutMs} ms`);
  }

  #fail(requests: readonly Request[], why: string = "the connection was reset"): void {
    if (this.#store.shape.isStream) {
      this.#isDown = true;
      // The next step uses a new connection, without waiting for earlier steps.
      this.#lastOut = this.#lastBack = 0;
    }
    for (const request of requests) request.settle(unavailable(`the store: ${why}`));
  }

  #send(request: Request): void {
    const { scheduler, shape, random } = this.#store;
    const arrive = (): void => {
      if (!request.isLost) this.#store.arrive(request, (answer) => this.#answer(request, answer));
    };
    this.#out.whenOpen(() => {
      if (shape.isStream) {
        this.#lastOut = Math.max(this.#lastOut, scheduler.now + this.#out.streamDelay());
        return void scheduler.at(this.#lastOut, arrive);
      }
      const ms = this.#out.delay();
      if (!this.#out.isLossy()) scheduler.after(ms, arrive);
      if (this.#out.isDoubled()) scheduler.after(ms + random.between(0, LATE_MS), arrive);
    });
  }

  #answer(request: Request, answer: StepReply | Error): void {
    const { scheduler, shape } = this.#store;
    const come = (): void =>
      this.process.enter(() => {
        if (shape.isStream && isAtlasError(answer) && answer.retryable) this.#isDown = true;
        request.settle(answer);
      });
    this.#back.whenOpen(() => {
      if (shape.isStream) {
        this.#lastBack = Math.max(this.#lastBack, scheduler.now + this.#back.streamDelay());
        scheduler.at(this.#lastBack, come);
      } else if (!this.#back.isLossy()) scheduler.after(this.#back.delay(), come);
    });
  }
}

function handle(connection: Connection): Store {
  // deno-lint-ignore no-explicit-any
  const ask = (name: StepName) => (...args: unknown[]): Promise<any> => connection.ask(name, args);
  return {
    status: () => connection.status,
    register: ask("register"),
    renew: ask("renew"),
    kill: ask("kill"),
    leave: ask("leave"),
    members: ask("members"),
    lookup: ask("lookup"),
    claim: ask("claim"),
    reassert: ask("reassert"),
    kept: ask("kept"),
    release: ask("release"),
    list: ask("list"),
    read: ask("read"),
    range: ask("range"),
    commit: ask("commit"),
    close: () => Promise.resolve(connection.close()),
  };
}
