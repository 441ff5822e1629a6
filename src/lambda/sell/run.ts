/**
 * A request that runs, and what its function sees as `this`.
 *
 * The abort signal is made only for functions that ask for it. A run that nobody waits for any
 * more is aborted, and still counts until its function ends.
 */
import { AtlasError } from "../../errors.ts";
import { Expiring } from "../../model/expiring.ts";
import type { FunctionContext, Module } from "../../api/module.ts";

/** A request that runs. */
export class Run extends Expiring {
  readonly id: number;
  /** The function's. */
  readonly name: string;
  /** The code that it runs on to its end. */
  readonly module: Module;
  #controller: AbortController | null = null;
  #reason: AtlasError | null = null;

  constructor(id: number, name: string, module: Module) {
    super();
    this.id = id;
    this.name = name;
    this.module = module;
  }

  /** Made for those functions that ask for it: few do, and it costs as much as a call. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Nobody waits for it any more. */
  abort(reason: AtlasError): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }

  override expire(): void {
    this.abort(new AtlasError("timeout", "the caller's deadline passed"));
  }
}

/** What a function sees as `this`. */
export class Context implements FunctionContext {
  readonly module: string;
  readonly version: string;
  readonly #run: Run;

  /** @param module the name under which the module is published. */
  constructor(run: Run, module: string) {
    this.#run = run;
    this.module = module;
    this.version = run.module.version;
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }
}
