/**
 * An owner's reads of its own state: each says which turns the state must have, so that a state
 * that was lost, or lost in part, is told and never read as if nothing had been written.
 *
 * Takes an ownership; gives what the store has. Where turns are missing the ownership ends, as
 * after a failover to a copy that lacks them.
 *
 * Source: design §3, Store failover; the port's `OwnerKnows`.
 */
import type { AtlasError } from "../errors.ts";
import { LostTurns } from "../model/lost_turns.ts";
import type { OwnerKnows, Range, Store } from "../ports/store.ts";
import type { Tenure } from "./tenure.ts";

/** The ownership under which a state is read. */
export interface ReaderTenure extends Pick<Tenure, "key" | "last" | "isOver" | "behind"> {
  /** The error of what can't be done any more. */
  lost(maybeExecuted: boolean): AtlasError;
}

/** The id of the store's lineage, as far as the node knows. */
interface Registry {
  readonly lineage: string | undefined;
}

export class OwnState {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #tenure: ReaderTenure;

  constructor(store: Store, registry: Registry, tenure: ReaderTenure) {
    this.#store = store;
    this.#registry = registry;
    this.#tenure = tenure;
  }

  /** As the port's `read`. @throws AtlasError `not_owner` where turns are missing */
  read(fields: readonly string[]): Promise<(string | null)[]> {
    return this.#asking(this.#store.read(this.#tenure.key, fields, this.#knows));
  }

  /** As the port's `range`. @throws AtlasError `not_owner` where turns are missing */
  range(range: Range): Promise<[string, string][]> {
    return this.#asking(this.#store.range(this.#tenure.key, range, this.#knows));
  }

  get #knows(): OwnerKnows {
    const { lineage } = this.#registry;
    return { after: this.#tenure.last, ...lineage !== undefined && { lineage } };
  }

  async #asking<T>(reply: Promise<T>): Promise<T> {
    try {
      return await reply;
    } catch (error) {
      if (!(error instanceof LostTurns)) throw error;
      if (!this.#tenure.isOver) this.#tenure.behind(error.kept);
      throw this.#tenure.lost(true);
    }
  }
}
