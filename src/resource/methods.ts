/** The methods of a resource class that callers may use, found once for each class. */
import type { ResourceClass } from "../app.ts";
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

/** The error of a call to a method that isn't there, or isn't for callers. */
export function noSuchMethod(
  type: string,
  method: string,
  methods: ReadonlyMap<string, Method>,
): AtlasError {
  const known = [...methods.keys()].sort().slice(0, 20).join(", ");
  return new AtlasError(
    "not_found",
    `${type} has no method ${JSON.stringify(method.slice(0, 64))}; it has: ${known}`,
  );
}
