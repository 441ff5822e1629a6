/**
 * The rules for several masters that replicate to each other, checked in true time.
 *
 * - *epochs*: no two claims of one key have the same epoch.
 * - *shown*: a read of a key with two conflicting claims shows both; so does a client's lookup that
 *   began and ended while both stood at its node's master.
 * - *one owner*: while replication stays within its bound, no commit follows one of a higher epoch.
 * - *withdrawn*: a claim that lost leaves no entry, unless the network repeats it later.
 * - *one in the end*: after healing, all masters name one live owner, and no other node claims the key
 *   or holds it in memory.
 */
import {
  greatest,
  type MasterClaim,
  outranks,
  ownerOf,
  validClaims,
} from "../../adapters/store/optimistic/master.ts";
import { hasEnded } from "../../src/model/member.ts";
import type { LiveChecker } from "../checkers/checker.ts";
import type { CallRecord } from "../engine/history.ts";
import type { Observer } from "../engine/observer.ts";
import type { Reporter } from "../run/run_world.ts";
import type { MastersObserver, SimMasters } from "../engine/masters.ts";
import type { MastersPlan } from "../draw/draw_masters.ts";

/** Conflicting claims of a key when a client's lookup began. */
interface Sighting {
  readonly master: number;
  readonly pairs: ReadonlySet<string>;
}

export class MastersCheckers implements MastersObserver, Observer {
  /** The number of reads of two claims of a key, neither of which had seen the other. */
  contests = 0;
  readonly #names: readonly string[];
  readonly #plan: MastersPlan;
  /** This object as a checker. */
  readonly checker: LiveChecker = { name: "masters", watch: () => this };
  #report!: Reporter;
  /** When each claim arrived at each master, by key, master and epoch. */
  readonly #arrivals = new Map<string, Map<number, number>>();
  readonly #ids = new Map<string, string>();
  /** The claims at the masters when each unanswered lookup began. */
  readonly #lookups = new Map<CallRecord, Sighting>();
  /** Clients' lookups that were answered while two claims conflicted. */
  lookups = 0;
  #masters: SimMasters | null = null;
  /** Epochs that committed to a key, in the order of their first commits. */
  readonly #epochs = new Map<string, number[]>();

  constructor(plan: MastersPlan) {
    this.#names = Array.from({ length: plan.masters.count }, (_, i) => `m${i}`);
    this.#plan = plan;
  }

  arrived(key: string, claim: MasterClaim, master: number, at: number): void {
    const { epoch, opId, incarnation } = claim;
    const id = this.#ids.get(`${key} ${epoch}`);
    // An ended claim keeps its epoch and attempt; a late duplicate has another.
    if (id === undefined) this.#ids.set(`${key} ${epoch}`, opId);
    else if (id !== opId) {
      this.#report("epochs")(`${key}: ${incarnation} was given epoch ${epoch}, which was ${id}'s`);
    }
    const name = nameOf(key, claim);
    const arrivals = this.#arrivals.get(name) ?? new Map<number, number>();
    if (!arrivals.has(master)) arrivals.set(master, at);
    this.#arrivals.set(name, arrivals);
  }

  claimsRead(key: string, claims: readonly MasterClaim[], at: number): void {
    const { best, rivals } = this.#contest(key, claims);
    if (!best) return;
    const told = new Set(ownerOf(claims)?.contested?.map(({ epoch }) => epoch));
    for (const rival of rivals) {
      this.contests++;
      if (told.has(rival.epoch)) continue;
      const pair = `${rival.epoch} beside ${best.epoch}`;
      this.#report("shown")(`${key}: ${pair} was not told at ${at.toFixed(3)}`);
    }
    this.#checkOver(key, best);
  }

