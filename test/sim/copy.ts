/**
 * A copy of the sources that the simulator needs, to be changed and played in: a rehearsal
 * room where walls may be torn down.
 *
 * Takes a change to make; gives whatever is made of the copy before it is removed again.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Edit } from "../../sim/draw/schedule.ts";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));
const SOURCES = ["src", "adapters", "sim", "mod.ts", "package.json", "deno.json"];

/** Runs `run` with the folder of a copy, and removes it when that is over. */
export async function withCopy<T>(run: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "atlas-copy-"));
  try {
    for (const name of SOURCES) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes a change. @throws Error where what it looks for is not there exactly once */
export function applyEdit({ file, find, replace }: Edit, folder: string): void {
  const path = join(folder, file);
  const source = readFileSync(path, "utf8");
  const times = source.split(find).length - 1;
  if (times !== 1) throw new Error(`${file} has ${times} times: ${find}`);
  writeFileSync(path, source.replace(find, () => replace));
}
