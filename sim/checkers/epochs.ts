/**
 * Rule: epochs only rise. Each ownership of a key has a higher epoch than the one before, whatever
 * a failover lost, and no commit has a lower one.
 */
import type { ClaimReply, Standing } from "../../src/ports/store.ts";
import type { LiveChecker } from "./checker.ts";

export const epochs: LiveChecker = {
  name: "epochs",
  watch(_scene, report) {
    const claimed = new Map<string, { epoch: number; opId: string }>();
    const committed = new Map<string, number>();
    /** The epoch of each key's entry. */
    const fences = new Map<string, number | undefined>();
    return {
      failedOver(_former, promoted) {
        for (const key of fences.keys()) fences.set(key, promoted.lookup(key)?.epoch);
      },
      applied(step, reply) {
        if (step.name === "claim") {
          const { won, owner } = reply as ClaimReply;
          const { key, opId } = step.args[0];
          if (!won || !owner) return;
          const last = claimed.get(key);
          const isRepeat = last?.opId === opId && last.epoch === owner.epoch;
          if (last && owner.epoch <= last.epoch && !isRepeat) {
            report(`${key} was claimed under epoch ${owner.epoch}, after ${last.epoch}`);
          }
          claimed.set(key, { epoch: owner.epoch, opId });
          fences.set(key, owner.epoch);
        } else if (step.name === "reassert") {
          step.args[0].forEach(({ key, epoch }, i) => {
            const { standing } = (reply as Standing[] | null)?.[i] ?? {};
            if (standing !== undefined && standing !== "lost") fences.set(key, epoch);
          });
        } else if (step.name === "commit" && reply === "committed") {
          const { key, epoch } = step.args[0];
          const last = committed.get(key) ?? 0;
          if (epoch < last) report(`${key}: a commit of epoch ${epoch} came after one of ${last}`);
          if (epoch !== fences.get(key)) {
            const fence = fences.get(key) ?? "nobody";
            report(`${key}: a commit of epoch ${epoch} passed the fence of ${fence}`);
          }
          committed.set(key, Math.max(last, epoch));
        }
      },
    };
  },
};
