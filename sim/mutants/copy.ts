/** Copies the project to a temporary folder, applies edits there, and removes it after use. */
import { cp, mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Edit } from "../draw/schedule.ts";

/** The project's root. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));
/** What a simulation needs. */
const SOURCES = ["src", "sim", "adapters", "mod.ts", "package.json", "deno.json"];

/**
 * Runs `work` with the folder of a copy that has these edits.
 *
 * @throws Error where an edit doesn't fit the present source; then no folder is made
 */
export async function withCopy<T>(
  name: string,
  edits: readonly Edit[],
  work: (folder: string) => T | Promise<T>,
): Promise<T> {
  const edited = new Map<string, string>();
  for (const edit of edits) {
    const source = edited.get(edit.file) ?? await readFile(join(ROOT, edit.file), "utf8");
    edited.set(edit.file, applyEdit(source, edit));
  }
  const folder = await realpath(await mkdtemp(join(tmpdir(), `atlas-mutant-${name}-`)));
  try {
    for (const part of SOURCES) await cp(join(ROOT, part), join(folder, part), { recursive: true });
    await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"), "dir");
    for (const [file, source] of edited) await writeFile(join(folder, file), source);
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The source with an edit made. @throws Error where `find` doesn't occur exactly once */
export function applyEdit(source: string, { file, find, replace }: Edit): string {
  const parts = source.split(find);
  if (parts.length === 2) return parts.join(replace);
  const count = parts.length - 1;
  throw new Error(`${file} has this ${count} times, a mutant needs it once: ${find}`);
}
