/**
 * The port `Store` in this process's memory. Many nodes of one process share one object and
 * contend for it as they would for a Redis: every step is atomic, and takes effect only after the
 * call returned.
 */
import { MAX_DEAD_MEMBERS, SLOTS } from "../../src/limits.ts";
import { isDead, type Member, type MemberInfo, type MemberState } from "../../src/model/member.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
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
  Store,
} from "../../src/ports/store.ts";
import {
  checkClaim,
  checkCommit,
  checkRange,
  checkReassertions,
  checkWhole,
  closedError,
  refused,
} from "./check.ts";
import { hasTurn, nextEpoch, NO_STAMP, SINGLE_LINEAGE, standingOf } from "./lineage.ts";
import { checkMember } from "./member_rows.ts";
import { OrderedText } from "./ordered_text.ts";

/**
 * A store in memory, for one process: tests, and clusters of a single process.
 *
 * @example
 * ```ts
 * const store = memoryStore();
 * const a = await createNode(app, { region: "local", node: "a", store, transport });
 * ```
 */
export function memoryStore(): Store {
  return new MemoryStore();
}

interface Entry extends Ownership {
  readonly opId: string;
}

/** One hash slot: its owners, and an epoch counter that outlives them. */
interface Slot {
  epoch: number;
  readonly owners: Map<string, Entry>;
}

/** One resource's state, and the last turn that was applied to it. */
interface State {
  epoch: number;
  turn: number;
  readonly fields: OrderedText;
}

/** A member that has just registered. */
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

class MemoryStore implements Store {
  readonly #members = new Map<string, Member>();
  /** Incarnations in the order in which they ended. */
  readonly #ended: string[] = [];
  #version = 0;
  readonly #slots: (Slot | undefined)[] = new Array(SLOTS);
  readonly #states = new Map<string, State>();
  #closed = false;

  status(): "up" | "down" {
    return this.#closed ? "down" : "up";
  }

