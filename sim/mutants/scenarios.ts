/**
 * Directed scenarios: plans written by hand, each for one mutant that random faults catch too
 * rarely. The unmodified protocol passes all of them.
 */
import type { Plan } from "../plan/plan.ts";
import { backAndPromoted } from "./scenarios/back_and_promoted.ts";
import { blindKill } from "./scenarios/blind_kill.ts";
import { fullForLong } from "./scenarios/full_for_long.ts";
import { hastyClaim } from "./scenarios/hasty_claim.ts";
import { lateLanding } from "./scenarios/late_landing.ts";
import { lateClaim } from "./scenarios/late_claim.ts";
import { lateDeparture } from "./scenarios/late_departure.ts";
import { lateSecondLook } from "./scenarios/late_second_look.ts";
import { lostAndWrittenOver } from "./scenarios/lost_and_written_over.ts";
import { releasedAndLost } from "./scenarios/released_and_lost.ts";
import { outlivedWork } from "./scenarios/outlived_work.ts";
import { revival } from "./scenarios/revival.ts";
import { shortOutage } from "./scenarios/short_outage.ts";
import { unresponsiveLink } from "./scenarios/unresponsive_link.ts";
import { slowReassertion } from "./scenarios/slow_reassertion.ts";
import { slowRenewal } from "./scenarios/slow_renewal.ts";
import { twins } from "./scenarios/twins.ts";

export const SCENARIOS: Readonly<Record<string, Plan>> = {
  slow_renewal: slowRenewal,
  slow_reassertion: slowReassertion,
  revival,
  late_claim: lateClaim,
  late_landing: lateLanding,
  late_departure: lateDeparture,
  blind_kill: blindKill,
  hasty_claim: hastyClaim,
  late_second_look: lateSecondLook,
  silent_road: unresponsiveLink,
  back_and_promoted: backAndPromoted,
  released_and_lost: releasedAndLost,
  lost_and_written_over: lostAndWrittenOver,
  short_outage: shortOutage,
  full_for_long: fullForLong,
  twins,
  outlived_work: outlivedWork,
};

/** The scenario of this name. @throws Error where there is none */
export function scenarioOf(name: string): Plan {
  const plan = SCENARIOS[name];
  if (plan) return plan;
  throw new Error(`no scenario is called ${name}; there are: ${Object.keys(SCENARIOS).join(", ")}`);
}
