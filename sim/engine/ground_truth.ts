/**
 * The ground truth about ownership and membership, in true time. Nodes can't read it; checkers
 * compare the nodes' replies and actions with it.
 *
 * Takes the steps that the store applied; gives the owner of a key, and an incarnation's state, at
 * any time. After a failover to a replica that lacks steps, the store's content and the rightful
 * owner may differ: an ownership whose winner received the reply stays rightful, though the store
 * has lost it, until another is won or reasserted. If replies are sent only for steps that a
 * replica has copied, the promoted store is right.
 */
import { hasEnded, type MemberState } from "../../src/model/member.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type {
  ClaimReply,
  Membership,
  Observation,
  RegisterReply,
  RenewReply,
  Standing,
} from "../../src/ports/store.ts";
import { JOURNALS, readJournal, valueIn } from "./journal_app.ts";
import type { Observer, Step, StepReply } from "./observer.ts";
import type { StoreState } from "../../adapters/store/store_state.ts";

/** A value and the time since when it holds, until the next one. */
interface Since<T> {
  readonly at: number;
  readonly what: T;
}

export class GroundTruth implements Observer {
  /** Entries of each journal that failovers lost though they may have been acknowledged. */
  readonly lost: Map<string, Set<string>> = new Map();
  /** Each key's rightful owners, ordered by time; null: unowned. */
  readonly #owners = new Map<string, Since<Ownership | null>[]>();
  /** Each key's owners by the store's entry, ordered by time. */
  readonly #entries = new Map<string, Since<Ownership | null>[]>();
  readonly #isConfirmed: boolean;
  readonly #states = new Map<string, Since<MemberState | undefined>[]>();
  /** Live incarnation of each region and node. */
  readonly #names = new Map<string, string>();

  /** @param isConfirmed whether replies are sent only for steps that a replica has copied. */
  constructor(isConfirmed: boolean) {
    this.#isConfirmed = isConfirmed;
  }

  /** A replica's state is the store's state from now on. */
  failedOver(former: StoreState, promoted: StoreState, at: number): void {
    for (const key of this.#entries.keys()) {
      const entry = promoted.lookup(key);
      push(this.#entries, key, at, entry);
      if (this.#isConfirmed) push(this.#owners, key, at, entry);
      else this.#noteLosses(key, former, promoted);
    }
    const states = new Map(promoted.members().members.map((it) => [it.incarnation, it.state]));
    for (const incarnation of this.#states.keys()) {
      push<MemberState | undefined>(this.#states, incarnation, at, states.get(incarnation));
    }
    this.#names.clear();
    for (const { region, node, incarnation, state } of promoted.members().members) {
      if (state === "live") this.#names.set(`${region}/${node}`, incarnation);
    }
  }

  /** A key's state was lost. */
  stateLost(key: string, fields: readonly (readonly [string, string])[]): void {
    const lost = this.lost.get(key) ?? new Set();
    for (const put of fields) {
      const value = valueIn(put);
      if (value !== null) lost.add(value);
    }
    if (lost.size > 0) this.lost.set(key, lost);
  }

  #noteLosses(key: string, former: StoreState, promoted: StoreState): void {
    if (!key.startsWith(`${JOURNALS}/`)) return;
    const kept = new Set(readJournal(promoted, key).map(({ value }) => value));
    const lost = this.lost.get(key) ?? new Set();
    for (const { value } of readJournal(former, key)) if (!kept.has(value)) lost.add(value);
    if (lost.size > 0) this.lost.set(key, lost);
  }

  applied(step: Step, reply: StepReply, at: number): void {
    switch (step.name) {
      case "claim": {
        const { won, owner } = reply as ClaimReply;
        const { key } = step.args[0];
        if (won && this.owner(key)?.epoch !== owner?.epoch) this.#own(key, at, owner);
        return;
      }
      case "reassert":
        return step.args[0].forEach((ownership, i) => {
          const { standing } = (reply as Standing[] | null)?.[i] ?? {};
          if (standing === undefined || standing === "lost") return;
          const { key, rrp, incarnation, epoch } = ownership;
          push(this.#entries, key, at, { rrp, incarnation, epoch });
          const rightful = this.owner(key)?.epoch ?? 0;
          if (rightful < epoch) push(this.#owners, key, at, { rrp, incarnation, epoch });
        });
      case "release":
        if (reply === true) this.#own(step.args[0], at, null);
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

  #own(key: string, at: number, owner: Ownership | null): void {
    push(this.#owners, key, at, owner);
    push(this.#entries, key, at, owner);
  }

  /** The current owner of a key. */
  owner(key: string): Ownership | null {
    return this.#owners.get(key)?.at(-1)?.what ?? null;
  }

  /** Whether `is` held for a key's owner at some instant of `[from, to]`. */
  wasOwner(
    key: string,
    from: number,
    to: number,
    is: (owner: Ownership | null, from: number, to: number) => boolean,
  ): boolean {
    return some(this.#owners.get(key) ?? [], from, to, is, null);
  }

  /** Whether `is` held for a key's entry in the store at some instant of `[from, to]`. */
  wasEntry(
    key: string,
    from: number,
    to: number,
    is: (owner: Ownership | null, from: number, to: number) => boolean,
  ): boolean {
    return some(this.#entries.get(key) ?? [], from, to, is, null);
  }

  /** Whether an incarnation was live (or superseded) at some instant of `[from, to]`. */
  wasAlive(incarnation: string, from: number, to: number): boolean {
    const states = this.#states.get(incarnation) ?? [];
    return some<MemberState | undefined>(states, from, to, (state) => !hasEnded(state), undefined);
  }

  /** Whether an incarnation was dead, or unknown, at some instant of `[from, to]`. */
  wasDead(incarnation: string, from: number, to: number): boolean {
    const states = this.#states.get(incarnation) ?? [];
    return some<MemberState | undefined>(states, from, to, hasEnded, undefined);
  }

  #seen({ incarnation, state }: Pick<Observation, "incarnation" | "state">, at: number): void {
    this.#member(incarnation, state, at);
  }

  #member(incarnation: string, state: MemberState, at: number): void {
    const present = this.#states.get(incarnation)?.at(-1)?.what;
    if (present === state || hasEnded(present) && present !== undefined) return;
    push<MemberState | undefined>(this.#states, incarnation, at, state);
    if (!hasEnded(state)) return;
    for (const [name, live] of this.#names) if (live === incarnation) this.#names.delete(name);
  }
}

function push<T>(lists: Map<string, Since<T>[]>, key: string, at: number, what: T): void {
  const list = lists.get(key);
  if (list) list.push({ at, what });
  else lists.set(key, [{ at, what }]);
}

/** Whether `is` held for the value at some instant of `[from, to]`. */
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
