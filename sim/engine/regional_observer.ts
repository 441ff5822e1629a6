/**
 * Translates the steps of regional stores into those of a single store for the checkers. A
 * departure is a release; an arrival is a claim by the node it goes to. Steps that concern
 * forwarding addresses only are left out.
 */
import { ARRIVING, DEPARTED, entryOf } from "../../adapters/store/regional/entries.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Claim, ClaimReply } from "../../src/ports/store.ts";
import type { StoreState } from "../../adapters/store/store_state.ts";
import type { Observer, Step, StepReply } from "./observer.ts";

type ClaimStep = Extract<Step, { name: "claim" }>;

/** A step as checkers understand it; null if it doesn't concern them. */
interface Meaning {
  readonly step: Step;
  /** The answer that checkers get; undefined: none. */
  answer(reply: StepReply): StepReply | undefined;
}

type Stored = Ownership | null;

/**
 * Gives each region's store an observer; together they report to `observer` as one store.
 *
 * @param isHome whether a key's home is that region now, by the ground truth.
 */
export function atHome(
  observer: Required<Observer>,
): (isHome: (key: string) => boolean) => Required<Observer> {
  const interpreter = new Interpreter();
  return (isHome) => inRegion(observer, interpreter, isHome);
}

function inRegion(
  observer: Required<Observer>,
  interpreter: Interpreter,
  isHome: (key: string) => boolean,
): Required<Observer> {
  return {
    ...observer,
    asked(step) {
      const told = interpreter.meaning(step)?.step;
      if (told) observer.asked(told);
    },
    applied(step, reply, at) {
      if (step.name === "lookup" && reply === null && !isHome(step.args[0])) {
        interpreter.tellsNothing(step);
      }
      const meaning = interpreter.meaning(step);
      const answer = meaning?.answer(reply);
      if (!meaning || answer === undefined || interpreter.isRepeat(step, reply)) return;
      observer.applied(interpreter.winner(step, meaning.step, answer), answer, at);
    },
    replyReceived(step, reply, at) {
      const meaning = interpreter.meaning(step);
      const answer = meaning?.answer(reply);
      if (!meaning) return;
      if (answer === undefined) return observer.missed(meaning.step, at);
      const winner = interpreter.winner(step, meaning.step, answer);
      if (winner !== meaning.step) observer.missed(meaning.step, at);
      observer.replyReceived(winner, answer, at);
    },
    missed(step, at) {
      const told = interpreter.meaning(step)?.step;
      if (told) observer.missed(told, at);
    },
  };
}

class Interpreter {
  /** The translation of each step, so that its answer is reported for the same one. */
  readonly #meanings = new WeakMap<Step, Meaning | null>();
  /** Departures that were applied: a repeat doesn't count. */
  readonly #departed = new Set<string>();
  /** The claim whose compare-and-set was applied, by its name and what it won. */
  readonly #winners = new Map<string, Claim>();

  meaning(step: Step): Meaning | null {
    let meaning = this.#meanings.get(step);
    if (meaning !== undefined) return meaning;
    meaning = step.name === "claim" ? this.#claim(step) : plainMeaning(step);
    this.#meanings.set(step, meaning);
    return meaning;
  }

  /** "No owner" from a region that isn't the key's home says nothing about its owner. */
  tellsNothing(step: Step): void {
    this.#meanings.set(step, { step, answer: () => undefined });
  }

