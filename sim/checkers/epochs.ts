/** Epochs only rise: each ownership of a key has a higher one, and no commit has a lower one. */
import type { ClaimReply } from "../../src/ports/store.ts";
import type { LiveChecker } from "./checker.ts";

export const epochs: LiveChecker = {
  name: "epochs",
  watch(_scene, report) {
    const claimed = new Map<string, { epoch: number; opId: string }>();
    const committed = new Map<string, number>();
    return {
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
        } else if (step.name === "commit" && reply === "committed") {
          const { key, epoch } = step.args[0];
          const last = committed.get(key) ?? 0;
          if (epoch < last) report(`${key}: a commit of epoch ${epoch} came after one of ${last}`);
          if (epoch !== claimed.get(key)?.epoch) {
            report(
              `${key}: a commit of epoch ${epoch} passed the fence of ${
                claimed.get(key)?.epoch ?? "nobody"
              }`,
            );
          }
          committed.set(key, Math.max(last, epoch));
        }
      },
    };
  },
};
