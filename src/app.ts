/**
 * An app: the resource types that a node can run, and how each behaves.
 */
import { AtlasError } from "./errors.ts";
import { DEFAULT_IDLE_MS, MAX_MAILBOX, MAX_TURN_MS } from "./limits.ts";
import { checkToken } from "./model/rrp.ts";
import type { Resource, ResourceContext } from "./resource/resource.ts";

/** A class that extends {@link Resource}. */
// deno-lint-ignore no-explicit-any
export type ResourceClass<R extends Resource = any> = new (context: ResourceContext) => R;

/** How one resource type behaves. */
export interface ResourceType<R extends Resource = Resource> {
  readonly class: ResourceClass<R>;
  /** How long an unused resource stays in memory, in ms; at least 10. Default 60,000. */
  readonly idleAfterMs?: number;
  /** How many calls may wait at one resource. Default 1,024. */
  readonly mailbox?: number;
  /** How long one turn may run before its instance is given up, in ms. Default 60,000. */
  readonly maxTurnMs?: number;
  /** Lets a call chain come back into a busy resource: it joins the turn that waits. Default false. */
  readonly reentrant?: boolean;
}

/** A resource type's settings, all filled in. */
export type ResolvedType = Required<ResourceType>;

// deno-lint-ignore no-explicit-any
export type ResourceMap = { readonly [type: string]: ResourceClass<any> | ResourceType<any> };

/** What {@link defineApp} answers. `Types` carries the methods to the stubs. */
export interface App<Types extends ResourceMap = ResourceMap> {
  readonly resources: Types;
}

/**
 * Checks and names what an app consists of.
 *
 * @example
 * ```ts
 * export default defineApp({ resources: { channels: Channel } });
 * ```
 * @throws AtlasError `bad_request` or `invalid_rrp`, naming the type and the setting.
 */
export function defineApp<Types extends ResourceMap>(app: { resources: Types }): App<Types> {
  if (typeof app?.resources !== "object" || app.resources === null) {
    throw new AtlasError("bad_request", "an app needs resources: { <type>: <class> }");
  }
  resolveTypes(app);
  return app;
}

/** The app's types with their settings filled in. */
export function resolveTypes(app: App): Map<string, ResolvedType> {
  const types = new Map<string, ResolvedType>();
  for (const [name, value] of Object.entries(app.resources)) {
    checkToken("type", name);
    const type: ResourceType = typeof value === "function" ? { class: value } : value;
    if (typeof type?.class !== "function") {
      throw new AtlasError("bad_request", `resource type ${name} needs a class`);
    }
    types.set(name, {
      class: type.class,
      idleAfterMs: atLeast(name, "idleAfterMs", type.idleAfterMs ?? DEFAULT_IDLE_MS, 10),
      mailbox: atLeast(name, "mailbox", type.mailbox ?? MAX_MAILBOX, 1),
      maxTurnMs: atLeast(name, "maxTurnMs", type.maxTurnMs ?? MAX_TURN_MS, 10),
      reentrant: type.reentrant ?? false,
    });
  }
  return types;
}

function atLeast(type: string, setting: string, value: number, least: number): number {
  if (typeof value === "number" && value >= least) return value;
  throw new AtlasError(
    "bad_request",
    `resource type ${type}: ${setting} is ${value}, it must be a number of at least ${least}`,
  );
}
