/**
 * The scrutineer before a race: looks over what was handed in, and turns back by name what
 * could not start.
 *
 * Takes options as they came, which no compiler may have seen; throws `bad_request` that
 * says what is wrong with which, and what would be right.
 */
import { AtlasError } from "../errors.ts";
import { MAX_CONTENDERS, MAX_RACE_MS, MAX_STALL_MS, MAX_TRIALS } from "../limits.ts";
import { quoted } from "../model/quoted.ts";
import type { RaceOptions } from "./race.ts";

/** Refuses options that no race can be run with. */
export function checkRace(options: Required<RaceOptions>): void {
  const { stores, clock, random, trials, stallMs, limitMs } = options;
  if (!Array.isArray(stores)) {
    const allowed = `2 to ${MAX_CONTENDERS} lines to a store`;
    throw new AtlasError("bad_request", `stores is ${quoted(stores)}: it must be ${allowed}`);
  }
  checkRange("stores", stores.length, 2, MAX_CONTENDERS);
  for (const [i, store] of stores.entries()) {
    checkMethods(`stores[${i}]`, store, ["get", "set", "claim", "remove"]);
  }
  checkMethods("clock", clock, ["now", "after"]);
  checkMethods("random", random, ["next", "uuid"]);
  checkRange("trials", trials, 1, MAX_TRIALS);
  checkRange("stallMs", stallMs, 0, MAX_STALL_MS);
  checkRange("limitMs", limitMs, 1, MAX_RACE_MS);
}

function checkMethods(name: string, value: unknown, methods: readonly string[]): void {
  const parts = Object(value) as { readonly [method: string]: unknown };
  if (methods.every((method) => typeof parts[method] === "function")) return;
  const all = methods.join(", ").replace(/, (\w+)$/, " and $1");
  throw new AtlasError("bad_request", `${name} is ${quoted(value)}: it must have ${all}`);
}

function checkRange(name: string, value: unknown, least: number, most: number): void {
  const isFine = name === "stallMs" ? Number.isFinite(value) : Number.isInteger(value);
  if (isFine && (value as number) >= least && (value as number) <= most) return;
  const what = name === "stores" ? `${value} contenders` : quoted(value);
  throw new AtlasError("bad_request", `${name} is ${what}: it must be ${least} to ${most}`);
}
