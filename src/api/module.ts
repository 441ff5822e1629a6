/**
 * Defines a module: functions with a version and attributes. `defineModule` checks them and
 * computes the content hash that tells two builds of one version apart.
 *
 * The hash covers the functions' source only, not what they close over. If two builds differ only
 * in that, a listener gives one of them a hash of its own.
 *
 * Source: `docs/design.md`, Modules; Semantic Versioning 2.0.0, §9–11; the ranges of npm's semver.
 */
// One by one: the whole package is three times as many files, which every start would load.
import compare from "semver/functions/compare.js";
import parse from "semver/functions/parse.js";
import prerelease from "semver/functions/prerelease.js";
import satisfies from "semver/functions/satisfies.js";
import valid from "semver/functions/valid.js";
import validRange from "semver/ranges/valid.js";
import { AtlasError } from "../errors.ts";
import { MAX_CAPACITY, MAX_EXPORTS, MAX_VERSION } from "../limits.ts";
import { isCallable } from "../model/internal_methods.ts";
import { checkOptions, type OptionNames, quoted } from "../model/options.ts";
import { checkToken } from "../model/rrp.ts";

/** The value of `this` in a function, unless it is an arrow function. */
export interface FunctionContext {
  /** Aborted once nobody waits for the result any more. */
  readonly signal: AbortSignal;
  /** The name under which its module is published. */
  readonly module: string;
  readonly version: string;
}

// deno-lint-ignore no-explicit-any
export type ModuleFunction = (this: any, ...args: any[]) => unknown;
export type ModuleFunctions = { readonly [name: string]: ModuleFunction };

/** Values that describe a module; they are part of its hash. */
export type Attributes = { readonly [name: string]: string | number | boolean | null };

/** What {@link defineModule} takes. */
export interface ModuleOptions<F extends ModuleFunctions = ModuleFunctions> {
  /** Default: its key in the app's `modules`. */
  readonly name?: string;
  /** A semantic version, such as `1.2.0`. Default `1.0.0`. */
  readonly version?: string;
  /**
   * Requests that a node of the app runs at once. Without it no node offers the module by itself.
   */
  readonly capacity?: number;
  readonly attributes?: Attributes;
  readonly functions: F;
}

/** A checked module. `F` carries its functions to the proxies. */
export interface Module<F extends ModuleFunctions = ModuleFunctions> {
  readonly name: string | null;
  readonly version: string;
  readonly capacity: number | null;
  readonly attributes: Attributes;
  readonly functions: F;
  /** The names of its functions, sorted. */
  readonly exports: readonly string[];
  /**
   * Hash of version, names, attributes and the functions' source, as the runtime prints it: 16
   * hexadecimal digits. Modules with equal hashes have equal code, save for what it closes over; if
   * hashes differ the code may still be the same, printed by another runtime.
   */
  readonly hash: string;
}

const OPTIONS: OptionNames<ModuleOptions> = {
  name: true,
  version: true,
  capacity: true,
  attributes: true,
  functions: true,
};

export type ModuleMap = { readonly [name: string]: Module };

/**
 * Defines a module: checks its functions, version and attributes.
 *
 * @example
 * ```ts
 * defineModule({ version: "1.0.0", capacity: 2, functions: { pi: (digits: number) => "3.14" } });
 * ```
 * @throws AtlasError `bad_request` or `invalid_rrp`, naming the field and what is allowed.
 */
export function defineModule<F extends ModuleFunctions>(options: ModuleOptions<F>): Module<F> {
  checkOptions(options, OPTIONS);
  const { name, functions, attributes = {} } = options;
  if (name !== undefined) checkToken("module", name);
  const exports = checkFunctions(functions);
  const version = checkVersion(options.version ?? "1.0.0");
  checkAttributes(attributes);
  const capacity = options.capacity === undefined
    ? null
    : checkCapacity("capacity", options.capacity);
  const sources = exports.map((it) => [it, String((functions as ModuleFunctions)[it])]);
  const content = JSON.stringify([version, sources, Object.entries(attributes).sort()]);
  return Object.freeze({
    name: name ?? null,
    version,
    capacity,
    attributes: { ...attributes },
    functions: Object.freeze({ ...functions }),
    exports,
    hash: hashOf(content),
  });
}