  /** The greatest claim, and those that conflict with it: neither had seen the other. */
  #contest(
    key: string,
    claims: readonly MasterClaim[],
  ): { best: MasterClaim | null; rivals: MasterClaim[] } {
    const best = validClaims(claims).reduce<MasterClaim | null>(
      (top, claim) => top === null || outranks(claim, top) ? claim : top,
      null,
    );
    const rivals = validClaims(claims).filter((other) =>
      best !== null && other !== best && this.#isBlind(key, best, other) &&
      this.#isBlind(key, other, best) && best.over.get(other.master) !== other.epoch
    );
    return { best, rivals };
  }

  enter(masters: SimMasters, report: Reporter): void {
    this.#masters = masters;
    this.#report = report;
  }

  called(record: CallRecord): void {
    if (record.what !== "lookup") return;
    const node = Number(/^node-(\d+)/.exec(record.process)?.[1]);
    const master = this.#masters?.masterOf(node) ?? 0;
    this.#lookups.set(record, { master, pairs: this.#pairs(record.key, master) });
  }

  returned(record: CallRecord): void {
    const began = this.#lookups.get(record);
    this.#lookups.delete(record);
    if (!began || record.outcome !== "ok" || began.pairs.size === 0) return;
    const now = this.#pairs(record.key, began.master);
    const stood = [...began.pairs].filter((pair) => now.has(pair));
    if (stood.length === 0) return;
    this.lookups++;
    if (record.verdict === "contested" || record.verdict === "suspect") return;
    const { key, process, verdict } = record;
    this.#report("shown")(`${process} was told ${verdict} of ${key} while ${stood} stood`);
  }

  /** Conflicting claims of live members at a master, as text. */
  #pairs(key: string, master: number): Set<string> {
    const state = this.#masters?.stateAt(master);
    if (!state) return new Set();
    const live = new Set(
      state.members().members.filter(({ state }) => !hasEnded(state)).map((it) => it.incarnation),
    );
    const { best, rivals } = this.#contest(key, state.claims(key));
    const isLive = ({ incarnation }: MasterClaim): boolean => live.has(incarnation);
    if (!best || !isLive(best)) return new Set();
    return new Set(rivals.filter(isLive).map(({ epoch }) => `${best.epoch} beside ${epoch}`));
  }

  committed({ key, epoch }: { key: string; epoch: number }, at: number): void {
    const epochs = this.#epochs.get(key) ?? [];
    this.#epochs.set(key, epochs);
    const other = epochs.at(-1) ?? 0;
    if (epoch > other) epochs.push(epoch);
    else if (this.#plan.masters.isBounded && other !== epoch) {
      this.#report("one owner")(
        `${key}: epoch ${epoch} committed at ${at.toFixed(3)}, after ${other} had`,
      );
    }
  }

  claimed(key: string, opId: string, won: boolean, stands: boolean): void {
    if (won || !stands || this.#plan.shape.linkConditions.duplicates > 0) return;
    this.#report("withdrawn")(`${key}: the claim ${opId} lost, and its claim stands`);
  }

  /**
   * Called once everything is healed, and all messages in flight have arrived.
   *
   * @param mayStray whether the network may have repeated a claim since the last call for its key:
   * no node knows of that claim, and the next call for the key ends it.
   */
  rested(masters: SimMasters, keys: readonly string[], inMemory: number, mayStray: boolean): void {
    const report = this.#report("one in the end");
    const states = this.#names.map((_, i) => masters.stateAt(i));
    const live = new Set(
      states[0]?.members().members.filter(({ state }) => !hasEnded(state))
        .map(({ incarnation }) => incarnation),
    );
    let owned = 0;
    for (const key of keys) {
      const owners = states.map((state) => ownerOf(state.claims(key)));
      const told = owners.map((owner) => owner ? `${owner.epoch} of ${owner.rrp}` : "nobody");
      if (new Set(told).size > 1) report(`${key}: the masters name ${told.join(", ")}`);
      const isOwned = live.has(greatest(states[0]?.claims(key) ?? [])?.incarnation ?? "");
      if (isOwned) owned++;
      const rivals = owners[0]?.contested?.filter(({ incarnation }) => live.has(incarnation)) ?? [];
      if (isOwned && rivals.length > 0 && !mayStray) {
        report(`${key}: ${told[0]} is contested by ${rivals.map(({ rrp }) => rrp)}`);
      }
    }
    if (inMemory > owned) report(`${inMemory} resources are in memory, ${owned} are owned`);
  }

  /** A claim must have seen the claims that its entry lists as seen. */
  #checkOver(key: string, claim: MasterClaim): void {
    const home = this.#names.indexOf(claim.master);
    for (const [master, epoch] of claim.over) {
      const came = this.#arrivals.get(`${key} ${master} ${epoch}`)?.get(home);
      if (came !== undefined) continue;
      this.#report("shown")(`${key}: ${claim.epoch} claims to have seen ${master}'s ${epoch}`);
    }
  }

  /** Whether a claim was made before the other one arrived at its master. */
  #isBlind(key: string, claim: MasterClaim, other: MasterClaim): boolean {
    const home = this.#names.indexOf(claim.master);
    const madeAt = this.#arrivals.get(nameOf(key, claim))?.get(home) ?? -Infinity;
    const came = this.#arrivals.get(nameOf(key, other))?.get(home) ?? Infinity;
    return came > madeAt;
  }
}

function nameOf(key: string, { master, epoch }: MasterClaim): string {
  return `${key} ${master} ${epoch}`;
}
