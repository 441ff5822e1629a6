/** An app: the resource types that a node can run, how each behaves, and its modules. */
import { AtlasError } from "../errors.ts";
import { DEFAULT_IDLE_MS, MAX_MAILBOX, MAX_TURN_MS } from "../limits.ts";
import { quoted } from "../model/options.ts";
import { checkPrefix, checkToken, rrpAt } from "../model/rrp.ts";
import { isModule, type ModuleMap } from "./module.ts";
import type { Resource, ResourceContext } from "./resource.ts";

/** A class that extends {@link Resource}. */
// deno-lint-ignore no-explicit-any
export type ResourceClass<R extends Resource = any> = new (context: ResourceContext) => R;

/**
 * Which node takes a resource that nobody owns.
 *
 * - `local`: the node that gets the call, if it runs the type.
 * - `region`: as `local`, but never a node of another region.
 * - `spread`: one of the region's nodes by a hash of the key, so that keys spread evenly.
 * - `caller`, or `prefer caller`: as `local`; later it moves toward the region that most of its
 * calls come
 *   from, if those are many and stay so.
 * - `{ region }`: only nodes of that region.
 *
 * If the store gives keys a home region, only its nodes take them, whatever the placement; `serve`
 * makes `{ region }` the home of a type that has none otherwise.
 */
export type Placement =
  | "local"
  | "region"
  | "spread"
  | "caller"
  | "prefer caller"
  | { readonly region: string };

/**
 * What happens to a resource while its node can't reach the store.
 *
 * - `fence`: it serves until the node's lease ends, then its calls are refused.
 * - `available`: it continues. Its answers are marked, its writes are kept in memory, and what it
 *   has not read yet can't be read. A resource that another node owns is called there while that
 *   node can be reached. Once the store is back the turns are committed if no other owner wrote the
 *   state meanwhile; otherwise the other owner stays, and this one's `onConflict` runs.
 */
export type Partition = "fence" | "available";

/** How one resource type behaves. */
export interface ResourceType<R extends Resource = Resource> {
  readonly class: ResourceClass<R>;
  /** How long an unused resource stays in memory, in ms; at least 10. Default 60,000. */
  readonly idleAfterMs?: number;
  /** How many calls may wait at one resource. Default 1,024. */
  readonly mailbox?: number;
  /** How long one turn may run before its instance is stopped, in ms. Default 60,000. */
  readonly maxTurnMs?: number;
  /**
   * Lets a call chain re-enter a busy resource: the call joins the turn that waits. Default false.
   */
  readonly reentrant?: boolean;
  /** Which node takes it. Default `local`. */
  readonly placement?: Placement;
  /** What happens to it while its node can't reach the store. Default `fence`. */
  readonly partition?: Partition;
}

/** Settings that override those of a resource type, by prefix. */
export type Policy = Omit<ResourceType, "class">;

/**
 * Policies by prefix of an RRP: `rrp:eu-west-1/`, `rrp:eu-west-1/hop@node-1/`, or down to a type,
 * `rrp:eu-west-1/hop@node-1/channels/`. A node applies those that its own resources' RRPs start
 * with; of several the longest prefix wins.
 */
export type Policies = { readonly [prefix: string]: Policy };

/** A resource type's settings, all filled in. */
export type ResolvedType = Required<ResourceType>;

// deno-lint-ignore no-explicit-any
export type ResourceMap = { readonly [type: string]: ResourceClass<any> | ResourceType<any> };

/** The result of {@link defineApp}. `Types` and `Modules` give stubs and proxies their methods. */
export interface App<
  Types extends ResourceMap = ResourceMap,
  Modules extends ModuleMap = ModuleMap,
> {
  readonly resources: Types;
  readonly modules?: Modules;
  readonly policies?: Policies;
}

const PLACEMENTS = ["local", "region", "spread", "caller"] as const;

/** The settings of a resource type, and of a policy. */
const SETTINGS: readonly (keyof Policy)[] = [
  "idleAfterMs",
  "mailbox",
  "maxTurnMs",
  "reentrant",
  "placement",
  "partition",
];

// deno-lint-ignore ban-types
type None = {};

/**
 * Defines an app: resource types, modules, or both. Checks all settings.
 *
 * @example
 * ```ts
 * export default defineApp({ resources: { channels: Channel }, modules: { calc } });
 * ```
 * @throws AtlasError `bad_request` or `invalid_rrp`, naming the type or module and the setting.
 */
export function defineApp<Types extends ResourceMap = None, Modules extends ModuleMap = None>(
  app: { resources?: Types; modules?: Modules; policies?: Policies },
): App<Types, Modules> & { readonly modules: Modules } {
  const {
    resources = app?.modules === undefined ? undefined : {} as Types,
    modules = {} as Modules,
  } = app ?? {};
  if (typeof resources !== "object" || resources === null || Array.isArray(resources)) {
    throw new AtlasError("bad_request", "an app needs resources: { <type>: <class> }, or modules");
  }
  const whole = { ...app, resources, modules };
  resolveTypes(whole);
  checkPolicies(whole);
  resolveModules(modules);
  return whole;
}

