/** Finds the growth lines: each file of `bench/growth/` exports `line`, or several as `lines`. */
import { readdirSync } from "node:fs";
import { ROOT } from "../scripts/runtimes.ts";
import type { GrowthLine } from "./growth/line.ts";

const FOLDER = `${ROOT}bench/growth/`;

/** A line and the file that measures it. */
export interface Found {
  readonly file: string;
  readonly line: GrowthLine;
}

/** All lines, in the order of their files' names. */
export async function allLines(): Promise<Found[]> {
  const files = readdirSync(FOLDER).filter((it) => it.endsWith(".ts")).sort();
  const found = await Promise.all(
    files.map(async (file) => (await linesIn(file)).map((line) => ({ file, line }))),
  );
  return found.flat();
}

/** The lines of one file; none where it exports no line. */
export async function linesIn(file: string): Promise<readonly GrowthLine[]> {
  const module = await import(`${FOLDER}${file}`) as {
    line?: GrowthLine;
    lines?: readonly GrowthLine[];
  };
  return module.lines ?? (module.line ? [module.line] : []);
}
