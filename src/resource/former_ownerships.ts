/**
 * Ownerships that have ended here, and the last turns committed under them, so that a loss is
 * reported if the store is replaced by a copy that lacks such a turn.
 *
 * Takes each ownership that ends; asks the store about all of them whenever its lineage changes,
 * and reports what is missing. Remembered for `FORMER_OWNERSHIPS_MS`, up to `MAX_FORMER_OWNERSHIPS`.
 *
 * Source: `docs/design.md`, Store failover.
 */
import { FORMER_OWNERSHIPS_MS, MAX_FORMER_OWNERSHIPS } from "../limits.ts";
import type { Ownership } from "../model/ownership.ts";
import type { CommittedTurn, LineageName, Stamp } from "../ports/store.ts";
import { markOf } from "../registry/lineage.ts";
import { backoffMs, pause } from "../time/wait.ts";
import type { ActivationHost } from "./activation_host.ts";
import { tellLoss } from "./reassertion.ts";

/** The number of ownerships that one step asks about. */
const SHARE = 256;
/** Pauses before the store is asked again, in ms. */
const AGAIN_MS = 50;
const AGAIN_MOST_MS = 500;

interface FormerOwnership extends CommittedTurn {
  readonly key: string;
  readonly owner: Ownership;
  last: Stamp;
  /** The lineage, by `markOf`, for which it is known whether the state has that turn. */
  lineage: string | undefined;
  readonly endedAt: number;
}

/** What the membership knows of the store. */
interface Registry {
  /** The store's current lineage; null before it has answered once. */
  readonly present: LineageName | null;
  /** Whether the store answered recently. */
  readonly isReachable: boolean;
}

type Parts = Pick<ActivationHost<unknown>, "store" | "clock" | "random" | "stats" | "tell">;

export class FormerOwnerships {
  readonly #parts: Parts;
  readonly #registry: Registry;
  /** By key and the epoch of the turn, in the order in which they ended. */
  readonly #all = new Map<string, FormerOwnership>();
  /** The latest of each key. */
  readonly #latest = new Map<string, FormerOwnership>();
  #isAsking = false;
  #isClosed = false;

  constructor(parts: Parts, registry: Registry) {
    this.#parts = parts;
    this.#registry = registry;
  }

  get size(): number {
    return this.#all.size;
  }

  /**
   * An ownership has ended; `lineage` is the one in which its turns were committed or reasserted.
   */
  add({ key, owner, last, lineage }: Omit<FormerOwnership, "endedAt">): void {
    if (last.epoch === 0 || !this.#parts.store.kept) return;
    this.#forget();
    const id = `${last.epoch} ${key}`;
    const known = this.#all.get(id);
    if (known && known.last.turn >= last.turn) return;
    this.#all.delete(id);
    const former = { key, owner, last, lineage, endedAt: this.#parts.clock.now() };
    this.#all.set(id, former);
    this.#latest.set(key, former);
    const { present } = this.#registry;
    if (!present || lineage !== markOf(present)) this.check();
  }

  /**
   * A key is owned here again, and its state has `last`: reports missing turns of earlier
   * ownerships.
   */
  returned(key: string, last: Stamp): boolean {
    const former = this.#latest.get(key);
    return former !== undefined && this.#tell(former, last);
  }

  /** Asks the store about each ownership that was not yet checked in the current lineage. */
  check(): void {
    if (!this.#isAsking && !this.#isClosed) void this.#ask();
  }

  /** Stops asking. */
  stop(): void {
    this.#isClosed = true;
  }

  /**
   * Every copy of the store has turns that ended long ago, unless the store was unreachable since
   * then.
   */
  #forget(): void {
    const due = this.#parts.clock.now() - FORMER_OWNERSHIPS_MS;
    for (const [id, former] of this.#all) {
      const { key, endedAt } = former;
      const isOld = endedAt < due && this.#registry.isReachable;
      if (!isOld && this.#all.size < MAX_FORMER_OWNERSHIPS) break;
      this.#all.delete(id);
      if (this.#latest.get(key) === former) this.#latest.delete(key);
    }
  }

  async #ask(): Promise<void> {
    const { store, clock, random } = this.#parts;
    this.#isAsking = true;
    for (let attempt = 0; !this.#isClosed;) {
      const lineage = this.#registry.present;
      if (!lineage) break;
      const due = this.#due(lineage);
      if (due.length === 0) break;
      try {
        const kept = await store.kept?.(due.map(({ key, last }) => ({ key, last })), lineage);
        if (kept) {
          due.forEach((former, i) => this.#settle(former, kept[i] as Stamp, lineage));
          attempt = 0;
          continue;
        }
      } catch {
        // The store doesn't answer now. Other components report that.
      }
      await pause(clock, backoffMs(random, attempt++, AGAIN_MS, AGAIN_MOST_MS));
    }
    this.#isAsking = false;
  }

  #due(lineage: LineageName): FormerOwnership[] {
    const due: FormerOwnership[] = [];
    const current = markOf(lineage);
    for (const former of this.#all.values()) {
      if (former.lineage !== current) due.push(former);
      if (due.length === SHARE) break;
    }
    return due;
  }

  #settle(former: FormerOwnership, kept: Stamp, lineage: LineageName): void {
    former.lineage = markOf(lineage);
    this.#tell(former, kept);
  }

  #tell(former: FormerOwnership, kept: Stamp): boolean {
    const { last } = former;
    if (kept.epoch > last.epoch || kept.epoch === last.epoch && kept.turn >= last.turn) {
      return false;
    }
    tellLoss(this.#parts, former, kept);
    // Each loss is reported once.
    former.last = kept;
    return true;
  }
}
