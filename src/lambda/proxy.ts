/** Proxies: a module's functions as if they were here, and the balancer behind them. */
import { isCallable } from "../model/method.ts";
import type { Balancer } from "./api.ts";

/**
 * A proxy whose properties are exactly the functions that `exports` names now, and `$plb`.
 * Other names that could be a function's give one that rejects with `not_found`; `then`
 * and symbols are undefined, so that a proxy can be awaited and logged.
 */
export function makeProxy(plb: Balancer, exports: () => readonly string[]): unknown {
  const functions = new Map<string, (...args: unknown[]) => Promise<unknown>>();
  const has = (name: string | symbol): boolean =>
    typeof name === "string" && (name === "$plb" || exports().includes(name));
  const get = (name: string | symbol): unknown => {
    if (name === "$plb") return plb;
    if (typeof name !== "string" || !isCallable(name)) return undefined;
    const known = functions.get(name);
    if (known) return known;
    const call = async (...args: unknown[]): Promise<unknown> =>
      (await plb.call(name, args)).result;
    // Only what is there is kept: any text may be asked for.
    if (has(name)) functions.set(name, call);
    return call;
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
