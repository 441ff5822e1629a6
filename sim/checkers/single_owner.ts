/**
 * Rule: at most one process can commit to a key. Whoever sends a commit owns the key at that
 * instant, by the store's ground truth.
 *
 * Self-fencing must act before the fence in the store has to: an owner whose successor has claimed
 * the key does not even send a commit.
 */
import type { LiveChecker } from "./checker.ts";

export const singleOwner: LiveChecker = {
  name: "single owner",
  watch: ({ ground }, report) => ({
    asked(step) {
      if (step.name !== "commit") return;
      const { key, incarnation, epoch } = step.args[0];
      const owner = ground.owner(key);
      if (owner?.incarnation === incarnation && owner.epoch === epoch) return;
      report(
        `${step.process} would commit to ${key} under epoch ${epoch} at ${step.at.toFixed(3)}, ` +
          `but its owner is ${owner ? `${owner.rrp}, epoch ${owner.epoch}` : "nobody"}`,
      );
    },
  }),
};
