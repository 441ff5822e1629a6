/** Rule: never do more functions of a publication run than its capacity. */
import type { MarketChecker } from "./checker.ts";

export const capacity: MarketChecker = {
  name: "capacity",
  watch(_scene, report) {
    return {
      began({ call, publication }) {
        const { process, module, capacity, running } = publication;
        if (running <= capacity) return;
        report(
          `call ${call} is number ${running} to run at ${process}, which sells ${capacity} of ${module}`,
        );
      },
    };
  },
};
