/**
 * What can be observed of a simulation from outside, in true time. Checkers implement it; an
 * observer must change nothing.
 */
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { StoreState } from "../../adapters/store/store_state.ts";
import type { CallRecord } from "./history.ts";

export type StepName =
  | "register"
  | "renew"
  | "kill"
  | "leave"
  | "members"
  | "lookup"
  | "claim"
  | "reassert"
  | "kept"
  | "release"
  | "list"
  | "read"
  | "range"
  | "commit";

/** A step of the store as a process requests it. */
export type Step = {
  [N in StepName]: {
    readonly name: N;
    readonly args: Parameters<StoreState[N]>;
    /** The process that requested it. */
    readonly process: string;
    /** True time of the request, ms. */
    readonly at: number;
    /** The copy of the store that applied it, once it has. */
    copy?: string;
  };
}[StepName];

/** The reply to a step, under the step's name. */
export type StepReply = ReturnType<StoreState[StepName]>;

export interface Observer {
  /** A process handed a step to its connection to the store. */
  asked?(step: Step): void;
  /** The store applied a step, at true time `at`; `reply` is its answer. */
  applied?(step: Step, reply: StepReply, at: number): void;
  /** A process received the answer. */
  replyReceived?(step: Step, reply: StepReply, at: number): void;
  /** A process gave up waiting for the answer, or learned that there is none. */
  missed?(step: Step, at: number): void;
  /** A replica took the primary's place, at true time `at`; with both states at that time. */
  failedOver?(former: StoreState, promoted: StoreState, at: number): void;
  /** A key's state vanished from the store, at true time `at`; with its fields before. */
  stateLost?(key: string, fields: readonly (readonly [string, string])[], at: number): void;
  /** A node logged an event. */
  eventLogged?(process: string, event: NodeEvent, at: number): void;
  /** A client's call was made. */
  called?(call: CallRecord): void;
  /** A client's call returned; its record is complete. */
  returned?(call: CallRecord): void;
  /** A process began, or died. */
  process?(id: string, isAlive: boolean, at: number): void;
  /** An event has ended and all its promises have settled. */
  stepped?(at: number): void;
  /** Everything was healed, at true time `at`. */
  healed?(at: number): void;
  /** The simulation has ended. Nodes' statistics may be read now. */
  finished?(): void;
}

/** Passes everything on to several observers, in their order. */
export function fanOut(observers: readonly Observer[]): Required<Observer> {
  const withMethod = <M extends keyof Observer>(method: M): readonly Observer[] =>
    observers.filter((observer) => observer[method] !== undefined);
  const lists = {
    asked: withMethod("asked"),
    applied: withMethod("applied"),
    replyReceived: withMethod("replyReceived"),
    missed: withMethod("missed"),
    failedOver: withMethod("failedOver"),
    stateLost: withMethod("stateLost"),
    eventLogged: withMethod("eventLogged"),
    called: withMethod("called"),
    returned: withMethod("returned"),
    process: withMethod("process"),
    stepped: withMethod("stepped"),
    healed: withMethod("healed"),
    finished: withMethod("finished"),
  };
  return {
    asked: (step) => lists.asked.forEach((it) => it.asked?.(step)),
    applied: (step, reply, at) => lists.applied.forEach((it) => it.applied?.(step, reply, at)),
    replyReceived: (step, reply, at) =>
      lists.replyReceived.forEach((it) => it.replyReceived?.(step, reply, at)),
    missed: (step, at) => lists.missed.forEach((it) => it.missed?.(step, at)),
    failedOver: (former, promoted, at) =>
      lists.failedOver.forEach((it) => it.failedOver?.(former, promoted, at)),
    stateLost: (key, fields, at) =>
      lists.stateLost.forEach((it) => it.stateLost?.(key, fields, at)),
    eventLogged: (process, event, at) =>
      lists.eventLogged.forEach((it) => it.eventLogged?.(process, event, at)),
    called: (call) => lists.called.forEach((it) => it.called?.(call)),
    returned: (call) => lists.returned.forEach((it) => it.returned?.(call)),
    process: (id, isAlive, at) => lists.process.forEach((it) => it.process?.(id, isAlive, at)),
    stepped: (at) => lists.stepped.forEach((it) => it.stepped?.(at)),
    healed: (at) => lists.healed.forEach((it) => it.healed?.(at)),
    finished: () => lists.finished.forEach((it) => it.finished?.()),
  };
}
