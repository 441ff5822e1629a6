/**
 * Rule: every call returns by its deadline, or when its caller aborts it, as long as its process
 * lives.
 */
import type { CallRecord } from "../engine/history.ts";
import type { LiveChecker } from "./checker.ts";

/** How much later than its deadline a call may come back: timers are not exact. In ms. */
const SLACK_MS = 100;

export const returns: LiveChecker = {
  name: "returns",
  watch({ plan, world }, report) {
    const open = new Set<CallRecord>();
    return {
      called: (call) => void open.add(call),
      returned(call) {
        open.delete(call);
        const { id, process, givenUpAt = Infinity, returnedAt } = call;
        if (returnedAt > givenUpAt + SLACK_MS) {
          report(
            `call ${id} through ${process} came back ${
              returnedAt - givenUpAt
            } ms after it was given up`,
          );
        }
      },
      finished() {
        for (const { process, node } of world().nodes()) {
          const left = [...open].filter((call) => call.process === process.id);
          for (const call of left) {
            const dueAt = Math.max(call.invokedAt, plan.healAt) + call.timeoutMs + SLACK_MS;
            if (dueAt < plan.endAt) report(`call ${call.id} through ${process.id} never came back`);
          }
          const calls = left.filter(({ what }) => what !== "lookup").length;
          const { inFlight = 0 } = node?.stats() ?? {};
          if (inFlight > calls) {
            report(`${process.id} holds ${inFlight} calls, while ${calls} are waited for`);
          }
        }
      },
    };
  },
};
