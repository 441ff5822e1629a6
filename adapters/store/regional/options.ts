/**
 * Checks the options of a regional store before anything is opened. Throws an AtlasError that
 * names the field.
 */
import { AtlasError } from "../../../src/errors.ts";
import { quoted } from "../../../src/model/options.ts";
import { checkToken } from "../../../src/model/rrp.ts";
import { refused } from "../check.ts";

const RULES = ["types", "rule", "default"];

/** Refuses a region's name that can't be the prefix of an id: `~` ends it there. */
export function checkRegion(region: string): void {
  checkToken("region", region);
  if (!region.includes("~")) return;
  throw refused("region", quoted(region), "without ~, which ends the region in an id's prefix");
}

/** Refuses unknown options, and values that are no stores. */
export function checkRegional(options: unknown): void {
  const { stores } = fieldsOf("options", options, "{ self, stores, homes }");
  const all = fieldsOf("stores", stores, "{ <region>: a store, or a function that opens one }");
  for (const [region, source] of Object.entries(all)) {
    checkRegion(region);
    const isStore = typeof source === "object" && source !== null && "claim" in source;
    if (!isStore && typeof source !== "function") {
      throw refused(`stores.${region}`, quoted(source), "a store, or a function that opens one");
    }
    const [other] = Object.entries(all).find(([, it]) => isStore && it === source) ?? [region];
    if (other !== region) throw sameStore(region, other);
  }
}

/** The error of a store that is given for two regions. */
export function sameStore(region: string, other: string): AtlasError {
  const message =
    `stores.${region} is the store of ${other}, too: it must be a registry of its own`;
  return new AtlasError("bad_request", message);
}

/** Refuses rules of a wrong shape; their regions are checked later. */
export function checkHomeRules(rules: unknown): void {
  const all = fieldsOf("homes", rules, "{ types, rule, default }");
  const unknown = Object.keys(all).find((name) => !RULES.includes(name));
  if (unknown !== undefined) throw refused(`homes.${unknown}`, "set", `one of ${RULES.join(", ")}`);
  const { types, rule } = all;
  if (types !== undefined) fieldsOf("homes.types", types, "{ <type>: <region> }");
  if (rule === undefined || typeof rule === "function") return;
  throw refused("homes.rule", quoted(rule), "a function of a type and an id");
}

function fieldsOf(name: string, value: unknown, allowed: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw refused(name, quoted(value), allowed);
}
