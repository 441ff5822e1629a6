/**
 * Claim, release and takeover of each key are linearizable, as the processes heard of
 * them: there is an order of all attempts, each between its asking and its answer, in
 * which a compare-and-set register gives every answer that was heard.
 *
 * An ownership's epoch names its place in that order, so the search is short: whoever
 * heard of epoch n after n + 1 had been heard of was told a lie.
 *
 * Source: Herlihy and Wing, "Linearizability" (1990).
 */
import type { ClaimReply } from "../../src/ports/store.ts";
import type { Step, StepReply } from "../observer.ts";
import type { LiveChecker } from "./checker.ts";

/** What is known of one key. */
interface Known {
  /** The highest epoch that anyone had heard of, and each time it rose. */
  readonly heard: { at: number; epoch: number }[];
  /** Who won each epoch. */
  readonly winners: Map<number, string>;
  /** When the release of an epoch was heard to have been done. */
  readonly released: Map<number, number>;
}

export const claims: LiveChecker = {
  name: "claims",
  watch(_scene, report) {
    const keys = new Map<string, Known>();
    const known = (key: string): Known => {
      let it = keys.get(key);
      if (!it) keys.set(key, it = { heard: [], winners: new Map(), released: new Map() });
      return it;
    };
    const told = (step: Step, key: string, epoch: number, at: number): void => {
      const { heard, released } = known(key);
      // What was heard before this attempt was asked for is over and done.
      const before = heard.findLast((it) => it.at < step.at);
      if (before && epoch < before.epoch) {
        report(`${step.process} was told of epoch ${epoch} of ${key}, after ${before.epoch}`);
      }
      if ((released.get(epoch) ?? Infinity) < step.at) {
        report(`${step.process} was told of epoch ${epoch} of ${key}, which was released`);
      }
      if (epoch > (heard.at(-1)?.epoch ?? 0)) heard.push({ at, epoch });
    };
    return {
      heard(step: Step, reply: StepReply, at: number) {
        if (step.name === "claim") {
          const { won, owner } = reply as ClaimReply;
          const { key, incarnation } = step.args[0];
          if (!owner) return;
          told(step, key, owner.epoch, at);
          const { winners } = known(key);
          const winner = winners.get(owner.epoch) ?? owner.incarnation;
          winners.set(owner.epoch, winner);
          if (winner !== owner.incarnation || (won && incarnation !== winner)) {
            report(`${key}: epoch ${owner.epoch} was won by ${winner} and ${incarnation}`);
          }
        } else if (step.name === "release" && reply === true) {
          const [key, , epoch] = step.args;
          known(key).released.set(epoch, at);
        }
      },
    };
  },
};