/** Whether a value is a result of {@link defineModule}. */
export function isModule(value: unknown): value is Module {
  const { functions, exports, hash } = (value ?? {}) as Partial<Module>;
  return typeof functions === "object" && Array.isArray(exports) && typeof hash === "string";
}

/** Whether both have the same hash and the identical functions. */
export function isSameCode(one: Module, other: Module): boolean {
  return one.hash === other.hash &&
    one.exports.every((name) => one.functions[name] === other.functions[name]);
}

/** The same module under a hash of its own; unique if `salt` is. */
export function rehashed(module: Module, salt: string): Module {
  return Object.freeze({ ...module, hash: hashOf(`${module.hash} ${salt}`) });
}

/** A version in its normal form. @throws AtlasError `bad_request` */
export function checkVersion(version: string): string {
  const parsed = typeof version === "string" && version.length <= MAX_VERSION
    ? parse(version)
    : null;
  if (parsed) return parsed.version;
  throw new AtlasError(
    "bad_request",
    `version is ${quoted(version)}, it must be a semantic version such as 1.2.0`,
  );
}

/** Checks a range of versions, and returns it unchanged. @throws AtlasError `bad_request` */
export function checkRange(range: string): string {
  const isRange = typeof range === "string" && range.length <= MAX_VERSION &&
    validRange(range) !== null;
  if (isRange) return range.trim() || "*";
  throw new AtlasError(
    "bad_request",
    `version is ${quoted(range)}, it must be a version or a range such as ^1.2 or >=1 <3`,
  );
}

/** Checks a number of concurrent requests. @throws AtlasError `bad_request` */
export function checkCapacity(field: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= MAX_CAPACITY) return value;
  throw new AtlasError(
    "bad_request",
    `${field} is ${quoted(value)}, it must be a whole number from 1 to ${MAX_CAPACITY}`,
  );
}

/** Whether `version` is in the buyer's `range`; null stands for any stable version. */
export function accepts(range: string | null, version: string): boolean {
  return range === null ? prerelease(version) === null : satisfies(version, range);
}

/** Below 0 if version `a` is older than `b`, above 0 if it is newer. */
export function compareVersions(a: string, b: string): number {
  return compare(a, b);
}

/** Whether untrusted text is a version. */
export function isVersion(text: string): boolean {
  return text.length <= MAX_VERSION && valid(text) !== null;
}

/** Whether untrusted text is a range. */
export function isRange(text: string): boolean {
  return text.length <= MAX_VERSION && validRange(text) !== null;
}

function checkFunctions(functions: unknown): string[] {
  if (typeof functions !== "object" || functions === null) {
    throw new AtlasError("bad_request", "a module needs functions: { <name>: <function> }");
  }
  const exports = Object.keys(functions).sort();
  if (exports.length < 1 || exports.length > MAX_EXPORTS) {
    throw new AtlasError(
      "bad_request",
      `functions has ${exports.length} entries, it must have 1 to ${MAX_EXPORTS}`,
    );
  }
  for (const name of exports) {
    if (typeof (functions as ModuleFunctions)[name] !== "function") {
      throw new AtlasError("bad_request", `functions.${name} is not a function`);
    }
    if (!isCallable(name) || name.startsWith("$")) {
      throw new AtlasError(
        "bad_request",
        `function name ${
          quoted(name)
        } is reserved: names of hooks (onStart), of Object's methods and ` +
          "names that begin with _ or $ are not allowed",
      );
    }
  }
  return exports;
}

function checkAttributes(attributes: unknown): void {
  const plain = typeof attributes === "object" && attributes !== null;
  for (const [name, value] of plain ? Object.entries(attributes) : [["", attributes]]) {
    if (plain && (value === null || ["string", "number", "boolean"].includes(typeof value))) {
      continue;
    }
    throw new AtlasError(
      "bad_request",
      `attributes${name && `.${name}`} is ${quoted(value)}, it must be ${
        plain ? "text, a number, a boolean or null" : "an object"
      }`,
    );
  }
}

/**
 * Two FNV-1a hashes of 32 bits from different starts: enough to distinguish builds of one module,
 * unless somebody attacks the hash.
 */
function hashOf(text: string): string {
  let digits = "";
  for (const start of [0x811c9dc5, 0x050c5d1f]) {
    let hash = start;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    digits += (hash >>> 0).toString(16).padStart(8, "0");
  }
  return digits;
}
