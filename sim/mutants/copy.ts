/**
 * Copies the project to a temporary folder and applies a mutant's edits there. The caller removes
 * the folder.
 */
import { cp, mkdtemp, readFile, realpath, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { applyEdit, type Mutant } from "./mutant.ts";

/** The project's root. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));
/** What a simulation is made of. */
const PARTS = ["src", "sim", "adapters", "mod.ts", "package.json", "deno.json"];

/**
 * Makes the copy. @throws Error where an edit doesn't fit the present source; then there is none
 */
export async function mutantCopy({ name, edits }: Mutant): Promise<string> {
  const edited = new Map<string, string>();
  for (const edit of edits) {
    const source = edited.get(edit.file) ?? await readFile(join(ROOT, edit.file), "utf8");
    edited.set(edit.file, applyEdit(source, edit));
  }
  const folder = await realpath(await mkdtemp(join(tmpdir(), `atlas-mutant-${name}-`)));
  for (const part of PARTS) await cp(join(ROOT, part), join(folder, part), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"), "dir");
  for (const [file, source] of edited) await writeFile(join(folder, file), source);
  return folder;
}
