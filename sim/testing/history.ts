/**
 * The calls of an app's clients as their callers saw them; a user's check compares them with the
 * app's final state.
 */
import type { AtlasError } from "../../src/errors.ts";
import type { Outcome } from "../engine/history.ts";

/** One call of a simulation's client. */
export interface SimulatedCall {
  /** Who called: `client-0`, `client-1`, …, or `check`. */
  readonly caller: string;
  /** The node asked, as `region/node`; empty where none ran. */
  readonly node: string;
  readonly type: string;
  readonly id: string;
  readonly method: string;
  readonly args: readonly unknown[];
  readonly idempotencyKey: string | null;
  /** When it was made, in virtual ms. */
  readonly invokedAt: number;
  /** When it came back; Infinity while it hasn't. */
  returnedAt: number;
  /**
   * - `ok`: answered; it was executed once, and is in the state.
   * - `fail`: refused; it was not executed, and never will be.
   * - `info`: nobody knows; it may have been executed, or may be yet.
   */
  outcome: Outcome;
  /** What it answered; undefined unless `ok`. */
  result: unknown;
  /** What it was rejected with; null unless it was. */
  error: AtlasError | null;
  /** Where the resource lived that answered, and its epoch; null and 0 unless `ok`. */
  rrp: string | null;
  epoch: number;
}
