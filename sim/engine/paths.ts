/**
 * The network paths of a simulation: one per direction between any two machines, each with its own
 * conditions.
 *
 * Takes packets; gives when they arrive: soon, late (a heavy tail, or lost and resent), or only
 * once the path is open. Loss and duplication of single packets belong to the transport protocol: a
 * stream sees them as delay, single requests are really lost or duplicated.
 */
import type { SeededRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { LinkConditions } from "../plan/plan.ts";

/** A lost packet is sent again after this long, and after twice as long each further time. */
const RETRANSMIT_MS = 200;
const MOST_RETRANSMITS = 4;
/** The longest delay on a healed path, ms. */
const LAST_MS = 250;

/** The same conditions without loss, duplicates or heavy tails. */
function calm(linkConditions: LinkConditions): LinkConditions {
  return { ...linkConditions, tail: 0, loss: 0, duplicates: 0 };
}

/** A path in one direction. */
export class Path {
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #mendedAt: number;
  #linkConditions: LinkConditions;
  readonly #blocks = new Set<object>();
  readonly #clogs = new Map<object, number>();
  #held: (() => void)[] = [];

  constructor(
    scheduler: Scheduler,
    random: SeededRandom,
    linkConditions: LinkConditions,
    mendedAt: number,
  ) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#linkConditions = linkConditions;
    this.#mendedAt = mendedAt;
  }

  get isOpen(): boolean {
    return this.#blocks.size === 0;
  }

  /** Nothing passes until `token` is given to {@link unblock}. Packets in flight arrive. */
  block(token: object): void {
    this.#blocks.add(token);
  }

  unblock(token: object): void {
    if (!this.#blocks.delete(token) || this.#blocks.size > 0) return;
    const held = this.#held;
    this.#held = [];
    for (const send of held) send();
  }

  /** Everything takes up to `ms` longer until `token` is given to {@link unclog}. */
  clog(token: object, ms: number): void {
    this.#clogs.set(token, ms);
  }

  unclog(token: object): void {
    this.#clogs.delete(token);
  }

  /** Opens it, with calm conditions. */
  clear(): void {
    this.#linkConditions = calm(this.#linkConditions);
    for (const token of [...this.#blocks]) this.unblock(token);
    this.#clogs.clear();
  }

  /** Runs `send` now or, if the path is closed, once it is open. */
  whenOpen(send: () => void): void {
    if (this.isOpen) send();
    else this.#held.push(send);
  }

  /** How long a packet of a stream takes: lost ones are sent again. In ms. */
  streamDelay(): number {
    let ms = this.delay();
    for (let lost = 0; lost < MOST_RETRANSMITS && this.isLossy(); lost++) {
      ms += RETRANSMIT_MS * 2 ** lost;
    }
    return this.#latest(ms);
  }

  /** How long a packet that is not lost takes, ms. */
  delay(): number {
    const { baseMs, jitterMs, tail, tailMs } = this.#linkConditions;
    let ms = baseMs + this.#random.next() * jitterMs;
    // Pareto with exponent 2; by square root, which is exact on every runtime.
    if (this.#random.chance(tail)) ms += tailMs / Math.sqrt(1 - this.#random.next()) - tailMs;
    for (const clog of this.#clogs.values()) ms += this.#random.next() * clog;
    return this.#latest(ms);
  }

  /** Packets in flight when the path is healed arrive soon after. */
  #latest(ms: number): number {
    return Math.min(ms, Math.max(this.#mendedAt + LAST_MS - this.#scheduler.now, LAST_MS));
  }

  /** Draws whether a packet is lost. */
  isLossy(): boolean {
    return this.#random.chance(this.#linkConditions.loss);
  }

  /** Draws whether a packet is duplicated. */
  isDoubled(): boolean {
    return this.#random.chance(this.#linkConditions.duplicates);
  }
}

/** All paths, each created on first use. */
export class Paths {
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #mendedAt: number;
  #linkConditions: LinkConditions;
  readonly #paths = new Map<string, Map<string, Path>>();
  readonly #distanceMs: (from: string, to: string) => number;

  /**
   * @param mendedAt true time after which no packet is delayed for long, ms.
   * @param distanceMs additional delay of a path beyond the link conditions, ms.
   */
  constructor(
    scheduler: Scheduler,
    random: SeededRandom,
    linkConditions: LinkConditions,
    mendedAt: number,
    distanceMs: (from: string, to: string) => number = () => 0,
  ) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#linkConditions = linkConditions;
    this.#mendedAt = mendedAt;
    this.#distanceMs = distanceMs;
  }

  /** The path from one machine to another. */
  from(from: string, to: string): Path {
    let paths = this.#paths.get(from);
    if (!paths) this.#paths.set(from, paths = new Map());
    let path = paths.get(to);
    if (!path) {
      const baseMs = this.#linkConditions.baseMs + this.#distanceMs(from, to);
      const linkConditions = { ...this.#linkConditions, baseMs };
      path = new Path(this.#scheduler, this.#random, linkConditions, this.#mendedAt);
      paths.set(to, path);
    }
    return path;
  }

  /** Opens every path, with calm conditions from now on. */
  clear(): void {
    this.#linkConditions = calm(this.#linkConditions);
    for (const paths of this.#paths.values()) {
      for (const path of paths.values()) path.clear();
    }
  }
}
