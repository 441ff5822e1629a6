/**
 * Chooses which members' heartbeats this node watches, and measures on its own clock how long each
 * has not changed. `failure_detector.ts` decides which members to declare dead, and when.
 *
 * Source: `docs/design.md`, Membership and leases.
 */
import { WATCHED_MEMBERS } from "../limits.ts";
import type { MemberState } from "../model/member.ts";
import type { Clock } from "../ports/clock.ts";
import type { Observation } from "../ports/store.ts";

/** The number of heartbeats of other regions' members that are remembered. */
const MAX_REMOTE_HEARTBEATS = 10_000;

interface WatchedMember {
  seq: number;
  state: MemberState;
  /** When this seq was first seen, on the monotonic clock. */
  since: number;
}

export class HeartbeatMonitor {
  readonly #clock: Clock;
  #watched = new Map<string, WatchedMember>();
  readonly #suspects = new Set<string>();
  /**
   * Heartbeats of other regions' members, as last seen, each with the time since when it has not
   * changed.
   */
  readonly #remote = new Map<string, Pick<WatchedMember, "seq" | "since">>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether any member is a suspect, to be watched more often. */
  get hasSuspects(): boolean {
    return this.#suspects.size > 0;
  }

  isSuspect(incarnation: string): boolean {
    return this.#suspects.has(incarnation);
  }

  suspect(incarnation: string): void {
    this.#suspects.add(incarnation);
  }

  trust(incarnation: string): void {
    this.#suspects.delete(incarnation);
  }

  /** All watched members. */
  all(): string[] {
    return [...new Set([...this.#watched.keys(), ...this.#suspects])];
  }

  /** When the oldest unchanged heartbeat was first seen; Infinity: no member is watched. */
  oldest(): number {
    let oldest = Infinity;
    for (const { since } of this.#watched.values()) oldest = Math.min(oldest, since);
    return oldest;
  }

  /** For how long a member's heartbeat has not changed, in ms; below 0 if it isn't watched. */
  stillMs(incarnation: string, now: number): number {
    return now - (this.#watched.get(incarnation)?.since ?? Infinity);
  }

  /** For how long a heartbeat of another region, which was read now, has not changed, in ms. */
  seen({ incarnation, seq }: Observation): number {
    const now = this.#clock.now();
    const seen = this.#remote.get(incarnation);
    if (seen?.seq === seq) return now - seen.since;
    const [oldest = ""] = this.#remote.keys();
    if (!seen && this.#remote.size >= MAX_REMOTE_HEARTBEATS) this.#remote.delete(oldest);
    this.#remote.set(incarnation, { seq, since: now });
    return 0;
  }

  /** The members whose heartbeat has not changed since `due`, with its number. */
  stalledSince(due: number): [incarnation: string, seq: number][] {
    return [...this.#watched].filter(([, { since }]) => since <= due).map(([it, { seq }]) => [
      it,
      seq,
    ]);
  }

  /** Watches the next `others` after `self` in the ring of incarnations, and the suspects. */
  assign(self: string, others: readonly Observation[]): void {
    const members = new Map(others.map((member) => [member.incarnation, member]));
    const names = [...members.keys()].sort();
    const after = names.filter((incarnation) => incarnation > self);
    const ring = [...after, ...names.slice(0, names.length - after.length)];
    const wanted = new Set(ring.slice(0, WATCHED_MEMBERS));
    for (const suspect of this.#suspects) {
      if (members.has(suspect)) wanted.add(suspect);
      else this.#suspects.delete(suspect);
    }
    const former = this.#watched;
    this.#watched = new Map();
    const now = this.#clock.now();
    for (const incarnation of wanted) {
      const { seq, state } = members.get(incarnation) as Observation;
      const watch = former.get(incarnation);
      const since = watch !== undefined && watch.seq >= seq ? watch.since : now;
      this.#watched.set(incarnation, { seq: Math.max(seq, watch?.seq ?? 0), state, since });
    }
  }

  /** Records heartbeats, as read from the store. */
  note(seen: readonly Observation[]): void {
    const now = this.#clock.now();
    for (const { incarnation, seq, state } of seen) {
      const watch = this.#watched.get(incarnation);
      if (!watch) this.#watched.set(incarnation, { seq, state, since: now });
      else if (seq > watch.seq) {
        watch.seq = seq;
        watch.since = now;
        this.#suspects.delete(incarnation);
      }
    }
  }

  /** Records a heartbeat as first seen at `since`, unless a different one was seen meanwhile. */
  putOff(incarnation: string, seq: number, since: number): void {
    const watch = this.#watched.get(incarnation);
    if (watch?.seq === seq) watch.since = since;
  }

  /** Stops watching a member, unless it is chosen again. */
  drop(incarnation: string): void {
    this.#watched.delete(incarnation);
  }

  /** Clears all heartbeats; suspects stay. */
  clear(): void {
    this.#watched.clear();
  }
}
