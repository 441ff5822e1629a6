/**
 * The port `AsyncContext` on Bun, Deno and Node, which share the API of `node:async_hooks`. The
 * module is looked up at run time instead of imported, so that pages in browsers can import the
 * package's types and errors.
 */
import { AtlasError } from "../../src/errors.ts";
import type { AsyncContext } from "../../src/ports/async_context.ts";

/** The part of `AsyncLocalStorage` that is needed. */
interface LocalStorage {
  run<T>(value: object, run: () => T): T;
  getStore(): object | undefined;
}

/** The part of `process` that is needed, if there is one. */
interface Host {
  readonly process?: {
    getBuiltinModule?(name: "node:async_hooks"): {
      readonly AsyncLocalStorage: new () => LocalStorage;
    };
  };
}

const hooks = (globalThis as Host).process?.getBuiltinModule?.("node:async_hooks");
const storage = hooks && new hooks.AsyncLocalStorage();

/** One context for the whole process. Each value itself identifies its owner. */
export const systemContext: AsyncContext = {
  run(value, run) {
    if (storage) return storage.run(value, run);
    const message = "this runtime has no node:async_hooks: give createNode the option context";
    throw new AtlasError("bad_request", message);
  },
  current: () => storage?.getStore(),
};
