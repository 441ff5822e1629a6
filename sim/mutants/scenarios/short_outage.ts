/**
 * The store goes away right before a heartbeat, and is back half a lease later: both nodes' leases
 * have some time left then, but less than a heartbeat.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const shortOutage: Plan = scenario(
  {},
  // The leases of 1,000 hold until 4,000; the heartbeats at 2,000 and 3,000 fail.
  [fault(1_990, "store_outage", 0, 1_450)],
  [append(1_500, 0), append(5_000, 1)],
);
