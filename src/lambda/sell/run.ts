/**
 * A running request, and the `this` of its function.
 *
 * The abort signal is created only for functions that read it. A run whose caller no longer waits
 * is aborted, and counts until its function ends.
 */
import type { FunctionContext, Module } from "../../api/module.ts";
import { AtlasError } from "../../errors.ts";
import { Expiring } from "../../model/expiring.ts";

/** A running request. */
export class Run extends Expiring {
  readonly id: number;
  /** The function's name. */
  readonly name: string;
  /** The code that it runs on, even after an upgrade. */
  readonly module: Module;
  #controller: AbortController | null = null;
  #reason: AtlasError | null = null;

  constructor(id: number, name: string, module: Module) {
    super();
    this.id = id;
    this.name = name;
    this.module = module;
  }

  /** Created on first use: few functions read it, and it costs as much as a call. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Its caller no longer waits. */
  abort(reason: AtlasError): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }

  override expire(): void {
    this.abort(new AtlasError("timeout", "the caller's deadline passed"));
  }
}

/** The `this` of a module's function. */
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
