/**
 * A turn that runs a hook for a connection, queued in the mailbox like a call. Takes what to
 * run; reports how it ended.
 */
import type { Resource } from "../api/resource.ts";
import type { AtlasError } from "../errors.ts";
import { Call } from "../model/call.ts";
import type { Caller } from "../model/call_path.ts";

const NONE: readonly string[] = [];
/** The caller of turns that no node called. */
export const NOWHERE: Caller = { region: "", node: "" };

/** What a hook call does; its writes and events belong to one turn. */
export type Hook = (resource: Resource) => unknown;

export class HookCall extends Call {
  readonly key: string;
  /** The hook's name, for logs. */
  readonly method: string;
  readonly deadline: number;
  readonly caller: Caller;
  readonly idempotencyKey = null;
  readonly chain: readonly string[] = NONE;
  readonly trace = null;
  /** The hook's error; null if its turn is committed. */
  readonly ended: Promise<AtlasError | null>;
  readonly #hook: Hook;
  #end!: (error: AtlasError | null) => void;

  constructor(key: string, method: string, deadline: number, caller: Caller, run: Hook) {
    super();
    this.key = key;
    this.method = method;
    this.deadline = deadline;
    this.caller = caller;
    this.#hook = run;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  /** A hook call without a deadline is not repeated: it is queued even in a full mailbox. */
  override get alwaysQueued(): boolean {
    return this.deadline === Infinity;
  }

  /** The method that the activation applies to the instance. */
  get hook(): (this: Resource) => unknown {
    const run = this.#hook;
    return function (this: Resource) {
      return run(this);
    };
  }

  override arguments(): unknown[] {
    return [];
  }

  override encode(): unknown {
    return null;
  }

  override succeed(): void {
    this.#settle(null);
  }

  override fail(error: AtlasError): void {
    this.#settle(error);
  }

  override expire(): void {}

  #settle(error: AtlasError | null): void {
    if (this.done) return;
    this.done = true;
    this.#end(error);
  }
}
