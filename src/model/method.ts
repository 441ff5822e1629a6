/** Which method names a caller may use. Source: design §4, last point. */
import { MAX_METHOD } from "../limits.ts";
import { quoted } from "./quoted.ts";

/** Names that every object has, and what a promise or a serializer would ask for. */
const REFUSED = new Set([...Object.getOwnPropertyNames(Object.prototype), "then", "toJSON"]);

/**
 * Whether a method of this name may be called from outside: not `constructor` or
 * anything of Object's, no hook (`onStart`), nothing private by custom (`_cache`).
 */
export function isCallable(name: string): boolean {
  return typeof name === "string" && name.length > 0 && name.length <= MAX_METHOD &&
    name[0] !== "_" &&
    !/^on[A-Z]/.test(name) &&
    !REFUSED.has(name);
}

/** Why there can be no method of a name that is over {@link MAX_METHOD}. */
export function noMethod(name: string): string {
  return `there is no method ${quoted(name)}: names have at most ${MAX_METHOD} characters`;
}
