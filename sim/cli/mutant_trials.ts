/**
 * `npm run sim -- --mutants` and `--mutant NAME`: runs all trials, or one. Prints a table, and
 * writes it to the docs on request. Exits with 0 only if every mutant was caught and no control
 * was.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SimArguments } from "./arguments.ts";
import { ROOT } from "../mutants/copy.ts";
import { CONTROLS, isControl, type Mutant, worldOf } from "../mutants/mutant.ts";
import { mutantOf, MUTANTS } from "../mutants/mutants.ts";
import { document, HEADING, isRight, type Outcome, outcomeLine } from "./mutant_table.ts";
import { runMutant, tryMutant } from "../mutants/trials.ts";

/** The file for the table. */
const DOCUMENT = "docs/mutants.md";

/** Tries all mutants and the controls, `workers` at a time. */
export async function runMutants(workers: number, isWritten: boolean): Promise<number> {
  const started = performance.now();
  // The longest trials first.
  const waiting = [...CONTROLS, ...MUTANTS];
  const outcomes: Outcome[] = [];
  console.log(HEADING);
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const outcome = await tried(next);
      outcomes.push(outcome);
      console.log(outcomeLine(outcome));
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  const wrong = outcomes.filter((outcome) => !isRight(outcome));
  const ofMutants = MUTANTS.map((it) => outcomes.find(({ mutant }) => mutant === it) as Outcome);
  const killed = ofMutants.filter(isRight).length;
  if (isWritten && wrong.length === 0) {
    const file = join(ROOT, DOCUMENT);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, document(ofMutants));
    console.log(`written: ${DOCUMENT}`);
  }
  for (const { mutant } of wrong) {
    const what = isControl(mutant) ? `the control, of ${worldOf(mutant)},` : mutant.name;
    console.log(`${what} ${isControl(mutant) ? "was" : "was not"} killed`);
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${killed} of ${MUTANTS.length} mutants killed in ${seconds} s`);
  return wrong.length === 0 ? 0 : 1;
}

/** Tries one mutant, or runs one seed of it in full. @throws Error if there is no such mutant */
export async function runOneMutant(
  name: string,
  { seed, seeds }: Pick<SimArguments, "seed" | "seeds">,
): Promise<number> {
  const mutant = mutantOf(name);
  if (seed !== null) return await runMutant(mutant, seed);
  const outcome = await tried(mutant, seeds);
  const { verdict } = outcome;
  console.log(`${mutant.name}: ${mutant.about}\n\n${HEADING}\n${outcomeLine(outcome)}`);
  if (verdict) console.log(`\n${verdict.rule}: ${verdict.message}`);
  if (verdict?.seed) console.log(`in full: npm run sim -- --mutant ${name} --seed ${verdict.seed}`);
  return isRight(outcome) ? 0 : 1;
}

async function tried(mutant: Mutant, seeds?: number): Promise<Outcome> {
  try {
    return { mutant, verdict: await tryMutant(mutant, seeds), trouble: null };
  } catch (error) {
    return { mutant, verdict: null, trouble: (error as Error).message };
  }
}