/** Refuses modules that don't come from `defineModule`, or whose name isn't allowed. */
function resolveModules(modules: unknown): void {
  if (typeof modules !== "object" || modules === null) {
    throw new AtlasError("bad_request", "an app's modules must be { <name>: defineModule(…) }");
  }
  for (const [name, module] of Object.entries(modules)) {
    checkToken("module", name);
    if (!isModule(module)) {
      throw new AtlasError("bad_request", `module ${name} must be made by defineModule`);
    }
  }
}

/**
 * The app's types with their settings filled in.
 *
 * @param place the node's region and name; its policies are applied.
 * @throws AtlasError `bad_request` if `app` is not an app, or a type's setting isn't allowed.
 */
export function resolveTypes(
  app: App,
  place?: { readonly region: string; readonly node: string },
): Map<string, ResolvedType> {
  if (typeof app?.resources !== "object" || app.resources === null) {
    throw new AtlasError(
      "bad_request",
      `app is ${quoted(app)}, it must be the result of defineApp()`,
    );
  }
  const types = new Map<string, ResolvedType>();
  for (const [name, value] of Object.entries(app.resources)) {
    checkToken("type", name);
    const plain: ResourceType = typeof value === "function" ? { class: value } : value;
    if (typeof plain?.class !== "function") {
      throw new AtlasError("bad_request", `resource type ${name} needs a class`);
    }
    const { class: code, ...own } = plain;
    const policy = place ? policyAt(app, rrpAt(place.region, place.node, `${name}/`)) : {};
    types.set(name, {
      class: code,
      ...resolve(`resource type ${name}`, { ...own, ...policy }),
    });
  }
  return types;
}

/** Fills in defaults; `owner` names the type or policy in errors. */
function resolve(owner: string, settings: Policy): Required<Policy> {
  const unknown = Object.keys(settings).find((name) => !SETTINGS.some((known) => known === name));
  if (unknown !== undefined) {
    throw new AtlasError(
      "bad_request",
      `${owner}: there is no setting ${quoted(unknown)}; there are: ${SETTINGS.join(", ")}`,
    );
  }
  const { reentrant = false } = settings;
  if (typeof reentrant !== "boolean") throw wrong(owner, "reentrant", reentrant, "true or false");
  return {
    idleAfterMs: atLeast(owner, "idleAfterMs", settings.idleAfterMs ?? DEFAULT_IDLE_MS, 10),
    mailbox: atLeast(owner, "mailbox", settings.mailbox ?? MAX_MAILBOX, 1),
    maxTurnMs: atLeast(owner, "maxTurnMs", settings.maxTurnMs ?? MAX_TURN_MS, 10),
    reentrant,
    placement: checkPlacement(owner, settings.placement),
    partition: checkPartition(owner, settings.partition),
  };
}

/** The policies for RRPs that start with `start`, merged; the longest prefix wins. */
function policyAt({ policies = {} }: App, start: string): Policy {
  const prefixes = Object.keys(policies).filter((prefix) => start.startsWith(prefix));
  prefixes.sort((one, other) => one.length - other.length);
  return Object.assign({}, ...prefixes.map((prefix) => policies[prefix]));
}

/** Refuses prefixes of single resources, and settings that no type has. */
function checkPolicies({ policies }: App): void {
  if (policies === undefined) return;
  if (typeof policies !== "object" || policies === null || Array.isArray(policies)) {
    throw new AtlasError("bad_request", "an app's policies must be { <prefix>: { … } }");
  }
  for (const [prefix, policy] of Object.entries(policies)) {
    checkPrefix(prefix);
    if (!prefix.endsWith("/") && prefix !== "rrp:") {
      const message = `policy ${prefix} names one resource; it must end after region, node or type`;
      throw new AtlasError("bad_request", message);
    }
    if (typeof policy !== "object" || policy === null || Object.hasOwn(policy, "class")) {
      const message = `policy ${prefix} must be a resource type's settings without its class`;
      throw new AtlasError("bad_request", message);
    }
    resolve(`policy ${prefix}`, policy);
  }
}

function atLeast(owner: string, setting: string, value: number, least: number): number {
  if (typeof value === "number" && value >= least) return value;
  throw wrong(owner, setting, value, `a number of at least ${least}`);
}

function checkPartition(owner: string, partition: Partition = "fence"): Partition {
  if (partition === "fence" || partition === "available") return partition;
  throw wrong(owner, "partition", partition, "fence or available");
}

function checkPlacement(owner: string, placement: Placement = "local"): Placement {
  if (placement === "prefer caller") return "caller";
  if (PLACEMENTS.some((known) => known === placement)) return placement;
  if (typeof placement === "object" && placement !== null && "region" in placement) {
    checkToken(`${owner}: placement.region`, placement.region);
    return { region: placement.region };
  }
  throw wrong(
    owner,
    "placement",
    placement,
    `${PLACEMENTS.join(", ")} or { region: <name> }`,
  );
}

function wrong(owner: string, setting: string, value: unknown, allowed: string): AtlasError {
  const message = `${owner}: ${setting} is ${quoted(value)}, it must be ${allowed}`;
  return new AtlasError("bad_request", message);
}
