/**
 * The history of a simulated market in true time: what was published, called and run. Only checkers
 * read it. Each entry is passed to the observers as it happens.
 */
import type {
  ExchangeView,
  Listener,
  ListenerStats,
  MarketStats,
  PlbStats,
} from "../../src/api/modules.ts";
import type { Report } from "../checkers/checker.ts";
import type { Outcome } from "../engine/history.ts";
import type { Observer } from "../engine/observer.ts";
import type { SimNode, World } from "../engine/world.ts";
import type { Behavior, MarketPlan } from "../plan/market_plan.ts";
import type { SimBuyer } from "./buyers.ts";
import type { SentMessage } from "./message_faults.ts";

/** A module that one process publishes. */
export interface Publication {
  readonly id: number;
  readonly process: string;
  readonly module: string;
  readonly capacity: number;
  readonly listener: () => Listener;
  /** Functions that run. */
  running: number;
  /** Whether its user closed it. */
  isClosed: boolean;
}

/** One run of a function. */
export interface Run {
  readonly call: number;
  readonly publication: Publication;
  readonly version: string;
  /** The hash of the code. */
  readonly hash: string;
  readonly beganAt: number;
  /** Infinity while it runs, or if its process died. */
  endedAt: number;
}

/** A call of a function, as its caller saw it. */
export interface ModuleCallRecord {
  readonly id: number;
  readonly process: string;
  readonly module: string;
  readonly name: string;
  readonly behavior: Behavior;
  readonly timeoutMs: number;
  readonly noWait: boolean;
  /** Whether it was made after healing: then it must be answered. */
  readonly isProbe: boolean;
  readonly invokedAt: number;
  /** The total time for which its process had been paused by then, ms. */
  readonly heldMs: number;
  givenUpAt: number;
  /** Infinity if it never returned. */
  returnedAt: number;
  outcome: Outcome;
  code: string | null;
  message: string;
  /** The node and code that answered, and the answer. */
  node: string;
  version: string;
  result: unknown;
  readonly runs: Run[];
}

/** A listener's statistics. */
export interface ListenerSample {
  readonly publication: Publication | undefined;
  readonly stats: ListenerStats;
}

/** The statistics of the listeners and buyers of one process. */
export interface ProcessSample {
  readonly sim: SimNode;
  readonly listeners: readonly ListenerSample[];
  readonly buyers: readonly (PlbStats & { readonly buyer: SimBuyer })[];
  /** Its node's statistics of all of them; reading them costs time. */
  readonly marketStats: () => MarketStats;
}

/** Observes a market, in addition to what can be observed of any world. */
export interface MarketObserver extends Observer {
  published?(publication: Publication): void;
  began?(run: Run, call: ModuleCallRecord): void;
  ended?(run: Run, call: ModuleCallRecord): void;
  /** A call of a module was made, or came back. */
  moduleCalled?(call: ModuleCallRecord): void;
  moduleReturned?(call: ModuleCallRecord): void;
  /** Something ran in a process; this is its state now. */
  sampled?(sample: ProcessSample): void;
  /** A message goes from one node to another. */
  messageSent?(sent: SentMessage): void;
  /** A process read the order books of a module. */
  orderBooksRead?(sim: SimNode, books: readonly ExchangeView[]): void;
}

export class MarketHistory {
  readonly calls: ModuleCallRecord[] = [];
  readonly publications: Publication[] = [];
  readonly #observers: MarketObserver[] = [];
  readonly #byListener = new Map<Listener, Publication>();

  join(observer: MarketObserver): void {
    this.#observers.push(observer);
  }

  published(publication: Publication): void {
    this.publications.push(publication);
    this.#byListener.set(publication.listener(), publication);
    for (const it of this.#observers) it.published?.(publication);
  }

  publicationOf(listener: Listener): Publication | undefined {
    return this.#byListener.get(listener);
  }

  began(run: Run): void {
    const call = this.calls[run.call] as ModuleCallRecord;
    run.publication.running++;
    call.runs.push(run);
    for (const it of this.#observers) it.began?.(run, call);
  }

  ended(run: Run, at: number): void {
    if (run.endedAt < Infinity) return;
    run.endedAt = at;
    run.publication.running--;
    const call = this.calls[run.call] as ModuleCallRecord;
    for (const it of this.#observers) it.ended?.(run, call);
  }

  called(call: ModuleCallRecord): void {
    this.calls.push(call);
    for (const it of this.#observers) it.moduleCalled?.(call);
  }

  returned(call: ModuleCallRecord): void {
    for (const it of this.#observers) it.moduleReturned?.(call);
  }

  orderBooksRead(sim: SimNode, books: readonly ExchangeView[]): void {
    for (const it of this.#observers) it.orderBooksRead?.(sim, books);
  }

  messageSent(sent: SentMessage): void {
    for (const it of this.#observers) it.messageSent?.(sent);
  }

  sampled(sample: ProcessSample): void {
    for (const it of this.#observers) it.sampled?.(sample);
  }
}

/** What a market checker may read. */
export interface MarketCheckContext {
  readonly plan: MarketPlan;
  readonly history: MarketHistory;
  /** The world, once it exists: checkers are created before it. */
  readonly world: () => World;
}

/** Observes one rule and changes nothing. */
export interface MarketChecker {
  readonly name: string;
  watch(context: MarketCheckContext, report: Report): MarketObserver;
}
