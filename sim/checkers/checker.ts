/**
 * The interface of checkers. A checker observes one rule from outside and changes nothing.
 *
 * A live checker sees a simulation as it happens. A history checker needs only what clients saw and
 * the final state, so it also judges real processes.
 */
import type { GroundTruth } from "../engine/ground_truth.ts";
import type { History } from "../engine/history.ts";
import type { Observer } from "../engine/observer.ts";
import type { RunPlan } from "../plan/plan.ts";
import type { World } from "../engine/world.ts";

/** Reports that the rule was broken, and how. */
export type Report = (message: string) => void;

export interface CheckContext {
  readonly truth: GroundTruth;
  readonly plan: RunPlan;
  /** Keys that every node must serve after healing. */
  readonly keys: () => readonly string[];
  /** The world, once it exists: checkers are created before it. */
  readonly world: () => World;
}

export interface LiveChecker {
  readonly name: string;
  watch(context: CheckContext, report: Report): Observer;
}

export interface HistoryChecker {
  readonly name: string;
  check(history: History, report: Report): void;
}
