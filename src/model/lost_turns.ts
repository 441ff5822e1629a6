/** The error of a store whose state lacks turns that it had acknowledged to the state's owner. */
import { AtlasError } from "../errors.ts";
import { quoted } from "./quoted.ts";

/** The state of a key lacks turns that its owner knows of. */
export class LostTurns extends AtlasError {
  /** The last turn that the state has, and the epoch it is of; both 0: none. */
  readonly kept: { readonly epoch: number; readonly turn: number };
  /** Whether another copy of the store said so than its owner has told what it holds. */
  readonly isMoved: boolean;

  constructor(key: string, kept: LostTurns["kept"], isMoved: boolean) {
    const message = `the registry has lost turns of ${quoted(key)}`;
    super("unavailable", message, { retryable: false, detail: message });
    this.kept = kept;
    this.isMoved = isMoved;
  }
}
