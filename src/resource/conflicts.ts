/**
 * Finds conflicting claims on stores without one write order, which may hold two valid claims of a
 * key for a while.
 *
 * Looks up each key that the host holds from time to time. An owner that finds a greater claim
 * stops at once, runs `onConflict` with the winner, and gives its own claim back. With other
 * stores nothing is looked up.
 *
 * Source: `docs/design.md`, Several masters.
 */
import { isAtlasError, messageOf } from "../errors.ts";
import { MAX_TURN_MS, RECHECKS_AT_ONCE } from "../limits.ts";
import { regionOf } from "../model/call_path.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Timer } from "../ports/clock.ts";
import type { Activation } from "./activation.ts";
import type { ActivationHost } from "./activation_host.ts";

export class Conflicts {
  readonly #host: ActivationHost<Activation>;
  readonly #held: () => Iterable<Activation>;
  #timer: Timer | null = null;
  #isWatching = false;

  /** @param held what the host holds now. */
  constructor(host: ActivationHost<Activation>, held: () => Iterable<Activation>) {
    this.#host = host;
    this.#held = held;
  }

  /** Starts checking all activations, at most once every `recheckMs` of the store. */
  watch(): void {
    const { clock, store: { recheckMs } } = this.#host;
    if (recheckMs === undefined || this.#isWatching) return;
    this.#isWatching = true;
    const round = async (): Promise<void> => {
      await this.#round();
      if (this.#isWatching) this.#timer = clock.after(recheckMs, round);
    };
    this.#timer = clock.after(recheckMs, round);
  }

  stop(): void {
    this.#isWatching = false;
    this.#timer?.cancel();
  }

  /** An activation's ownership has ended: stops it, and runs `onConflict` if there is a winner. */
  async lost(activation: Activation, found?: Ownership | null): Promise<void> {
    const { store, stats } = this.#host;
    if (store.recheckMs === undefined && !found) return void activation.abandon();
    const winner = found === undefined ? this.#winner(activation) : Promise.resolve(found);
    const reported = winner.then((owner) => {
      if (owner === null) return null;
      stats.conflictsLost++;
      this.#tell("lost to a greater claim", activation, owner.rrp);
      return owner;
    });
    // The claim stays until the final hooks have run: the store finds this owner's writes by it.
    await this.#within(MAX_TURN_MS, activation.abandon(reported));
    const { key, owner: { incarnation, epoch } } = activation;
    const givenUp = found && store.depart && store.homeOf?.(key)
      ? store.depart(key, incarnation, epoch, regionOf(found.rrp))
      : store.release(key, incarnation, epoch);
    await givenUp.catch((error) => this.#tell("release failed", activation, messageOf(error)));
  }

  /** The store reported that an ownership, which may have ended meanwhile, has to yield. */
  overtaken(activation: Activation | undefined, epoch: number, winner: Ownership): void {
    if (activation?.epoch === epoch && !activation.offline) this.lost(activation, winner);
  }

  /**
   * Checks all activations, some at a time. Those that can't be checked now are checked next time.
   */
  async #round(): Promise<void> {
    const held = this.#held()[Symbol.iterator]();
    const work = async (): Promise<void> => {
      for (let next = held.next(); !next.done; next = held.next()) {
        if (!this.#isWatching) return;
        if (!await this.#look(next.value)) return;
      }
    };
    await Promise.all(Array.from({ length: RECHECKS_AT_ONCE }, work));
  }

  /** Whether the store answered. */
  async #look(activation: Activation): Promise<boolean> {
    try {
      const owner = await this.#host.store.lookup(activation.key);
      if (
        !activation.isOpen || activation.offline || !activation.holds() ||
        isOwner(activation, owner)
      ) return true;
      this.lost(activation, owner);
      return true;
    } catch (error) {
      if (!isAtlasError(error)) throw error;
      return false;
    }
  }

  /** Who owns the key instead; null if unknown. */
  async #winner(activation: Activation): Promise<Ownership | null> {
    try {
      const owner = await this.#host.store.lookup(activation.key);
      return isOwner(activation, owner) ? null : owner;
    } catch {
      return null;
    }
  }

  /** Resolves with `work`, or after `ms`. */
  #within(ms: number, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#host.clock.after(ms, resolve);
      work.finally(() => timer.cancel()).then(resolve);
    });
  }

  #tell(event: string, { key, epoch }: Activation, reason: string): void {
    this.#host.tell("warning", event, { key, epoch, reason });
  }
}

function isOwner({ owner: mine }: Activation, owner: Ownership | null): boolean {
  return owner?.incarnation === mine.incarnation && owner.epoch === mine.epoch;
}