  async register(info: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply> {
    await this.#arrive();
    checkMember(info);
    const known = this.#members.get(info.incarnation);
    if (known) return this.#registered(known.state === "live" ? "registered" : "fenced");
    const rivals = [...this.#members.values()].filter((member) =>
      member.state === "live" && member.region === info.region && member.node === info.node
    );
    if (options.ifFree && rivals.length > 0) return this.#registered("name_taken");
    for (const rival of rivals) {
      this.#members.set(rival.incarnation, { ...rival, state: "superseded" });
    }
    this.#members.set(info.incarnation, newMember(info));
    this.#version++;
    while (this.#ended.length > MAX_DEAD_MEMBERS) {
      this.#members.delete(this.#ended.shift() as string);
    }
    return this.#registered("registered");
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    await this.#arrive();
    checkWhole("seq", seq, 0);
    const member = this.#members.get(incarnation);
    const live = member?.state === "live";
    if (live && seq > member.seq) this.#members.set(incarnation, { ...member, seq });
    const watched: Observation[] = [];
    for (const other of watch) {
      const found = this.#members.get(other);
      if (found) watched.push({ incarnation: other, seq: found.seq, state: found.state });
    }
    return {
      outcome: live ? "renewed" : "fenced",
      state: member?.state ?? "dead",
      version: this.#version,
      watched,
      lineage: SINGLE_LINEAGE,
    };
  }

  async kill(incarnation: string, seq: number): Promise<MemberState | null> {
    await this.#arrive();
    const member = this.#members.get(incarnation);
    if (!member) return null;
    if (isDead(member.state) || member.seq !== seq) return member.state;
    this.#end(member, "dead");
    return "dead";
  }

  async leave(info: MemberInfo): Promise<void> {
    await this.#arrive();
    checkMember(info);
    const member = this.#members.get(info.incarnation) ?? newMember(info);
    if (!isDead(member.state)) this.#end(member, "left");
  }

  async members(): Promise<Membership> {
    await this.#arrive();
    const members = [...this.#members.values()];
    return { version: this.#version, members, lineage: SINGLE_LINEAGE.id };
  }

  async lookup(key: string): Promise<Ownership | null> {
    await this.#arrive();
    return told(this.#slot(key).owners.get(key));
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    await this.#arrive();
    checkClaim(claim);
    const { key, rrp, incarnation, opId, expected, lineage = SINGLE_LINEAGE, above } = claim;
    if (lineage.id !== SINGLE_LINEAGE.id) return { won: false, owner: null, quarantined: true };
    const slot = this.#slot(key);
    const present = slot.owners.get(key);
    if (present?.opId === opId && present.incarnation === incarnation) {
      return { won: true, owner: told(present), last: this.#last(key) };
    }
    const asExpected = expected === null
      ? present === undefined
      : present?.incarnation === expected.incarnation && present.epoch === expected.epoch;
    if (!asExpected) return { won: false, owner: told(present) };
    slot.epoch = nextEpoch(slot.epoch, lineage.term, above);
    const entry = { rrp, incarnation, epoch: slot.epoch, opId };
    slot.owners.set(key, entry);
    return { won: true, owner: told(entry), last: this.#last(key) };
  }

  async reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    await this.#arrive();
    checkReassertions(reassertions, lineage);
    if (lineage.id !== SINGLE_LINEAGE.id) return null;
    return reassertions.map((reassertion) => this.#reassert(reassertion, lineage));
  }

  #reassert(reassertion: Reassertion, lineage: LineageName): Standing {
    const { key, rrp, incarnation, epoch } = reassertion;
    const slot = this.#slot(key);
    const present = slot.owners.get(key) ?? null;
    const { isWritten, ...told } = standingOf(
      reassertion,
      present,
      this.#last(key),
      slot.epoch,
      lineage,
    );
    if (isWritten) {
      slot.owners.set(key, { rrp, incarnation, epoch, opId: "reasserted" });
      slot.epoch = Math.max(slot.epoch, epoch);
    }
    return told;
  }

  async release(key: string, incarnation: string, epoch: number): Promise<boolean> {
    await this.#arrive();
    if (!this.#owns(key, incarnation, epoch)) return false;
    if (this.#states.get(key)?.fields.size === 0) this.#states.delete(key);
    return this.#slot(key).owners.delete(key);
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    await this.#arrive();
    checkWhole("limit", limit, 1);
    const [from, after] = parseCursor(cursor);
    const entries: Ownership[] = [];
    for (let number = from; number < SLOTS; number++) {
      const slot = this.#slots[number];
      if (!slot || slot.owners.size === 0) continue;
      for (const key of [...slot.owners.keys()].sort()) {
        if (number === from && key <= after) continue;
        const entry = slot.owners.get(key) as Entry;
        if (!entry.rrp.startsWith(prefix)) continue;
        entries.push(told(entry) as Ownership);
        if (entries.length === limit) return { entries, next: `${number} ${key}` };
      }
    }
    return { entries, next: null };
  }

  async read(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    await this.#arrive();
    const state = this.#states.get(key);
    return fields.map((field) => state?.fields.get(field) ?? null);
  }

  async range(key: string, range: Range): Promise<[string, string][]> {
    await this.#arrive();
    checkRange(range);
    return this.#states.get(key)?.fields.range(range) ?? [];
  }

  async commit(commit: Commit): Promise<CommitReply> {
    await this.#arrive();
    checkCommit(commit);
    const { key, incarnation, epoch, turn, after = NO_STAMP, puts, deletes } = commit;
    const isMoved = (commit.lineage ?? SINGLE_LINEAGE.id) !== SINGLE_LINEAGE.id;
    if (!this.#owns(key, incarnation, epoch)) return isMoved ? "moved" : "fenced";
    const last = this.#last(key);
    if (last.epoch === epoch && turn <= last.turn) return "committed";
    if (!hasTurn(last, after)) return isMoved ? "moved" : { lost: last };
    const state = this.#state(key);
    for (const field of deletes) state.fields.delete(field);
    for (const [field, value] of puts) state.fields.set(field, value);
    state.epoch = epoch;
    state.turn = turn;
    return "committed";
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** Lets other calls of the same tick queue up first, as they do over a network. */
  async #arrive(): Promise<void> {
    await null;
    if (this.#closed) throw closedError();
  }

  #registered(outcome: RegisterReply["outcome"]): RegisterReply {
    return { outcome, version: this.#version, lineage: SINGLE_LINEAGE };
  }

  #end(member: Member, state: MemberState): void {
    this.#members.set(member.incarnation, { ...member, state });
    this.#ended.push(member.incarnation);
    this.#version++;
  }

  #owns(key: string, incarnation: string, epoch: number): boolean {
    const entry = this.#slot(key).owners.get(key);
    return entry?.incarnation === incarnation && entry.epoch === epoch;
  }

  #slot(key: string): Slot {
    return this.#slots[slotOf(key)] ??= { epoch: 0, owners: new Map() };
  }

  #last(key: string): Stamp {
    const state = this.#states.get(key);
    return state ? { epoch: state.epoch, turn: state.turn } : NO_STAMP;
  }

  #state(key: string): State {
    let state = this.#states.get(key);
    if (!state) {
      state = { epoch: 0, turn: 0, fields: new OrderedText() };
      this.#states.set(key, state);
    }
    return state;
  }
}

function told(entry: Entry | undefined): Ownership | null {
  return entry ? { rrp: entry.rrp, incarnation: entry.incarnation, epoch: entry.epoch } : null;
}

/** A page's cursor: the slot it stopped in, and the last key listed there. */
function parseCursor(cursor: string | null): [slot: number, after: string] {
  if (cursor === null) return [0, ""];
  const parts = /^(\d{1,4}) (.*)$/.exec(cursor);
  if (!parts) throw refused("cursor", JSON.stringify(cursor), "the `next` of an earlier page");
  return [Number(parts[1]), parts[2] as string];
}
