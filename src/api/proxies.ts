/** Makes stubs: proxies whose methods call a resource's methods, wherever it runs. */
import { isCallable } from "../model/internal_methods.ts";
import type { Balancer } from "./modules.ts";

/**
 * A proxy whose every allowed property is a function that passes its arguments to `call`. `then`
 * and symbols are undefined, so that a stub can be awaited, logged and compared without making a
 * call.
 */
export function makeStub(call: StubCall): unknown {
  return new Proxy<StubTarget>({ call, methods: Object.create(null) }, STUB);
}

type StubCall = (method: string, args: unknown[]) => Promise<unknown>;

/** What the handler of all stubs knows of one of them. */
interface StubTarget {
  readonly call: StubCall;
  /** Those that were called. */
  readonly methods: Record<string, (...args: unknown[]) => Promise<unknown>>;
}

/** Shared by all stubs, because programs make a stub for each call. */
const STUB: ProxyHandler<StubTarget> = {
  get({ call, methods }, name) {
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
};

/** Calls one function of a module. */
export type ProxyCall = (name: string, args: readonly unknown[]) => Promise<unknown>;

/**
 * A proxy whose properties are exactly the functions that `exports` names now, and `$plb`.
 * Other names that could be a function's give one that rejects with `not_found`; `then`
 * and symbols are undefined, so that a proxy can be awaited and logged.
 *
 * @param call calls a function and gives its result; rejects, and never throws.
 */
export function makeProxy(
  plb: Balancer,
  exports: () => readonly string[],
  call: ProxyCall = async (name, args) => (await plb.call(name, args)).result,
): unknown {
  const functions = new Map<string, (...args: unknown[]) => Promise<unknown>>();
  const has = (name: string | symbol): boolean =>
    typeof name === "string" && (name === "$plb" || exports().includes(name));
  const get = (name: string | symbol): unknown => {
    if (typeof name !== "string") return undefined;
    const known = functions.get(name);
    if (known) return known;
    if (name === "$plb") return plb;
    if (!isCallable(name)) return undefined;
    const made = (...args: unknown[]): Promise<unknown> => call(name, args);
    // Only existing functions are cached, because any property name may be read.
    if (has(name)) functions.set(name, made);
    return made;
  };
  return new Proxy({}, {
    get: (_target, name) => get(name),
    has: (_target, name) => has(name),
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    ownKeys: () => [...exports(), "$plb"],
    getOwnPropertyDescriptor: (_target, name) =>
      has(name)
        ? { value: get(name), enumerable: name !== "$plb", configurable: true, writable: false }
        : undefined,
  });
}
