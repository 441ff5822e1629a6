/**
 * Reads an owner's own state. Each read names the turns that the state must contain, so that a
 * state that was lost, wholly or in part, is reported and never read as an empty state.
 *
 * Takes an ownership; gives what the store has. If turns are missing, as after a failover to a copy
 * that lacks them, the ownership ends.
 *
 * Source: `docs/design.md`, State and Store failover; the port's `OwnerKnows`.
 */
import type { AtlasError } from "../errors.ts";
import { LostTurns, type OwnerKnows } from "../model/lost_turns.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Range, Store } from "../ports/store.ts";
import { backoffMs, pause } from "../time/wait.ts";
import { outOfReach } from "./offline_log.ts";
import type { HeldOwnership } from "./reassertion.ts";

/** The ownership under which a state is read. */
export interface ReaderOwnership
  extends Pick<HeldOwnership, "key" | "last" | "offline" | "isOver" | "holds" | "behind"> {
  /** The error for operations after the ownership has ended. */
  lost(maybeExecuted: boolean): AtlasError;
}

/** What reading needs of the node. */
export interface StateParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  /** The id of the store's lineage, if the node knows it. */
  readonly lineage: string | undefined;
}

/**
 * Pauses before reading again from a copy of the store to which the ownership was not reasserted,
 * in ms.
 */
const AGAIN_MS = 20;
const AGAIN_MOST_MS = 500;

export class OwnState {
  readonly #parts: StateParts;
  readonly #ownership: ReaderOwnership;

  constructor(parts: StateParts, ownership: ReaderOwnership) {
    this.#parts = parts;
    this.#ownership = ownership;
  }

  /** As the port's `read`. @throws AtlasError `not_owner` if turns are missing */
  read(fields: readonly string[]): Promise<(string | null)[]> {
    return this.#asking(() => this.#parts.store.read(this.#ownership.key, fields, this.#knows));
  }

  /** As the port's `range`. @throws AtlasError `not_owner` if turns are missing */
  range(range: Range): Promise<[string, string][]> {
    return this.#asking(() => this.#parts.store.range(this.#ownership.key, range, this.#knows));
  }

  get #knows(): OwnerKnows {
    const { lineage } = this.#parts;
    return { after: this.#ownership.last, ...lineage !== undefined && { lineage } };
  }

  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#parts;
    for (let attempt = 0;; attempt++) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof LostTurns)) throw error;
        const ownership = this.#ownership;
        if (ownership.offline) throw outOfReach(ownership.key);
        if (!error.isMoved && !ownership.isOver) ownership.behind(error.kept);
        if (!error.isMoved || ownership.isOver || !ownership.holds()) throw ownership.lost(true);
        // Another copy of the store answers: this node's ownerships are being reasserted to it.
        await pause(clock, backoffMs(random, attempt, AGAIN_MS, AGAIN_MOST_MS));
      }
    }
  }
}
