/**
 * Rules on claims:
 *
 * - `claims`: the claims, releases and takeovers of each key are linearizable.
 * - `single claim`: a process has one claim of a key pending at most.
 */
import type { Ownership } from "../../src/model/ownership.ts";
import type { Claim, ClaimReply } from "../../src/ports/store.ts";
import type { Step, StepReply } from "../engine/observer.ts";
import type { LiveChecker, Report } from "./checker.ts";
import { Observations } from "./observations.ts";
import { fitIntervals } from "./ownership_intervals.ts";

/**
 * Rule: the claims, releases and takeovers of each key are linearizable. There is an order of all
 * attempts, each between its request and its reply, in which a compare-and-set register gives every
 * reply that was received, epochs only rise, and no owner is treated as dead before it was declared
 * dead.
 *
 * Uses only the processes' requests to the store and the replies that they received. An attempt
 * whose reply was lost may have been done at any time, never, or twice. Replies of a replicated
 * store count only if replicas confirmed them. {@link fitIntervals} checks each key at the end.
 *
 * Source: Herlihy and Wing, "Linearizability" (1990).
 */
export const claims: LiveChecker = {
  name: "claims",
  watch({ plan: { shape: { store: { lagMs, isConfirmed } }, faults = [] } }, report) {
    // Replies of a registry that was replaced say nothing about the one that follows.
    const isReplaced = faults.some(({ kind }) => kind === "registry_replaced");
    if (isReplaced || lagMs !== undefined && !isConfirmed) return {};
    const keys = new Map<string, Observations>();
    /** When an incarnation's death was first requested. */
    const deathAskedAt = new Map<string, number>();
    const of = (key: string): Observations => {
      let it = keys.get(key);
      if (!it) keys.set(key, it = new Observations(key, report));
      return it;
    };
    return {
      asked(step: Step) {
        if (step.name === "claim") of(step.args[0].key).attempted(step.args[0], step.at);
        else if (step.name === "reassert") {
          for (const { key, epoch } of step.args[0]) of(key).reasserted(epoch);
        } else if (step.name === "release") {
          const [key, incarnation, epoch] = step.args;
          of(key).releasing(incarnation, epoch, step.at);
        } else if (step.name === "kill" || step.name === "leave") {
          const incarnation = step.name === "kill" ? step.args[0] : step.args[0].incarnation;
          if (!deathAskedAt.has(incarnation)) deathAskedAt.set(incarnation, step.at);
        }
      },
      replyReceived(step: Step, reply: StepReply, at: number) {
        if (step.name === "claim") {
          const answer = reply as ClaimReply;
          if (answer.quarantined) return;
          checkSense(step.args[0], answer, report);
          of(step.args[0].key).claimed(step.args[0], answer, step.at, at);
        } else if (step.name === "lookup") {
          // The step may have read writes that no replica will ever copy.
          if (lagMs !== undefined) return;
          of(step.args[0]).saw(reply as Ownership | null, step.at, at);
        } else if (step.name === "release") {
          const [key, , epoch] = step.args;
          of(key).released(epoch, reply === true, step.at, at);
        } else if (step.name === "commit") {
          const { key, incarnation, epoch } = step.args[0];
          if (reply === "fenced") of(key).gone(epoch, at);
          else if (reply === "committed") of(key).stood(incarnation, epoch, step.at, at);
        }
      },
      finished() {
        for (const observations of keys.values()) fitIntervals(observations, deathAskedAt, report);
      },
    };
  },
};

/** Replies that are wrong whatever happened before. */
function checkSense(
  { key, incarnation, expected }: Claim,
  reply: ClaimReply,
  report: Report,
): void {
  const { won, owner } = reply;
  const isExpected = owner === null
    ? expected === null
    : owner.epoch === expected?.epoch && owner.incarnation === expected.incarnation;
  if (!won && isExpected) report(`${key}: a claim was refused though it found what it expected`);
  if (won && owner?.incarnation !== incarnation) {
    report(`${key}: ${incarnation} was told that it won, and that ${owner?.incarnation} did`);
  }
}

/**
 * Rule: a burst of calls for one unowned name makes one claim. A process never claims a key while
 * its own earlier attempt is pending, and each epoch of a key is won by one attempt only.
 *
 * Source: docs/design.md, Claims; partykit #329.
 */
export const singleClaim: LiveChecker = {
  name: "single claim",
  watch(_context, report) {
    /** The pending claim of each process and key. */
    const waiting = new Map<string, Step>();
    const winners = new Map<string, string>();
    const over = (step: Step): void => {
      if (step.name !== "claim") return;
      const name = processKey(step.process, step.args[0].key);
      if (waiting.get(name) === step) waiting.delete(name);
    };
    return {
      asked(step) {
        if (step.name !== "claim") return;
        const { key, opId } = step.args[0];
        const name = processKey(step.process, key);
        const before = waiting.get(name);
        waiting.set(name, step);
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
