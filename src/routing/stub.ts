/** Stubs: a resource's methods as if it were here. */
import { isCallable } from "../model/method.ts";

/**
 * A proxy whose every allowed property is a function that passes its arguments to
 * `call`. `then` and symbols are undefined, so that a stub can be awaited, logged and
 * compared without a call going out.
 */
export function makeStub(call: (method: string, args: unknown[]) => Promise<unknown>): unknown {
  const methods: Record<string, (...args: unknown[]) => Promise<unknown>> = Object.create(null);
  return new Proxy(methods, {
    get(_target, name) {
      if (typeof name !== "string") return undefined;
      const known = methods[name];
      if (known !== undefined) return known;
      if (!isCallable(name)) return undefined;
      return (methods[name] = (...args) => call(name, args));
    },
    has: (_target, name) => typeof name === "string" && isCallable(name),
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    ownKeys: () => [],
    getOwnPropertyDescriptor: () => undefined,
  });
}
