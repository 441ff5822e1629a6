/** No process of a market throws: a restart would hide the fault. */
import type { MarketChecker } from "./checker.ts";

export const processes: MarketChecker = {
  name: "processes",
  watch(_scene, report) {
    return {
      eventLogged(life, { event, fields: { process, reason } }) {
        // A mutant makes processes throw, to check that they are restarted.
        if (event !== "process failed" || reason === "thrown on purpose") return;
        report(`${process} at ${life} failed: ${reason}`);
      },
    };
  },
};
