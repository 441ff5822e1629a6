/**
 * At most one process is able to commit to a key, in true time: whoever hands a commit to
 * its connection owns the key at that very instant, by the store's own book.
 *
 * Self-fencing must see to it before the fence in the store has to: an owner whose
 * successor has claimed the key does not even ask.
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
