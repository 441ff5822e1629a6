/** The methods of a resource class that callers may use, found once for each class. */
import type { ResolvedType, ResourceClass } from "../app.ts";
import { AtlasError } from "../errors.ts";
import { isCallable } from "../model/method.ts";
import { Resource } from "./resource.ts";

// deno-lint-ignore no-explicit-any
export type Method = (this: any, ...args: unknown[]) => unknown;

/** What resources themselves call, whatever overrides it. */
const OWN = new Set(Object.getOwnPropertyNames(Resource.prototype));

/**
 * The callable methods of `type` and what it extends, up to the base class.
 *
 * Own prototypes only: neither what a constructor put on the instance nor anything of
 * Object's can be called, so that no name reaches further than the class's author meant.
 */
export function methodsOf(type: ResourceClass): ReadonlyMap<string, Method> {
  const methods = new Map<string, Method>();
  let prototype = type.prototype;
  while (prototype && prototype !== Object.prototype) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof property.value !== "function" || !isCallable(name) || OWN.has(name)) continue;
      if (methods.has(name)) continue;
      methods.set(name, property.value);
    }
    prototype = Object.getPrototypeOf(prototype);
  }
  return methods;
}

/** The callable methods of all types of an app. */
export class Methods {
  readonly #byType = new Map<string, ReadonlyMap<string, Method>>();

  constructor(types: Iterable<readonly [string, Pick<ResolvedType, "class">]>) {
    for (const [name, type] of types) this.#byType.set(name, methodsOf(type.class));
  }

  /** A type's method. @throws AtlasError `not_found` where it isn't there, or isn't for callers */
  of(name: string, type: Pick<ResolvedType, "class">, method: string): Method {
    const methods = this.#byType.get(name) ?? methodsOf(type.class);
    const found = methods.get(method);
    if (found) return found;
    const known = [...methods.keys()].sort().slice(0, 20).join(", ");
    throw new AtlasError(
      "not_found",
      `${name} has no method ${JSON.stringify(method.slice(0, 64))}; it has: ${known}`,
    );
  }
}
