/**
 * Rule: death is permanent. Once any process was told that an incarnation is dead or has left, no
 * later request is told that it lives, not even if its registration arrives after it left. A
 * promoted replica that lacks a death is a new store: the rule holds within each.
 */
import { isDead, type MemberState } from "../../src/model/member.ts";
import type { Membership, RenewReply } from "../../src/ports/store.ts";
import type { Step, StepReply } from "../engine/observer.ts";
import type { LiveChecker } from "./checker.ts";

export const death: LiveChecker = {
  name: "death",
  watch(_scene, report) {
    /** When each incarnation's death was first heard of. */
    const dead = new Map<string, number>();
    const told = (step: Step, incarnation: string, state: MemberState, at: number): void => {
      const who = `${incarnation} ${step.copy ?? ""}`;
      const since = dead.get(who) ?? Infinity;
      if (isDead(state)) dead.set(who, Math.min(since, at));
      else if (since < step.at) {
        report(`${step.process} was told that ${incarnation} is ${state}, after it had died`);
      }
    };
    return {
      replyReceived(step: Step, reply: StepReply, at: number) {
        if (step.name === "kill") {
          if (reply !== null) told(step, step.args[0], reply as MemberState, at);
        } else if (step.name === "leave") {
          told(step, step.args[0].incarnation, "left", at);
        } else if (step.name === "renew") {
          const { state, watched } = reply as RenewReply;
          told(step, step.args[0], state, at);
          for (const other of watched) told(step, other.incarnation, other.state, at);
        } else if (step.name === "members") {
          for (const member of (reply as Membership).members) {
            told(step, member.incarnation, member.state, at);
          }
        }
      },
    };
  },
};
