/**
 * The calls of clients as far as the clients know them, of a simulation or of real processes. Plain
 * data, so that a file can hold it.
 */

/**
 * - `ok`: answered.
 * - `fail`: refused, and said not to have been executed.
 * - `info`: unknown; it may have been executed, or may still be.
 */
export type Outcome = "ok" | "fail" | "info";

export interface CallRecord {
  /** The call's number, which rises with each call. */
  readonly id: number;
  /** `call`: a method that the checkers don't know. */
  readonly what: "append" | "read" | "lookup" | "call";
  readonly key: string;
  /** The process whose node was asked. */
  readonly process: string;
  /** Calls of one caller to one key are made in order, without waiting for each other. */
  readonly caller: string;
  readonly idempotencyKey: string | null;
  /**
   * The appended value; unique for each call, except that repeats with one idempotency key share
   * it.
   */
  readonly value: string;
  readonly timeoutMs: number;
  /** Keys of the resources through which a call goes before it reaches its own. */
  readonly via?: readonly string[];
  /** Whether such a chain of calls may return to a resource in it. */
  readonly mayReenter?: boolean;
  /** When its caller aborted it. */
  givenUpAt?: number;
  /** When it was made, ms of a clock that all records share. */
  readonly invokedAt: number;
  /** When it returned; Infinity if it never did. */
  returnedAt: number;
  outcome: Outcome;
  /** The error's code, if there was an error. */
  code: string | null;
  /** `append`: its position, from 0. `read`: the number of entries. */
  seq: number;
  /** The location of the called resource: the first of `via`, if any. */
  epoch: number;
  rrp: string | null;
  /** The verdict of a lookup, or of an answer that was given without the store. */
  verdict: string | null;
}

type Call = Omit<
  CallRecord,
  "returnedAt" | "outcome" | "code" | "seq" | "epoch" | "rrp" | "verdict"
>;

/** The record of a call that has not been answered. */
export function openRecord(call: Call): CallRecord {
  return {
    ...call,
    returnedAt: Infinity,
    outcome: "info",
    code: null,
    seq: -1,
    epoch: 0,
    rrp: null,
    verdict: null,
  };
}

/** One entry of a journal in the final state. */
export interface Entry {
  readonly value: string;
  /** The epoch of the instance that wrote it. */
  readonly epoch: number;
}

/** The calls that clients saw, and the final state. */
export interface History {
  readonly calls: readonly CallRecord[];
  /** The final state: each key's journal, in order. */
  readonly journals: ReadonlyMap<string, readonly Entry[]>;
  /**
   * Values that a failover of the store removed from a journal, although they may have been
   * acknowledged.
   */
  readonly lost?: ReadonlyMap<string, ReadonlySet<string>>;
}
