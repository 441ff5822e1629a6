/**
 * The calls of clients as far as the clients know them, of a simulation or of real processes. Plain
 * data, so that a file can hold it.
 */

/**
 * - `ok`: answered.
 * - `fail`: refused, and said not to have been executed.
 * - `info`: nobody knows; it may have been executed, or may be yet.
 */
export type Outcome = "ok" | "fail" | "info";

export interface CallRecord {
  /** Rises with each call. */
  readonly id: number;
  /** `call`: of a method that the checkers know nothing of. */
  readonly what: "append" | "read" | "lookup" | "call";
  readonly key: string;
  /** The process whose node was asked. */
  readonly process: string;
  /** Calls of one caller to one key are made in order, without waiting for each other. */
  readonly caller: string;
  readonly idempotencyKey: string | null;
  /** What was appended; another for each call, but for repeats of one idempotency key. */
  readonly value: string;
  readonly timeoutMs: number;
  /** Keys of the resources that a call goes through before it comes to its own. */
  readonly via?: readonly string[];
  /** Whether such a chain of calls may come back to where it has been. */
  readonly mayReenter?: boolean;
  /** When its caller gave it up. */
  givenUpAt?: number;
  /** When it was made, ms of a clock that all records share. */
  readonly invokedAt: number;
  /** When it came back; Infinity where it never did. */
  returnedAt: number;
  outcome: Outcome;
  /** The error's code, where there was one. */
  code: string | null;
  /** `append`: the place it got, from 0. `read`: how many there were. */
  seq: number;
  /** Of the resource that was asked: the first of `via`, if any. */
  epoch: number;
  rrp: string | null;
  /** Of a lookup, or of an answer that was given without the store. */
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

/** One entry of a journal, as the store has it in the end. */
export interface Entry {
  readonly value: string;
  /** The epoch of the instance that wrote it. */
  readonly epoch: number;
}

/** What clients saw, and what is left. */
export interface History {
  readonly calls: readonly CallRecord[];
  /** The final state: each key's journal, in order. */
  readonly journals: ReadonlyMap<string, readonly Entry[]>;
  /** Values that a failover of the store took out of a journal, though acknowledged perhaps. */
  readonly lost?: ReadonlyMap<string, ReadonlySet<string>>;
}
