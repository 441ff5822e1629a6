/**
 * The truth about ownership and membership in true time: the notary's own diary, which no
 * node can read.
 *
 * Takes the steps that the store did; gives who owned a key, and how an incarnation
 * stood, at any time. Checkers compare what nodes said and did with it.
 */
import { isDead, type MemberState } from "../src/model/member.ts";
import type { Ownership } from "../src/model/ownership.ts";
import type {
  ClaimReply,
  Membership,
  Observation,
  RegisterReply,
  RenewReply,
} from "../src/ports/store.ts";
import type { Observer, Step, StepReply } from "./observer.ts";

/** From when on something was so; it was until the next. */
interface Since<T> {
  readonly at: number;
  readonly what: T;
}

export class Ground implements Observer {
  /** Each key's owners, in time; null: nobody. */
  readonly #owners = new Map<string, Since<Ownership | null>[]>();
  readonly #states = new Map<string, Since<MemberState>[]>();
  /** Live incarnation of each region and node. */
  readonly #names = new Map<string, string>();

  applied(step: Step, reply: StepReply, at: number): void {
    switch (step.name) {
      case "claim": {
        const { won, owner } = reply as ClaimReply;
        const { key } = step.args[0];
        if (won && this.owner(key)?.epoch !== owner?.epoch) push(this.#owners, key, at, owner);
        return;
      }
      case "release":
        if (reply === true) push(this.#owners, step.args[0], at, null);
        return;
      case "register": {
        const { incarnation, region, node } = step.args[0];
        if ((reply as RegisterReply).outcome !== "registered") return;
        const name = `${region}/${node}`;
        const rival = this.#names.get(name);
        if (rival === incarnation) return;
        if (rival !== undefined) this.#member(rival, "superseded", at);
        this.#names.set(name, incarnation);
        return this.#member(incarnation, "live", at);
      }
      case "kill":
        if (reply === "dead") this.#member(step.args[0], "dead", at);
        return;
      case "leave":
        return this.#member(step.args[0].incarnation, "left", at);
      case "renew":
        for (const seen of (reply as RenewReply).watched) this.#seen(seen, at);
        return;
      case "members":
        for (const member of (reply as Membership).members) this.#seen(member, at);
        return;
    }
  }

  /** Who owns a key now. */
  owner(key: string): Ownership | null {
    return this.#owners.get(key)?.at(-1)?.what ?? null;
  }

  /** Whether, at some instant of `[from, to]`, `is` held of a key's owner. */
  wasOwner(
    key: string,
    from: number,
    to: number,
    is: (owner: Ownership | null, from: number, to: number) => boolean,
  ): boolean {
    return some(this.#owners.get(key) ?? [], from, to, is, null);
  }

  /** Whether an incarnation was live (or superseded) at some instant of `[from, to]`. */
  wasAlive(incarnation: string, from: number, to: number): boolean {
    const states = this.#states.get(incarnation) ?? [];
    return some<MemberState | undefined>(states, from, to, (state) => !isDead(state), undefined);
  }

  /** Whether an incarnation was dead, or unknown, at some instant of `[from, to]`. */
  wasDead(incarnation: string, from: number, to: number): boolean {
    const states = this.#states.get(incarnation) ?? [];
    return some<MemberState | undefined>(states, from, to, isDead, undefined);
  }

  #seen({ incarnation, state }: Pick<Observation, "incarnation" | "state">, at: number): void {
    this.#member(incarnation, state, at);
  }

  #member(incarnation: string, state: MemberState, at: number): void {
    const present = this.#states.get(incarnation)?.at(-1)?.what;
    if (present === state || isDead(present) && present !== undefined) return;
    push(this.#states, incarnation, at, state);
    if (!isDead(state)) return;
    for (const [name, live] of this.#names) if (live === incarnation) this.#names.delete(name);
  }
}

function push<T>(lists: Map<string, Since<T>[]>, key: string, at: number, what: T): void {
  const list = lists.get(key);
  if (list) list.push({ at, what });
  else lists.set(key, [{ at, what }]);
}

/** Whether `is` holds of what was so at some instant of `[from, to]`. */
function some<T>(
  list: readonly Since<T>[],
  from: number,
  to: number,
  is: (what: T, from: number, to: number) => boolean,
  before: T,
): boolean {
  let start = -Infinity;
  let what = before;
  for (const next of [...list, { at: Infinity, what: before }]) {
    if (next.at >= from && start <= to && is(what, Math.max(start, from), Math.min(next.at, to))) {
      return true;
    }
    start = next.at;
    what = next.what;
    if (start > to) break;
  }
  return false;
}