  isRepeat(step: Step, reply: StepReply): boolean {
    if (step.name !== "claim" || step.args[0].incarnation !== DEPARTED) return false;
    if (!(reply as ClaimReply).won) return false;
    const { key, opId } = step.args[0];
    const which = `${key} ${opId}`;
    if (this.#departed.has(which)) return true;
    this.#departed.add(which);
    return false;
  }

  /** The step that won, if a repeat of it only found that result. */
  winner(asked: Step, told: Step, answer: StepReply): Step {
    if (asked.name !== "claim" || told.name !== "claim") return told;
    const { won, owner } = answer as ClaimReply;
    if (!won) return told;
    const { key, opId } = asked.args[0];
    const which = `${key} ${opId} ${owner?.epoch}`;
    const winner = this.#winners.get(which);
    if (!winner) this.#winners.set(which, told.args[0]);
    return !winner || winner.opId === told.args[0].opId ? told : { ...told, args: [winner] };
  }

  #claim(step: ClaimStep): Meaning | null {
    const [claim] = step.args;
    const { expected, opId, incarnation } = claim;
    if (incarnation === DEPARTED) return departing(step);
    const told = plainClaim(claim);
    if (incarnation === told.incarnation && expected?.incarnation.startsWith(ARRIVING)) {
      // One name is used for several arrivals: to checkers these are several claims.
      return claiming(step, claim, { ...told, opId: `${opId}.taken.${expected.epoch}` });
    }
    return claiming(step, claim, told);
  }
}

function plainMeaning(step: Step): Meaning | null {
  // Commits that copy state from one store to another are no turns.
  if (step.name === "commit" && step.args[0].incarnation.startsWith(ARRIVING)) return null;
  if (step.name === "release" && isOfNobody(step.args)) return null;
  if (step.name !== "lookup") return { step, answer: (reply) => reply };
  return {
    step,
    answer: (reply) => isAddress(reply as Stored) ? undefined : ownerOf(reply as Stored),
  };
}

/** Whether a release ends no ownership: it removes a departure, or is a pre-check. */
function isOfNobody([, incarnation, epoch]: Parameters<StoreState["release"]>): boolean {
  return incarnation === DEPARTED || epoch === 0;
}

/** A departure is a release; a shortened forwarding address is not reported. */
function departing(step: ClaimStep): Meaning | null {
  const { key, expected } = step.args[0];
  if (!expected || expected.incarnation === DEPARTED) return null;
  return {
    step: { ...step, name: "release", args: [key, expected.incarnation, expected.epoch] },
    answer: (reply) => (reply as ClaimReply).won,
  };
}

function claiming(step: ClaimStep, claim: Claim, told: Claim): Meaning {
  return {
    step: { ...step, args: [told] },
    answer(reply) {
      const { won, owner, quarantined } = reply as ClaimReply;
      if (quarantined) return { won, owner, quarantined };
      // A forwarding address doesn't say who owns the key: the owner is elsewhere, or the key is
      // still unowned.
      if (!won && (isAddress(owner) || isOther(claim, owner))) return undefined;
      return { won, owner: ownerOf(owner) };
    },
  };
}

/** Whether a claim failed only because the entry names the expected owner differently. */
function isOther({ expected }: Claim, stored: Stored): boolean {
  const owner = ownerOf(stored);
  const wanted = plainExpected(expected);
  return owner?.epoch === wanted?.epoch && owner?.incarnation === wanted?.incarnation;
}

function isAddress(stored: Stored): boolean {
  return entryOf(stored).kind === "departed";
}

function ownerOf(stored: Stored): Stored {
  const entry = entryOf(stored);
  return entry.kind === "owner" || entry.kind === "arriving" ? entry.owner : null;
}

/** An arrival is a claim by the node that arrives. */
function plainClaim(claim: Claim): Claim {
  const { rrp, incarnation } = claim;
  const entry = entryOf({ rrp, incarnation, epoch: 0 });
  const self = entry.kind === "arriving" ? entry.owner : { rrp, incarnation };
  const expected = plainExpected(claim.expected);
  return { ...claim, rrp: self.rrp, incarnation: self.incarnation, expected };
}

function plainExpected(expected: Claim["expected"]): Claim["expected"] {
  if (!expected || expected.incarnation === DEPARTED) return null;
  const { incarnation, epoch } = expected;
  const isArriving = incarnation.startsWith(ARRIVING);
  return { incarnation: isArriving ? incarnation.slice(ARRIVING.length) : incarnation, epoch };
}
