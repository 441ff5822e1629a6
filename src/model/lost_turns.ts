/**
 * What an owner knows of the state that it reads (`OwnerKnows`), and the error for a store whose
 * state lacks it.
 */
import { AtlasError } from "../errors.ts";
import { quoted } from "./options.ts";

/** What the owner of a state knows of it when it reads. */
export interface OwnerKnows {
  /** The last turn that is in the state, and its epoch; both 0: none. */
  readonly after: LostTurns["kept"];
  /**
   * The id of the lineage that the owner has reasserted in; absent: unknown. {@link LostTurns}
   * says whether another one answered: then the owner reasserts first.
   */
  readonly lineage?: string;
}

/** The state of a key lacks turns that its owner knows of. */
export class LostTurns extends AtlasError {
  /** The last turn that the state has, and its epoch; both 0: none. */
  readonly kept: { readonly epoch: number; readonly turn: number };
  /** Whether the answer came from another copy of the store than the owner has reasserted to. */
  readonly isMoved: boolean;

  constructor(key: string, kept: LostTurns["kept"], isMoved: boolean) {
    const message = `the registry has lost turns of ${quoted(key)}`;
    super("unavailable", message, { retryable: false, detail: message });
    this.kept = kept;
    this.isMoved = isMoved;
  }
}
