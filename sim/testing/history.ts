/**
 * The calls of an app's clients as their callers saw them; a user's check compares them with the
 * app's final state.
 */
import type { AtlasError } from "../../src/errors.ts";
import type { Outcome } from "../engine/history.ts";

/** One call of a simulation's client. */
export interface SimulatedCall {
  /** The caller: `client-0`, `client-1`, …, or `check`. */
  readonly caller: string;
  /** The called node, as `region/node`; empty if none ran. */
  readonly node: string;
  readonly type: string;
  readonly id: string;
  readonly method: string;
  readonly args: readonly unknown[];
  readonly idempotencyKey: string | null;
  /** When it was made, in virtual ms. */
  readonly invokedAt: number;
  /** When it returned; Infinity if it hasn't yet. */
  returnedAt: number;
  /**
   * - `ok`: answered; it was executed once, and is in the state.
   * - `fail`: refused; it was not executed, and never will be.
   * - `info`: unknown; it may have been executed, or may still be.
   */
  outcome: Outcome;
  /** Its result; undefined unless `ok`. */
  result: unknown;
  /** The error with which it was rejected; null if it wasn't. */
  error: AtlasError | null;
  /** The RRP and epoch of the resource that answered; null and 0 unless `ok`. */
  rrp: string | null;
  epoch: number;
}
