/** Where nothing goes wrong and nothing is closed, no call fails, whatever code is loaded. */
import type { MarketChecker } from "./checker.ts";

export const calm: MarketChecker = {
  name: "calm",
  watch({ plan }, report) {
    if (!plan.market.isCalm) return {};
    return {
      moduleReturned({ id, outcome, code, message }) {
        if (outcome !== "ok") report(`call ${id} failed with ${code}: ${message}`);
      },
    };
  },
};
