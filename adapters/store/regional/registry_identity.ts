/**
 * Detects two regions that share one registry.
 *
 * Takes members as they are read, and heartbeats; gives the reason why a registry is not its
 * region's own, and reports it once. Two regions with one registry work only until a key moves
 * between them: copying a state from a store into itself would delete it. Equal URLs are refused at
 * start (`url.ts`). Different URLs of one registry (another DNS name, a proxy) are detected here:
 * this node is among another region's members, or live members of another region are among this
 * region's members. Their heartbeats must be seen to change, because no node of this region marks
 * them dead.
 */
import type { AtlasError } from "../../../src/errors.ts";
import { hasEnded, type Member } from "../../../src/model/member.ts";
import type { NodeEvent } from "../../../src/model/node_event.ts";
import type { Observation } from "../../../src/ports/store.ts";
import { publicError } from "../check.ts";
import type { Pointer } from "./entries.ts";

/** A foreign member is alive if its heartbeat changed within this time, in ms. */
const ALIVE_MS = 60_000;
/** The most foreign members of one registry that are watched. */
const MAX_FOREIGN = 8;

/** A member in the registry of a region that is not its own. */
interface ForeignMember {
  readonly name: string;
  readonly seq: number;
  /** When its heartbeat was last seen to change. */
  readonly beatAt: number;
}

export class RegistryIdentity {
  readonly #self: string;
  readonly #now: () => number;
  readonly #onEvent: (event: NodeEvent) => void;
  /** This process's incarnations. */
  readonly #incarnations = new Set<string>();
  /** Other regions that have one of these incarnations as a member. */
  readonly #sameRegistry = new Set<string>();
  /** By the region in whose registry they are, and their incarnation. */
  readonly #foreignMembers = new Map<string, ReadonlyMap<string, ForeignMember>>();
  readonly #reported = new Set<string>();

  constructor(self: string, now: () => number, onEvent: (event: NodeEvent) => void) {
    this.#self = self;
    this.#now = now;
    this.#onEvent = onEvent;
  }

  begins(incarnation: string): void {
    this.#incarnations.add(incarnation);
  }

  ended(incarnation: string): void {
    this.#incarnations.delete(incarnation);
  }

  /** A region's members were read. */
  read(region: string, members: readonly Member[]): void {
    const living = members.filter(({ state }) => !hasEnded(state));
    const isMemberThere = region !== this.#self &&
      living.some((it) => this.#incarnations.has(it.incarnation));
    if (isMemberThere) this.#sameRegistry.add(region);
    else this.#sameRegistry.delete(region);
    const known = this.#foreignMembers.get(region);
    const others = living.filter((it) => it.region !== region).slice(0, MAX_FOREIGN);
    this.#foreignMembers.set(
      region,
      new Map(others.map((it) => {
        const name = `${it.region}/${it.node}`;
        return [it.incarnation, this.#seen(known?.get(it.incarnation), it.seq, name)];
      })),
    );
    this.#reportIfShared(region);
  }

  /** Foreign members in this region's registry; renewals return their heartbeats. */
  get foreignMembers(): readonly string[] {
    return [...this.#foreignMembers.get(this.#self)?.keys() ?? []];
  }

  /** Heartbeats in this region's own registry. */
  observed(observations: readonly Observation[]): void {
    const known = this.#foreignMembers.get(this.#self);
    if (!known || known.size === 0) return;
    const next = new Map(known);
    for (const { incarnation, seq } of observations) {
      const member = known.get(incarnation);
      if (member) next.set(incarnation, this.#seen(member, seq, member.name));
    }
    this.#foreignMembers.set(this.#self, next);
    this.#reportIfShared(this.#self);
  }

  /** Why no key may move to a region; null: no reason is known. */
  whyShared(region: string): string | null {
    const why = this.#why(region);
    return why === null ? null : `the registry of region ${region} is not its own: ${why}`;
  }

  /** @throws AtlasError `unavailable` if a region's registry is not its own */
  check(region: string): void {
    const obstacle = this.whyShared(region);
    if (obstacle !== null) throw publicError(obstacle);
  }

  /**
   * The error of a region whose registry holds an entry that only another region's registry can
   * have.
   */
  sharedRegistry(region: string, { from, to }: Pointer): AtlasError {
    const why = `it says that a key went from ${from} to ${to}, as only another region's can`;
    this.#report(region, why);
    return publicError(`the registry of region ${region} is not its own: ${why}`);
  }

  #seen(known: ForeignMember | undefined, seq: number, name: string): ForeignMember {
    const beatAt = known && seq > known.seq ? this.#now() : known?.beatAt ?? -Infinity;
    return { name, seq: Math.max(seq, known?.seq ?? 0), beatAt };
  }

  #why(region: string): string | null {
    if (this.#sameRegistry.has(region)) {
      return `this node, of region ${this.#self}, is a member there`;
    }
    const [other] = this.#sameRegistry;
    if (region === this.#self && other !== undefined) return `it is also the registry of ${other}`;
    const since = this.#now() - ALIVE_MS;
    for (const { name, beatAt } of this.#foreignMembers.get(region)?.values() ?? []) {
      if (beatAt >= since) return `node ${name} is a member there`;
    }
    return null;
  }

  #reportIfShared(region: string): void {
    const why = this.#why(region);
    if (why !== null) this.#report(region, why);
  }

  #report(region: string, reason: string): void {
    if (this.#reported.has(region)) return;
    this.#reported.add(region);
    const fields = { region, reason };
    this.#onEvent({ level: "error", event: "registry shared by regions", fields });
  }
}
