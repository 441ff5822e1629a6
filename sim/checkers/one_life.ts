/**
 * Rule: a node name has at most one live incarnation. Once a newer one has registered, the store
 * renews no older one's lease, whatever becomes of the newer one.
 */
import type { RegisterReply, RenewReply } from "../../src/ports/store.ts";
import type { LiveChecker } from "./checker.ts";

export const oneLife: LiveChecker = {
  name: "one life",
  watch(_scene, report) {
    const names = new Map<string, string>();
    /** The last incarnation that registered under each name. */
    const latest = new Map<string, string>();
    return {
      failedOver(_former, promoted) {
        latest.clear();
        for (const { region, node, incarnation, state } of promoted.members().members) {
          if (state === "live") latest.set(`${region}/${node}`, incarnation);
        }
      },
      applied(step, reply) {
        if (step.name === "register") {
          if ((reply as RegisterReply).outcome !== "registered") return;
          const { incarnation, region, node } = step.args[0];
          names.set(incarnation, `${region}/${node}`);
          latest.set(`${region}/${node}`, incarnation);
        } else if (step.name === "renew") {
          if ((reply as RenewReply).outcome !== "renewed") return;
          const [incarnation] = step.args;
          const name = names.get(incarnation);
          if (name === undefined || latest.get(name) === incarnation) return;
          report(`${step.process} renewed ${incarnation}, but ${name} is ${latest.get(name)} now`);
        }
      },
    };
  },
};
