/** No part of a market throws: what is started again in its place would hide the fault. */
import type { MarketChecker } from "./checker.ts";

export const parts: MarketChecker = {
  name: "parts",
  watch(_scene, report) {
    return {
      told(process, { event, fields: { part, reason } }) {
        // A mutant has parts throw, to see whether they are started again.
        if (event !== "part failed" || reason === "thrown on purpose") return;
        report(`${part} at ${process} failed: ${reason}`);
      },
    };
  },
};
