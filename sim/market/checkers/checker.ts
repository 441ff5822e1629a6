/** The interface of market checkers: each observes one rule and changes nothing. */
import type { Report } from "../../checkers/checker.ts";
import type { World } from "../../engine/world.ts";
import type { MarketHistory, MarketObserver } from "../history.ts";
import type { MarketPlan } from "../../plan/market_plan.ts";

export interface MarketCheckContext {
  readonly plan: MarketPlan;
  readonly history: MarketHistory;
  /** Once it is there: checkers are made before the world is. */
  readonly world: () => World;
}

export interface MarketChecker {
  readonly name: string;
  watch(scene: MarketCheckContext, report: Report): MarketObserver;
}
