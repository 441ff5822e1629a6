/**
 * The state of one simulated master: its own entries, and those of the other masters as last
 * replicated.
 *
 * Does in plain maps what the Lua of the strategy `optimistic` does in Redis. Steps are atomic;
 * each writes only the master's own entries, by writes that can be replicated unchanged.
 */
import { SINGLE_LINEAGE } from "../../adapters/store/lineage.ts";
import {
  greatest,
  type MasterClaim,
  supersedes,
  validClaims,
  WITHDRAWN,
} from "../../adapters/store/optimistic/master.ts";
import { MAX_DEAD_MEMBERS } from "../../src/limits.ts";
import {
  hasEnded,
  type Member,
  type MemberInfo,
  type MemberState,
} from "../../src/model/member.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type {
  Claim,
  Commit,
  CommitReply,
  Membership,
  Observation,
  Range,
  RegisterReply,
  RenewReply,
} from "../../src/ports/store.ts";

/** A field's value and when it was written; null if it was deleted. */
interface Dated {
  readonly epoch: number;
  readonly turn: number;
  readonly value: string | null;
}

/** The entries that one master wrote. */
export class MasterState {
  version = 0;
  readonly members: Map<string, Member> = new Map();
  readonly ended: string[] = [];
  readonly marks: Map<string, MemberState> = new Map();
  readonly claims: Map<string, MasterClaim> = new Map();
  readonly epochs: Map<number, number> = new Map();
  readonly turns: Map<string, { readonly epoch: number; readonly turn: number }> = new Map();
  readonly fields: Map<string, Map<string, Dated>> = new Map();
}

/** A write to a master's own entries; repeated on each copy of them. */
export type Write = (entries: MasterState) => void;

const RANK: Record<MemberState, number> = { live: 0, superseded: 1, dead: 2, left: 2 };

/** The state at one master, for the duration of one step. */
export class SimMaster {
  readonly #names: readonly string[];
  readonly #own: number;
  readonly #all: readonly MasterState[];
  readonly #write: (write: Write) => void;

  /** @param all each master's entries as known to this master, its own included. */
  constructor(
    names: readonly string[],
    own: number,
    all: readonly MasterState[],
    write: (write: Write) => void,
  ) {
    this.#names = names;
    this.#own = own;
    this.#all = all;
    this.#write = write;
  }

