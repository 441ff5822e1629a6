/**
 * The table of mutants, for the terminal and the docs: which rule caught each, and with which seed.
 */
import type { WorldName } from "../plan/plan.ts";
import { isControl, MOST_SEEDS, type Mutant, worldOf } from "../mutants/mutant.ts";
import type { Verdict } from "../mutants/trials.ts";

/** The result of a mutant's trial. */
export interface Outcome {
  readonly mutant: Mutant;
  /** Null if no rule caught it. */
  readonly verdict: Verdict | null;
  /** Why there is no verdict; null if there is one. */
  readonly trouble: string | null;
}

/** Widths of the columns on a terminal. */
const NAME = 27;
const RULE = 14;

/** One line for a terminal. */
export function outcomeLine({ mutant, verdict, trouble }: Outcome): string {
  const by = trouble === null ? verdict?.rule ?? "nobody" : "no verdict";
  return `${mutant.name.padEnd(NAME)}${by.padEnd(RULE)}${trouble ?? seedOf(verdict)}`;
}

/** The heading above such lines. */
export const HEADING: string = `${"mutant".padEnd(NAME)}${"killed by".padEnd(RULE)}first in`;

/** The text of `docs/mutants.md`. */
export function document(outcomes: readonly Outcome[]): string {
  const { resources, regions, market, masters, offline } = MOST_SEEDS;
  return [
    "# Mutants",
    "",
    "Variants of the protocol, each with one known mistake, planted in a",
    "temporary copy (`sim/mutants/`). The simulator must catch every one:",
    `within ${resources} seeds of random faults from seed 1 (${regions} with regions, ${market} in the`,
    `market of modules, ${masters} with several masters, ${offline} without the`,
    "store), or in a directed scenario",
    "(`sim/mutants/scenarios.ts`) where those meet the mistake too rarely.",
    '"Killed by" is the checker that reported it first (`sim/checkers/`, `sim/market/checkers/`,',
    "`sim/worlds/masters_checkers.ts`, `sim/worlds/offline_checkers.ts`).",
    "",
    "Written by `npm run sim -- --mutants --write`. One of them: `npm run sim -- --mutant NAME`;",
    "and one seed of it in full: `npm run sim -- --mutant NAME --seed N`.",
    "",
    "## Resources",
    "",
    ...tableOf(outcomes, "resources"),
    "## Regions",
    "",
    ...tableOf(outcomes, "regions"),
    "## Market of modules",
    "",
    ...tableOf(outcomes, "market"),
    "## Several masters",
    "",
    ...tableOf(outcomes, "masters"),
    "## Operating without the store",
    "",
    ...tableOf(outcomes, "offline"),
    "The control, the same copy without a mistake, breaks no rule in those seeds and scenarios.",
    "",
  ].join("\n");
}

function tableOf(outcomes: readonly Outcome[], world: WorldName): string[] {
  const rows = outcomes.filter(({ mutant }) => worldOf(mutant) === world)
    .map(({ mutant: { name, about }, verdict, trouble }) => {
      const by = trouble === null ? verdict?.rule ?? "**nobody**" : `**${trouble}**`;
      return `| \`${name}\` | ${about} | ${by} | ${seedOf(verdict)} |`;
    });
  return ["| mutant | the mistake | killed by | first in |", "|---|---|---|---|", ...rows, ""];
}

function seedOf(verdict: Verdict | null): string {
  if (verdict === null) return "-";
  return verdict.seed === null ? `scenario ${verdict.scenario}` : `seed ${verdict.seed}`;
}

/** Whether the result is right: each mutant caught, each control not. */
export function isRight({ mutant, verdict, trouble }: Outcome): boolean {
  return trouble === null && (verdict === null) === isControl(mutant);
}
