/**
 * Determines which region's registry keeps a key: the region that the key is known to have moved
 * to, else the one that its id's prefix, its type or a rule gives. Answers from memory; a move that
 * this process has not seen is found by a lookup.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import { AtlasError, messageOf } from "../../../src/errors.ts";
import { MAX_CACHED_LOCATIONS } from "../../../src/limits.ts";
import { quoted } from "../../../src/model/options.ts";
import { parseKey, weigh } from "../../../src/model/rrp.ts";
import { refused } from "../check.ts";
import type { Pointer } from "./entries.ts";
import { checkHomeRules } from "./options.ts";

/**
 * The home region of a key that was never moved. The first of these that gives a region wins: the
 * id's prefix (`eu-west-1~room-7`, if it names one of the regions), `types`, `rule`, `default`.
 *
 * Every node MUST have the same rules, and they MUST never change: a key whose home changed would
 * have two owners, and its state would stay behind. Add rules only for types and ids that are not
 * in use yet; move existing resources by `node.move`.
 */
export interface HomeRules {
  /** Regions by resource type: `{ channels: "eu-west-1" }`. */
  readonly types?: Readonly<Record<string, string>>;
  /** Gives a region by type and decoded id; null or undefined: this rule gives none. */
  readonly rule?: (type: string, id: string) => string | null | undefined;
  /**
   * The home of all other keys. Default: the first region, in JavaScript's order of property names.
   */
  readonly default?: string;
}

/**
 * A rule that spreads keys evenly over `regions`, by highest random weight. The list is part of the
 * rule: a region that is added to it would take keys away from the others. Give new regions
 * prefixes or types of their own instead.
 *
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998).
 */
export function spreadOver(regions: readonly string[]): (type: string, id: string) => string {
  if (!Array.isArray(regions) || regions.length === 0) {
    throw refused("regions", quoted(regions), "a list of at least one region");
  }
  return (type, id) => {
    let best = regions[0] as string;
    let most = -1;
    for (const region of regions) {
      const weight = weigh(`${type}/${id} ${region}`);
      if (weight > most) [best, most] = [region, weight];
    }
    return best;
  };
}

/** What is known of a key that moved. */
export interface Moved extends Pointer {
  /** Whether its state has been copied. */
  readonly isSettled: boolean;
}

export class Homes {
  readonly #regions: ReadonlySet<string>;
  readonly #rules: HomeRules;
  readonly #default: string;
  /** Oldest first. The first is evicted; a lookup finds it again. */
  readonly #moved = new Map<string, Moved>();

  /** @throws AtlasError `bad_request` if a rule names none of the regions. */
  constructor(regions: readonly string[], rules: HomeRules = {}) {
    checkHomeRules(rules);
    this.#regions = new Set(regions);
    this.#rules = rules;
    this.#default = this.#checked("homes.default", rules.default ?? regions[0] as string);
    for (const [type, region] of Object.entries(rules.types ?? {})) {
      this.#checked(`homes.types.${type}`, region);
    }
  }

  /** The home, as far as this process knows. @throws AtlasError if a rule names no region */
  of(key: string): string {
    return this.#moved.get(key)?.to ?? this.first(key);
  }

  /** The home before any move. */
  first(key: string): string {
    const { types = {}, rule } = this.#rules;
    const slash = key.indexOf("/");
    const mark = key.indexOf("~", slash + 1);
    if (mark > 0) {
      const prefix = key.slice(slash + 1, mark);
      if (this.#regions.has(prefix)) return prefix;
    }
    const type = key.slice(0, slash);
    if (Object.hasOwn(types, type)) return types[type] as string;
    const ruled = rule && slash > 0 ? ruleOn(rule, key) : null;
    return this.#checked(`homes.rule for ${key}`, ruled ?? this.#default);
  }

  moved(key: string): Moved | undefined {
    return this.#moved.get(key);
  }

  /**
   * Remembers where a key moved, unless this move or a later one is known to have ended. A move
   * that was taken back has ended too, and a lookup that was in progress meanwhile is outdated.
   */
  learn(key: string, { to, from, at }: Pointer, isSettled: boolean): void {
    const known = this.#moved.get(key);
    if (known?.isSettled && known.at >= at) return;
    this.#moved.delete(key);
    // The key is back at its first home with its state, as if it had never moved.
    if (isSettled && to === this.first(key)) return;
    if (this.#moved.size >= MAX_CACHED_LOCATIONS) {
      this.#moved.delete(this.#moved.keys().next().value as string);
    }
    this.#moved.set(key, { to, from, at, isSettled });
  }

  /** Forgets a move that was taken back. */
  forget(key: string): void {
    if (this.#moved.get(key)?.isSettled === false) this.#moved.delete(key);
  }

  #checked(name: string, region: string): string {
    if (this.#regions.has(region)) return region;
    throw refused(name, quoted(region), `one of ${[...this.#regions].join(", ")}`);
  }
}

/**
 * The region that a rule gives a key. @throws AtlasError `bad_request` with the key if it throws
 */
function ruleOn(rule: NonNullable<HomeRules["rule"]>, key: string): string | null | undefined {
  const { type, id } = parseKey(key);
  try {
    return rule(type, id);
  } catch (cause) {
    const message = `homes.rule threw for ${key}: ${messageOf(cause)}`;
    throw new AtlasError("bad_request", message, { cause });
  }
}
