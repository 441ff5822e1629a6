/**
 * Rule: a store that refuses connections for less than the lease ends no lease, because the time
 * left after the outage exceeds the interval between two renewals. A full store ends no lease,
 * however long it is full. Plans in which links lose or delay messages are not judged.
 */
import type { LiveChecker } from "./checker.ts";

/** What a renewal, its connection and the pause before it may take, in heartbeats. */
const SPARE_BEATS = 1.5;

export const needlessLapse: LiveChecker = {
  name: "needless lapse",
  watch({ plan }, report) {
    const { linkConditions: weather, lease: { heartbeatMs, leaseMs } } = plan.shape;
    if (weather.loss > 0 || weather.tail > 0) return {};
    return {
      eventLogged(process, { event }, at) {
        if (event !== "lease lapsed") return;
        const since = at - leaseMs - heartbeatMs;
        const near = plan.faults.filter((fault) => fault.at <= at && fault.at + fault.ms >= since);
        const [outage] = near;
        if (near.length !== 1) return;
        if (outage?.kind === "store_full") {
          return report(`${process}'s lease of ${leaseMs} ms lapsed: the store was full, no more`);
        }
        if (outage?.kind !== "store_outage" || outage.ms >= leaseMs - SPARE_BEATS * heartbeatMs) {
          return;
        }
        report(
          `${process}'s lease of ${leaseMs} ms lapsed: the store was away for ${outage.ms} ms`,
        );
      },
    };
  },
};
