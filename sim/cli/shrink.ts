/**
 * Shrinks a plan that breaks a rule as far as it still breaks the same rule.
 *
 * Takes a plan, a rule's name and a time limit; gives the smallest plan found and its violation.
 * Removes lines by delta debugging, then tries each simplification, and repeats until nothing
 * changes.
 */
import { cuts } from "../draw/simplify.ts";
import type { Plan } from "../plan/plan.ts";
import type { Violation } from "../run/run_world.ts";
import { runPlan } from "../worlds/simulation.ts";

/** The default time limit of shrinking, in ms. */
const WITHIN_MS = 20_000;

export interface ShrinkOptions {
  /** The time limit in ms. Default 20,000. */
  readonly withinMs?: number;
  /** Runs a plan; gives how it broke rules. Default: {@link runPlan}. */
  readonly run?: (plan: Plan) => Promise<readonly Violation[]>;
  /** A clock, ms. Default: the runtime's. */
  readonly now?: () => number;
}

export interface Shrunk {
  readonly plan: Plan;
  /** How the shrunk plan breaks the rule. */
  readonly violation: Violation;
  /** The number of plans that were run. */
  readonly runs: number;
  /** Whether nothing more could be removed; otherwise the time was up. */
  readonly isDone: boolean;
}

/** Shrinks a plan that breaks `rule`. Gives null if the plan doesn't break it. */
export async function shrink(
  plan: Plan,
  rule: string,
  options: ShrinkOptions = {},
): Promise<Shrunk | null> {
  const search = new Search(rule, options);
  if (!await search.keep(plan)) return null;
  return await search.shrunk();
}

class Search {
  readonly #rule: string;
  readonly #run: (plan: Plan) => Promise<readonly Violation[]>;
  readonly #isTimeUp: () => boolean;
  #best: { readonly plan: Plan; readonly violation: Violation } | null = null;
  #runs = 0;

  constructor(rule: string, options: ShrinkOptions) {
    const { withinMs = WITHIN_MS, now = () => performance.now() } = options;
    this.#rule = rule;
    this.#run = options.run ?? (async (plan) => (await runPlan(plan)).violations);
    const end = now() + withinMs;
    this.#isTimeUp = () => now() >= end;
  }

  /** Runs a plan, and makes it the best one if it breaks the rule. */
  async keep(plan: Plan): Promise<boolean> {
    if (this.#best && this.#isTimeUp()) return false;
    this.#runs++;
    const violation = (await this.#run(plan)).find(({ rule }) => rule === this.#rule);
    if (violation) this.#best = { plan, violation };
    return violation !== undefined;
  }

  async shrunk(): Promise<Shrunk> {
    let former: Plan | null = null;
    while (former !== this.#plan && !this.#isTimeUp()) {
      former = this.#plan;
      await ddmin(this.#plan.faults, (faults) => this.keep({ ...this.#plan, faults }));
      await ddmin(this.#plan.work, (work) => this.keep({ ...this.#plan, work }));
      const { trades = [] } = this.#plan;
      if (trades.length > 0) {
        await ddmin(trades, (trades) => this.keep({ ...this.#plan, trades }));
      }
      await this.#cut();
    }
    const { plan, violation } = this.#best as { plan: Plan; violation: Violation };
    return { plan, violation, runs: this.#runs, isDone: !this.#isTimeUp() };
  }

  get #plan(): Plan {
    return this.#best?.plan as Plan;
  }

  /** Simplifies it step by step; after each success it tries the steps of the new plan. */
  async #cut(): Promise<void> {
    const tried = new Set<string>([JSON.stringify(this.#plan)]);
    for (let helped = true; helped && !this.#isTimeUp();) {
      helped = false;
      for (const plan of cuts(this.#plan)) {
        const text = JSON.stringify(plan);
        if (tried.has(text)) continue;
        tried.add(text);
        helped = await this.keep(plan);
        if (helped) break;
      }
    }
  }
}

/**
 * Delta debugging: a part of `items`, in their order, of which `fails` is still true and from which
 * no single item can be removed; all of them if no smaller part fails.
 *
 * Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002),
 * algorithm ddmin.
 *
 * @param fails MUST be true of `items`. It is called for n² parts at worst, usually for n log n.
 */
export async function ddmin<T>(
  items: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  if (items.length === 0 || await fails([])) return [];
  let left = items;
  let pieces = 2;
  while (left.length >= 2) {
    const parts = split(left, pieces);
    const part = await first(parts, fails);
    if (part) {
      left = part;
      pieces = 2;
      continue;
    }
    // With two pieces, the complement of one is the other, and both were tried.
    const rests = pieces === 2 ? [] : parts.map((part) => without(left, part));
    const rest = await first(rests, fails);
    if (rest) {
      left = rest;
      pieces--;
    } else if (pieces >= left.length) break;
    else pieces = Math.min(left.length, 2 * pieces);
  }
  return left;
}

/** `items` in `count` pieces of about the same length, in order. */
function split<T>(items: readonly T[], count: number): readonly T[][] {
  return Array.from({ length: count }, (_, piece) => {
    const from = Math.floor(items.length * piece / count);
    return items.slice(from, Math.floor(items.length * (piece + 1) / count));
  });
}

function without<T>(items: readonly T[], part: readonly T[]): readonly T[] {
  const struck = new Set(part);
  return items.filter((item) => !struck.has(item));
}

async function first<T>(
  lists: readonly (readonly T[])[],
  fails: (list: readonly T[]) => Promise<boolean>,
): Promise<readonly T[] | undefined> {
  for (const list of lists) if (await fails(list)) return list;
  return undefined;
}
