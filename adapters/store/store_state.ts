/**
 * All steps of a store over plain maps: membership, ownership, state and lineage. Each step is done
 * when it returns. The memory store and the simulated store (`sim/engine/store.ts`) run them, so
 * they represent every other store in simulations. `test/conformance/store.ts` checks that the
 * other stores give the same answers.
 *
 * Source: the port's contract, `src/ports/store.ts`; `docs/design.md`, State.
 */
import {
  checkClaim,
  checkCommit,
  checkRange,
  checkReassertions,
  checkWhole,
  refused,
} from "./check.ts";
import {
  hasTurn,
  keptOf,
  meetLineage,
  nextEpoch,
  NO_STAMP,
  pastOf,
  standingOf,
} from "./lineage.ts";
import { checkMember } from "./member_rows.ts";
import { MAX_DEAD_MEMBERS, SLOTS } from "../../src/limits.ts";
import {
  hasEnded,
  type Member,
  type MemberInfo,
  type MemberState,
} from "../../src/model/member.ts";
import { type Ownership, PlacedOwnership, Places } from "../../src/model/ownership.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { OwnerKnows } from "../../src/model/lost_turns.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  CommittedTurn,
  KnownLineage,
  Lineage,
  LineageName,
  Membership,
  Observation,
  OwnershipPage,
  Range,
  Reassertion,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
} from "../../src/ports/store.ts";
import { States } from "./state_parts.ts";

/**
 * The number of claims whose ids are known. A repeat of an older claim is refused like a claim of
 * another node: its sender then finds its own entry, and claims the key anew.
 */
const MAX_CLAIM_IDS = 1_024;

/** One hash slot: its owners, and an epoch counter that outlives them. */
interface Slot {
  /** The last epoch that was given; null if the counter was lost. */
  epoch: number | null;
  readonly owners: Map<string, PlacedOwnership>;
}

/** A copy of what a node registers, as a live member. */
function newMember({ incarnation, region, node, address, hosts, serves }: MemberInfo): Member {
  return {
    incarnation,
    region,
    node,
    address,
    hosts: [...hosts],
    ...serves && { serves: [...serves] },
    seq: 0,
    state: "live",
  };
}

export class StoreState {
  /** The id of this copy; a promoted replica has another id than its primary. */
  id: string;
  readonly #hasReplicas: boolean;
  #lineage: Lineage | null = null;
  readonly #members = new Map<string, Member>();
  /** Incarnations in the order in which they ended. */
  readonly #ended: string[] = [];
  #version = 0;
  readonly #slots: (Slot | undefined)[] = new Array(SLOTS);
  readonly #places = new Places();
  /** The ids of the latest claims that won, by key; oldest first. */
  readonly #claimIds = new Map<string, string>();
  readonly #states: States;

  /**
   * @param id of this copy.
   * @param hasReplicas whether other copies exist; one of them may have had writes that this copy
   * lacks.
   * @param keepsLastTurns whether the last turn of a state without fields outlives its ownership,
   * as {@link kept} and a lost epoch counter need it.
   */
  constructor(id: string = "", hasReplicas: boolean = false, keepsLastTurns: boolean = true) {
    this.id = id;
    this.#hasReplicas = hasReplicas;
    this.#states = new States(keepsLastTurns);
  }

  register(
    info: MemberInfo,
    options: { ifFree: boolean; known?: KnownLineage | null },
  ): RegisterReply {
    checkMember(info);
    this.#meet(options.known);
    const present = this.#members.get(info.incarnation);
    if (present) return this.#registered(present.state === "live" ? "registered" : "fenced");
    const rivals = [...this.#members.values()].filter((member) =>
      member.state === "live" && member.region === info.region && member.node === info.node
    );
    if (options.ifFree && rivals.length > 0) return this.#registered("name_taken");
    for (const rival of rivals) this.#set({ ...rival, state: "superseded" });
    this.#set(newMember(info));
    this.#version++;
    while (this.#ended.length > MAX_DEAD_MEMBERS) {
      this.#members.delete(this.#ended.shift() as string);
    }
    return this.#registered("registered");
  }

  renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known?: KnownLineage | null,
  ): RenewReply {
    checkWhole("seq", seq, 0);
    const lineage = this.#meet(known);
    const member = this.#members.get(incarnation);
    const isLive = member?.state === "live";
    if (isLive && seq > member.seq) this.#set({ ...member, seq });
    const watched: Observation[] = [];
    for (const other of watch) {
      const found = this.#members.get(other);
      if (found) watched.push({ incarnation: other, seq: found.seq, state: found.state });
    }
    const outcome = isLive ? "renewed" : "fenced";
    return { outcome, state: member?.state ?? "dead", version: this.#version, watched, lineage };
  }

  kill(incarnation: string, seq: number): MemberState | null {
    const member = this.#members.get(incarnation);
    if (!member) return null;
    if (hasEnded(member.state) || member.seq !== seq) return member.state;
    this.#end(member, "dead");
    return "dead";
  }

  leave(info: MemberInfo): void {
    checkMember(info);
    const member = this.#members.get(info.incarnation) ?? newMember(info);
    if (!hasEnded(member.state)) this.#end(member, "left");
  }

  members(): Membership {
    const members = [...this.#members.values()];
    return { version: this.#version, members, lineage: this.id };
  }

  lookup(key: string): Ownership | null {
    return this.#slot(key).owners.get(key)?.plain ?? null;
  }

  claim(claim: Claim): ClaimReply {
    checkClaim(claim);
    const { key, incarnation, opId, expected, lineage, above } = claim;
    if (lineage && lineage.id !== this.id) return { won: false, owner: null, quarantined: true };
    const slot = this.#slot(key);
    const present = slot.owners.get(key);
    if (present?.incarnation === incarnation && this.#claimIds.get(key) === opId) {
      return this.#won(key, present);
    }
    const isExpected = expected === null
      ? present === undefined
      : present?.incarnation === expected.incarnation && present.epoch === expected.epoch;
    if (!isExpected) return { won: false, owner: present?.plain ?? null };
    // The counter may have been lost.
    const used = Math.max(present?.epoch ?? 0, this.#states.find(key)?.epoch ?? 0);
    const drawn = Math.max(slot.epoch ?? 0, used);
    const epoch = nextEpoch(drawn, lineage?.term ?? 0, above);
    slot.epoch = epoch;
    const entry = this.#entry(key, claim, epoch);
    slot.owners.set(key, entry);
    this.#claimIds.delete(key);
    this.#claimIds.set(key, opId);
    if (this.#claimIds.size > MAX_CLAIM_IDS) {
      const [oldest] = this.#claimIds.keys();
      this.#claimIds.delete(oldest as string);
    }
    return this.#won(key, entry);
  }

  reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): readonly Standing[] | null {
    checkReassertions(reassertions, lineage);
    if (lineage.id !== this.id) return null;
    return reassertions.map((reassertion) => {
      const { key, epoch } = reassertion;
      const slot = this.#slot(key);
      const present = slot.owners.get(key) ?? null;
      const drawn = slot.epoch ?? 0;
      const last = this.#states.last(key);
      const { isWritten, ...standing } = standingOf(reassertion, present, last, drawn, lineage);
      if (isWritten) {
        slot.owners.set(key, this.#entry(key, reassertion, epoch));
        this.#claimIds.delete(key);
        slot.epoch = Math.max(drawn, epoch);
      }
      return standing;
    });
  }

  kept(turns: readonly CommittedTurn[], lineage: LineageName): readonly Stamp[] | null {
    if (lineage.id !== this.id) return null;
    return turns.map(({ key, last }) => {
      const { epoch, turn, past } = this.#states.find(key) ?? { ...NO_STAMP, past: [] };
      return keptOf(last, { epoch, turn }, past);
    });
  }

  release(key: string, incarnation: string, epoch: number, after?: Stamp): boolean {
    if (!this.#owns(key, incarnation, epoch)) return false;
    this.#states.released(key, after);
    // Deleting the entry would lose its epoch if the counter had been lost.
    const slot = this.#slot(key);
    slot.epoch = Math.max(slot.epoch ?? 0, epoch);
    return slot.owners.delete(key);
  }

  list(prefix: string, cursor: string | null, limit: number): OwnershipPage {
    checkWhole("limit", limit, 1);
    const [from, after] = parseCursor(cursor);
    const entries: Ownership[] = [];
    for (let number = from; number < SLOTS; number++) {
      const slot = this.#slots[number];
      if (!slot || slot.owners.size === 0) continue;
      for (const key of [...slot.owners.keys()].sort()) {
        if (number === from && key <= after) continue;
        const entry = slot.owners.get(key) as PlacedOwnership;
        if (!entry.rrp.startsWith(prefix)) continue;
        entries.push(entry.plain);
        if (entries.length === limit) return { entries, next: `${number} ${key}` };
      }
    }
    return { entries, next: null };
  }

  read(key: string, fields: readonly string[], knows?: OwnerKnows): (string | null)[] {
    return this.#states.read(key, fields, this.#knownHere(knows));
  }

  range(key: string, range: Range, knows?: OwnerKnows): [string, string][] {
    checkRange(range);
    return this.#states.range(key, range, this.#knownHere(knows));
  }

  #knownHere(knows: OwnerKnows | undefined): OwnerKnows & { isMoved: boolean } | null {
    return knows ? { ...knows, isMoved: (knows.lineage ?? this.id) !== this.id } : null;
  }

  commit(commit: Commit): CommitReply {
    checkCommit(commit);
    const { key, incarnation, epoch, turn, after = NO_STAMP, puts, deletes } = commit;
    const isMoved = (commit.lineage ?? this.id) !== this.id;
    if (!this.#owns(key, incarnation, epoch)) return isMoved ? "moved" : "fenced";
    const last = this.#states.last(key);
    if (last.epoch === epoch && turn <= last.turn) return "committed";
    if (!hasTurn(last, after)) return isMoved ? "moved" : { lost: last };
    const state = this.#states.toWrite(key);
    for (const field of deletes) this.#states.delete(key, state, field);
    for (const [field, value] of puts) this.#states.put(key, state, field, value);
    state.past = pastOf(state.past, last, epoch);
    state.epoch = epoch;
    state.turn = turn;
    return "committed";
  }

  /** Becomes another copy, with the id `id`, that lacks these ownerships. For the simulator. */
  lose(keys: readonly string[], id: string): void {
    this.id = id;
    for (const key of keys) this.#slot(key).owners.delete(key);
  }

  /** All fields of a key's state. For the simulator. */
  copyOf(key: string): readonly (readonly [string, string])[] {
    return this.#states.find(key)?.fields.entries() ?? [];
  }

  /**
   * Loses one part of a key: its state, the state's index, or its slot's epoch counter. Answers
   * whether the part existed and the other parts can still tell what it held. For the simulator.
   */
  losePart(key: string, part: "state" | "index" | "epoch"): boolean {
    const slot = this.#slot(key);
    if (part !== "epoch") {
      const isKnown = slot.epoch !== null || slot.owners.has(key);
      return (part === "index" || isKnown) && this.#states.lose(key, part);
    }
    const known = Math.max(slot.owners.get(key)?.epoch ?? 0, this.#states.last(key).epoch);
    if ((slot.epoch ?? Infinity) > known) return false;
    slot.epoch = null;
    return true;
  }

  #won(key: string, entry: PlacedOwnership): ClaimReply {
    const isStateLost = this.#states.claimed(key);
    const last = this.#states.last(key);
    return { won: true, owner: entry.plain, last, ...isStateLost && { isStateLost } };
  }

  #entry(
    key: string,
    at: Pick<Ownership, "rrp" | "incarnation">,
    epoch: number,
  ): PlacedOwnership {
    return new PlacedOwnership(key, epoch, this.#places.of(key, at));
  }

  #set(member: Member): void {
    this.#members.set(member.incarnation, member);
  }

  #registered(outcome: RegisterReply["outcome"]): RegisterReply {
    return { outcome, version: this.#version, lineage: this.#lineage as Lineage };
  }

  /** The lineage's record, after `meetLineage` for a caller that knows this. */
  #meet(known: KnownLineage | null = null): Lineage {
    return (this.#lineage = meetLineage(this.#lineage, this.id, known, this.#hasReplicas));
  }

  #end(member: Member, state: MemberState): void {
    this.#set({ ...member, state });
    this.#ended.push(member.incarnation);
    this.#version++;
  }

  #owns(key: string, incarnation: string, epoch: number): boolean {
    const entry = this.#slot(key).owners.get(key);
    return entry?.incarnation === incarnation && entry.epoch === epoch;
  }

  #slot(key: string): Slot {
    return this.#slots[slotOf(key)] ??= { epoch: null, owners: new Map() };
  }
}

/** A page's cursor: the slot it stopped in, and the last key listed there. */
function parseCursor(cursor: string | null): [slot: number, after: string] {
  if (cursor === null) return [0, ""];
  const parts = /^(\d{1,4}) (.*)$/.exec(cursor);
  if (!parts) throw refused("cursor", JSON.stringify(cursor), "the `next` of an earlier page");
  return [Number(parts[1]), parts[2] as string];
}
