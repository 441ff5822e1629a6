/**
 * Rule: where no fault happens and nothing is closed, no call fails, and no buyer has less than it
 * wanted once it had that, whatever code is loaded meanwhile.
 */
import type { SimBuyer } from "../buyers.ts";
import type { MarketChecker } from "./checker.ts";

export const calm: MarketChecker = {
  name: "calm",
  watch({ plan }, report) {
    if (!plan.market.isCalm) return {};
    const served = new Set<SimBuyer>();
    return {
      moduleReturned({ id, outcome, code, message }) {
        if (outcome !== "ok") report(`call ${id} failed with ${code}: ${message}`);
      },
      sampled({ sim, buyers }) {
        for (const { buyer, module, granted, wanted } of buyers) {
          if (granted >= wanted) served.add(buyer);
          if (granted >= wanted || !served.has(buyer)) continue;
          report(`a buyer of ${module} at ${sim.process.id} had ${wanted}, and has ${granted}`);
        }
      },
    };
  },
};
