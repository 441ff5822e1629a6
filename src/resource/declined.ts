/**
 * What a node does not take for a while: a "do not disturb" sign, by prefix.
 *
 * Takes prefixes of RRPs and for how long; answers whether a locator at this node falls
 * under one of them. Bounded: of many signs the one that hangs longest comes off.
 */
import type { DrainOptions } from "../api.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_DECLINE_MS, MAX_DECLINE_MS, MAX_DECLINED } from "../limits.ts";
import { checkOptions, type OptionNames } from "../model/options.ts";
import { quoted } from "../model/quoted.ts";
import { checkPrefix, isUnder } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";

const OPTIONS: OptionNames<DrainOptions> = { prefix: true, forMs: true };

/** Drain options, checked and filled in. @throws AtlasError `bad_request` or `invalid_rrp` */
export function checkDrain(options: DrainOptions): Required<DrainOptions> {
  const { prefix, forMs = DEFAULT_DECLINE_MS } = checkOptions(options, OPTIONS);
  checkPrefix(prefix);
  if (typeof forMs === "number" && forMs >= 1 && forMs <= MAX_DECLINE_MS) return { prefix, forMs };
  throw new AtlasError(
    "bad_request",
    `forMs is ${quoted(forMs)}, it must be 1 to ${MAX_DECLINE_MS}`,
  );
}

export class Declined {
  readonly #clock: Clock;
  /** By prefix, until when, on the monotonic clock; the oldest first. */
  readonly #prefixes = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Declines what starts with `prefix` for `ms` from now. */
  add(prefix: string, ms: number): void {
    this.#prefixes.delete(prefix);
    if (this.#prefixes.size >= MAX_DECLINED) {
      this.#prefixes.delete(this.#prefixes.keys().next().value as string);
    }
    this.#prefixes.set(prefix, this.#clock.now() + ms);
  }

  covers(rrp: string): boolean {
    if (this.#prefixes.size === 0) return false;
    const now = this.#clock.now();
    for (const [prefix, until] of this.#prefixes) {
      if (until <= now) this.#prefixes.delete(prefix);
      else if (isUnder(prefix, rrp)) return true;
    }
    return false;
  }
}