  register(info: MemberInfo, { ifFree }: { ifFree: boolean }): RegisterReply {
    const { incarnation, region, node } = info;
    const known = this.#home(incarnation);
    if (known >= 0) {
      const isLive = this.#state(incarnation, known) === "live";
      return this.#registered(isLive ? "registered" : "fenced");
    }
    const rivals = this.#members().filter((member) =>
      member.state === "live" && member.region === region && member.node === node
    );
    if (ifFree && rivals.length > 0) return this.#registered("name_taken");
    for (const rival of rivals) this.#worsen(rival.incarnation, "superseded");
    const member: Member = { ...info, hosts: [...info.hosts], seq: 0, state: "live" };
    this.#write((entries) => {
      entries.members.set(incarnation, member);
      entries.version++;
    });
    for (const { marks } of this.#all) {
      for (const [marked, state] of marks) {
        if (hasEnded(state) && this.#home(marked) === this.#own) this.#worsen(marked, state);
      }
    }
    this.#write((entries) => {
      while (entries.ended.length > MAX_DEAD_MEMBERS) {
        entries.members.delete(entries.ended.shift() as string);
      }
    });
    return this.#registered("registered");
  }

  renew(incarnation: string, seq: number, watch: readonly string[]): RenewReply {
    const home = this.#home(incarnation);
    const state = home < 0 ? "dead" : this.#state(incarnation, home);
    if (home === this.#own && state === "live") {
      this.#write(({ members }) => {
        const member = members.get(incarnation) as Member;
        members.set(incarnation, { ...member, seq: Math.max(seq, member.seq) });
      });
    }
    const watched = watch.flatMap((other): Observation[] => {
      const at = this.#home(other);
      if (at < 0) return [];
      const { seq } = this.#all[at]?.members.get(other) as Member;
      return [{ incarnation: other, seq, state: this.#state(other, at) }];
    });
    const outcome = state === "live" ? "renewed" : "fenced";
    const version = this.#version();
    return { outcome, state, version, watched, lineage: SINGLE_LINEAGE };
  }

  kill(incarnation: string, seq: number): MemberState | null {
    const home = this.#home(incarnation);
    if (home < 0) return null;
    const state = this.#state(incarnation, home);
    if (hasEnded(state) || this.#all[home]?.members.get(incarnation)?.seq !== seq) return state;
    this.#worsen(incarnation, "dead");
    return "dead";
  }

  leave(info: MemberInfo): void {
    const { incarnation } = info;
    if (this.#home(incarnation) < 0) {
      const member: Member = { ...info, seq: 0, state: "live" };
      this.#write(({ members }) => members.set(incarnation, member));
    }
    this.#worsen(incarnation, "left");
  }

  members(): Membership {
    return { version: this.#version(), members: this.#members(), lineage: SINGLE_LINEAGE.id };
  }

  claims(key: string): MasterClaim[] {
    return this.#all.flatMap(({ claims }) => claims.get(key) ?? []);
  }

  writeClaim(claim: Claim): MasterClaim[] {
    const { key, rrp, incarnation, opId, expected, above = 0 } = claim;
    const seen = this.claims(key);
    const mine = this.#mine(key);
    if (mine?.opId === opId && mine.incarnation === incarnation) return seen;
    const best = greatest(seen);
    const isExpected = best?.incarnation === expected?.incarnation &&
      best?.epoch === expected?.epoch;
    if (!isExpected) return seen;
    const slot = slotOf(key);
    const counters = this.#all.map(({ epochs }) => epochs.get(slot) ?? 0);
    const after = 1 + Math.max(above, ...counters, ...seen.map(({ epoch }) => epoch));
    const count = this.#names.length;
    const epoch = after + (this.#own - after % count + count) % count;
    const master = this.#names[this.#own] as string;
    const over = othersOf(seen, mine);
    this.#write(({ epochs, claims }) => {
      epochs.set(slot, epoch);
      claims.set(key, { rrp, incarnation, epoch, opId, master, over });
    });
    return this.claims(key);
  }

  drop(key: string, incarnation: string, epoch: number): boolean {
    const mine = this.#mine(key);
    if (mine?.incarnation !== incarnation || mine.epoch !== epoch) return false;
    const seen = this.claims(key);
    const wasOwner = greatest(seen) === mine;
    const rises = validClaims(seen.filter((claim) => claim !== mine))
      .some((claim) => wasOwner || supersedes(mine, claim));
    const over = wasOwner ? othersOf(seen, mine) : mine.over;
    this.#write(({ claims }) => {
      if (rises) claims.set(key, { ...mine, incarnation: WITHDRAWN, over });
      else claims.delete(key);
    });
    return wasOwner;
  }

  settle(key: string, incarnation: string, epoch: number): void {
    const mine = this.#mine(key);
    if (mine?.incarnation !== incarnation || mine.epoch !== epoch) return;
    const seen = this.claims(key);
    if (greatest(seen) !== mine) return;
    this.#write(({ claims }) => claims.set(key, { ...mine, over: othersOf(seen, mine) }));
  }

  commit({ key, incarnation, epoch, turn, puts, deletes }: Commit): CommitReply {
    const best = greatest(this.claims(key));
    if (best !== this.#mine(key)) return "fenced";
    if (best?.incarnation !== incarnation || best.epoch !== epoch) return "fenced";
    const last = this.#all[this.#own]?.turns.get(key);
    if (last?.epoch === epoch && last.turn >= turn) return "committed";
    this.#write(({ turns, fields }) => {
      turns.set(key, { epoch, turn });
      let ofKey = fields.get(key);
      if (!ofKey) fields.set(key, ofKey = new Map());
      for (const field of deletes) ofKey.set(field, { epoch, turn, value: null });
      for (const [field, value] of puts) ofKey.set(field, { epoch, turn, value });
    });
    return "committed";
  }

  read(key: string, fields: readonly string[]): (string | null)[] {
    return fields.map((field) => this.#latest(key, field));
  }

  range(key: string, { start, end, limit, reverse }: Range): [string, string][] {
    const fields = new Set(
      this.#all.flatMap((entries) => [...entries.fields.get(key)?.keys() ?? []]),
    );
    const within = [...fields].filter((field) => field >= start && field < end).sort();
    if (reverse) within.reverse();
    const found = within.flatMap((field): [string, string][] => {
      const value = this.#latest(key, field);
      return value === null ? [] : [[field, value]];
    });
    return found.slice(0, limit);
  }

  /** Keys of which any master has a claim. */
  keys(): string[] {
    return [...new Set(this.#all.flatMap(({ claims }) => [...claims.keys()]))].sort();
  }

  #latest(key: string, field: string): string | null {
    const ownEpoch = this.#mine(key)?.epoch;
    let best: Dated | null = null;
    for (const [at, entries] of this.#all.entries()) {
      const dated = entries.fields.get(key)?.get(field);
      if (!dated) continue;
      if (at === this.#own && dated.epoch === ownEpoch) return dated.value;
      const isLater = !best || dated.epoch > best.epoch ||
        dated.epoch === best.epoch && dated.turn > best.turn;
      if (isLater) best = dated;
    }
    return best?.value ?? null;
  }

  #mine(key: string): MasterClaim | undefined {
    return this.#all[this.#own]?.claims.get(key);
  }

  #home(incarnation: string): number {
    return this.#all.findIndex(({ members }) => members.has(incarnation));
  }

  #state(incarnation: string, home: number): MemberState {
    let worst = this.#all[home]?.members.get(incarnation)?.state ?? "live";
    for (const { marks } of this.#all) {
      const mark = marks.get(incarnation);
      if (mark && RANK[mark] > RANK[worst]) worst = mark;
    }
    return worst;
  }

  #members(): Member[] {
    return this.#all.flatMap(({ members }, home) =>
      [...members.values()].map((member) => ({
        ...member,
        state: this.#state(member.incarnation, home),
      }))
    );
  }

  #worsen(incarnation: string, state: MemberState): void {
    const home = this.#home(incarnation);
    this.#write((entries) => {
      const member = home === this.#own ? entries.members.get(incarnation) : undefined;
      if (!member) entries.marks.set(incarnation, state);
      else if (hasEnded(member.state)) return;
      else {
        entries.members.set(incarnation, { ...member, state });
        if (hasEnded(state)) entries.ended.push(incarnation);
      }
      entries.version++;
    });
  }

  #version(): number {
    return this.#all.reduce((sum, { version }) => sum + version, 0);
  }

  #registered(outcome: RegisterReply["outcome"]): RegisterReply {
    return { outcome, version: this.#version(), lineage: SINGLE_LINEAGE };
  }
}

/** The epochs of all claims but one, by master. */
function othersOf(
  claims: readonly MasterClaim[],
  mine: MasterClaim | undefined,
): Map<string, number> {
  const others = claims.filter((claim) => claim !== mine);
  return new Map(others.map(({ master, epoch }) => [master, epoch]));
}
