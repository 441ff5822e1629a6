/**
 * Which files import which: what an entry brings with it, circles between folders, and small files
 * that only one other file of their folder uses.
 *
 * Takes all source files; gives what is wrong, in sentences that say what to do instead.
 */
import { codeOf } from "./code.ts";
import { importsOf, resolve, type SourceFile } from "./rules.ts";

export interface Import {
  /** The importing file. */
  readonly from: string;
  /** The imported file, from the root, or the package. */
  readonly to: string;
}

/** The folder of a file; empty for one at the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** Every import of a file by another, types included. */
export function importsBetween(files: readonly SourceFile[]): Import[] {
  return files.flatMap((file) =>
    importsOf(file).filter((to) => to.startsWith(".")).map((to) => ({
      from: file.path,
      to: resolve(file.path, to),
    }))
  );
}

/** All files and packages that an entry brings with it, types included. */
export function reachOf(
  entry: string,
  files: readonly SourceFile[],
): { files: Set<string>; packages: string[] } {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const seen = new Set<string>();
  const packages = new Set<string>();
  const walk = (path: string) => {
    const file = byPath.get(path);
    if (!file || seen.has(path)) return;
    seen.add(path);
    for (const to of importsOf(file)) {
      if (to.startsWith(".")) walk(resolve(path, to));
      else packages.add(to);
    }
  };
  walk(entry);
  return { files: seen, packages: [...packages].sort() };
}

/**
 * The circles between folders: for each, the folders in order, and the import of a file that closes
 * it, which is the one to cut.
 */
export function circlesOf(files: readonly SourceFile[]): string[] {
  const out = new Map<string, Map<string, Import[]>>();
  for (const it of importsBetween(files)) {
    const [from, to] = [folderOf(it.from), folderOf(it.to)];
    if (from === to) continue;
    const targets = out.get(from) ?? new Map<string, Import[]>();
    targets.set(to, [...targets.get(to) ?? [], it]);
    out.set(from, targets);
  }
  const troubles: string[] = [];
  const done = new Set<string>();
  const walk = (folder: string, way: string[]): void => {
    for (const [to, imports] of out.get(folder) ?? []) {
      const start = way.indexOf(to);
      if (start >= 0) {
        const circle = [...way.slice(start), to].join(" → ");
        const [first] = imports as [Import];
        const more = imports.length > 1 ? ` (and ${imports.length - 1} more)` : "";
        troubles.push(`${circle}: ${first.from} imports ${first.to}${more}, which closes a circle`);
      } else if (!done.has(to)) walk(to, [...way, to]);
    }
    done.add(folder);
  };
  for (const folder of [...out.keys()].sort()) if (!done.has(folder)) walk(folder, [folder]);
  return troubles;
}

/** What a browser doesn't have. */
const NOT_IN_BROWSERS =
  /(?<![.\w$])(?:(Bun|Deno|process)\s*\.|(Buffer|__dirname|setImmediate)\b|(require)\s*\()/g;

/** What keeps an entry from running in a browser: modules, packages and globals that it lacks. */
export function browserTroubles(
  entry: string,
  files: readonly SourceFile[],
  allowed: readonly string[],
): string[] {
  const reach = reachOf(entry, files);
  const packages = reach.packages
    .filter((name) => !allowed.includes(name))
    .map((name) => `${entry} reaches the module ${name}, which is not on the list for browsers`);
  const globals = files.filter(({ path }) => reach.files.has(path)).flatMap(({ path, source }) =>
    Array.from(
      codeOf(source).matchAll(NOT_IN_BROWSERS),
      ([, object, name, call]) =>
        `${path} uses ${object ?? name ?? call}, and ${entry} reaches it: browsers have none`,
    )
  );
  return [...packages, ...globals];
}

/** A file under this many lines earns its place by its purpose. */
const SMALL_LINES = 60;

/** Small files that only one file uses, which is in the same folder. */
export function satellitesOf(
  files: readonly SourceFile[],
  kept: Readonly<Record<string, string>>,
): string[] {
  const users = new Map<string, Set<string>>();
  for (const { from, to } of importsBetween(files)) {
    users.set(to, (users.get(to) ?? new Set()).add(from));
  }
  return files.flatMap(({ path, source }) => {
    const lines = source.trimEnd().split("\n").length;
    const [user, ...others] = users.get(path) ?? [];
    if (lines >= SMALL_LINES || user === undefined || others.length > 0 || path in kept) return [];
    if (folderOf(user) !== folderOf(path)) return [];
    return [
      `${path} has ${lines} lines, and only ${user} uses it: fold it in, or list it with a reason`,
    ];
  });
}
