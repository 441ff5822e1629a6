/**
 * Finds the files that an app is made of.
 *
 * Takes the path of an app's file; gives it and all that it imports inside its folder, found by
 * reading import statements: nothing is run. Imports by a computed name, through a package or an
 * alias aren't seen; packages and Atlas itself are left out.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The largest number of files of one app that are watched; further imports count as outside the
 * app.
 */
const MAX_FILES = 1_000;

export interface AppFile {
  /** Null: the file doesn't exist yet. */
  readonly text: string | null;
  /** Paths of what it imports inside the app's folder. */
  readonly imports: readonly string[];
}

/** Path → file; the app's own comes first. */
export type AppFiles = ReadonlyMap<string, AppFile>;

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
/** Atlas's own folders and entries: a second copy of these modules would be a second Atlas. */
const OWN_PATHS = /^(?:(?:src|adapters|sim|dist)[/\\]|(?:mod|testing|node|cli)\.[jt]s$)/;
const IMPORTS = /\b(?:from|import)\s*\(?\s*(["'])(\.{1,2}\/[^"'\n]+)\1/g;

/**
 * Whether a file belongs to the app: it is in the app's folder, in no package, and not one of
 * Atlas's own.
 */
export function isOfApp(folder: string, path: string): boolean {
  if (!path.startsWith(folder + sep)) return false;
  if (path.includes(`${sep}node_modules${sep}`)) return false;
  return !(path.startsWith(PACKAGE) && OWN_PATHS.test(relative(PACKAGE, path)));
}

/** The app's file and what it imports, as they are now. */
export function readAppFiles(entry: string): AppFiles {
  const folder = dirname(entry);
  const files = new Map<string, AppFile>();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (files.has(path) || files.size >= MAX_FILES) continue;
    const text = textOf(path);
    const imports = text === null ? [] : importsOf(folder, path, text);
    files.set(path, { text, imports });
    waiting.push(...imports);
  }
  return files;
}

/** `path`, and all that it imports directly or through others. */
export function filesBehind(files: AppFiles, path: string): Set<string> {
  const found = new Set<string>([path]);
  // A set is iterated in insertion order, so files that are added meanwhile are also visited.
  for (const one of found) for (const next of files.get(one)?.imports ?? []) found.add(next);
  return found;
}

/** Files that are in only one of two readings, or not the same in both. */
export function changedFiles(before: AppFiles, after: AppFiles): Set<string> {
  const paths = new Set([...before.keys(), ...after.keys()]);
  return new Set([...paths].filter((path) => before.get(path)?.text !== after.get(path)?.text));
}

/** A text that changes when one of the files is written, replaced, created or deleted. */
export async function stampOf(paths: Iterable<string>): Promise<string> {
  const stamps = Array.from(paths, async (path) => {
    try {
      const { mtimeMs, size, ino } = await stat(path);
      return `${mtimeMs}:${size}:${ino}`;
    } catch {
      return "none";
    }
  });
  return (await Promise.all(stamps)).join(" ");
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function importsOf(folder: string, path: string, text: string): string[] {
  const targets = Array.from(text.matchAll(IMPORTS), ([, , specifier]) => {
    const plain = (specifier as string).replace(/[?#].*$/, "");
    return fileAt(resolve(dirname(path), plain));
  });
  return [...new Set(targets)].filter((target) => isOfApp(folder, target));
}

/** The file that an import resolves to, as runtimes and compilers resolve it. */
function fileAt(path: string): string {
  const guesses = [
    path,
    path.replace(/\.(m?)js(x?)$/, ".$1ts$2"),
    ...[".ts", ".tsx", ".js", ".mjs", ".json"].map((extension) => path + extension),
    join(path, "index.ts"),
    join(path, "index.js"),
  ];
  return guesses.find((guess) => existsSync(guess) && statSync(guess).isFile()) ?? path;
}
