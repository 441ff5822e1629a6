/**
 * Rule: a process that renews its lease keeps its node's name, however many others start under it.
 * While nothing else goes wrong, no registration ends its renewals.
 */
import type { RegisterReply, RenewReply } from "../../src/ports/store.ts";
import type { LiveChecker } from "./checker.ts";

/** A newcomer looks for longer than this before it takes a name, in heartbeats. */
const SEEN_FROM_BEATS = 2.25;
/** And what is done earlier than this it has heard of, where nothing is slow. */
const SEEN_TO_BEATS = 1;

export const nameKept: LiveChecker = {
  name: "name kept",
  watch({ plan }, report) {
    const { lease: { heartbeatMs }, linkConditions: { tail, loss, baseMs } } = plan.shape;
    if (tail > 0 || loss > 0 || baseMs > heartbeatMs / 10) return {};
    /** Who has each name, and when its last renewals were done. */
    const holders = new Map<string, { incarnation: string; renewals: number[] }>();
    return {
      applied(step, reply, at) {
        if (step.name === "renew") {
          if ((reply as RenewReply).outcome !== "renewed") return;
          for (const holder of holders.values()) {
            if (holder.incarnation !== step.args[0]) continue;
            const since = at - SEEN_FROM_BEATS * heartbeatMs;
            holder.renewals = [...holder.renewals.filter((it) => it > since), at];
          }
        } else if (step.name === "register") {
          if ((reply as RegisterReply).outcome !== "registered") return;
          const { incarnation, region, node } = step.args[0];
          const name = `${region}/${node}`;
          const former = holders.get(name);
          holders.set(name, { incarnation, renewals: [] });
          const near = plan.faults.filter((it) =>
            it.at <= at && it.at + it.ms >= at - 10 * heartbeatMs
          );
          if (!former || near.length === 0 || near.some(({ kind }) => kind !== "twin")) return;
          const seen = former.renewals.filter((it) =>
            it > at - SEEN_FROM_BEATS * heartbeatMs && it < at - SEEN_TO_BEATS * heartbeatMs
          );
          if (seen.length === 0) return;
          report(`${step.process} took the name ${name} from one that renewed at ${seen[0]}`);
        }
      },
    };
  },
};
