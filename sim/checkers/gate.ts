/**
 * Rule: a burst of calls for one unowned name makes one claim. A process never claims a key while
 * its own earlier attempt is pending, and each epoch of a key is won by one attempt only.
 *
 * Source: docs/design.md, Claims; partykit #329.
 */
import type { ClaimReply } from "../../src/ports/store.ts";
import type { Step } from "../engine/observer.ts";
import type { LiveChecker } from "./checker.ts";

export const gate: LiveChecker = {
  name: "gate",
  watch(_scene, report) {
    /** The claim of each process and key whose answer is awaited. */
    const waiting = new Map<string, Step>();
    const winners = new Map<string, string>();
    const over = (step: Step): void => {
      if (step.name !== "claim") return;
      const lane = processKey(step.process, step.args[0].key);
      if (waiting.get(lane) === step) waiting.delete(lane);
    };
    return {
      asked(step) {
        if (step.name !== "claim") return;
        const { key, opId } = step.args[0];
        const lane = processKey(step.process, key);
        const before = waiting.get(lane);
        waiting.set(lane, step);
        if (before) {
          report(`${step.process} claims ${key} (${opId}) while it waits for an earlier claim`);
        }
      },
      missed: over,
      replyReceived: over,
      applied(step, reply) {
        if (step.name !== "claim") return;
        const { won, owner } = reply as ClaimReply;
        if (!won || !owner) return;
        const { key, opId } = step.args[0];
        const which = `epoch ${owner.epoch} of ${key}`;
        const winner = winners.get(which) ?? opId;
        winners.set(which, winner);
        if (winner !== opId) report(`${which} was won by two attempts, ${winner} and ${opId}`);
      },
    };
  },
};

function processKey(process: string, key: string): string {
  return `${process} ${key}`;
}
