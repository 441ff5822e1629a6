/**
 * Imports an app's modules again, past the runtime's module cache.
 *
 * Takes the path of an app's file; gives its module imported again, with every file of its folder
 * that it imports, directly or through others. Files keep their path, so relative imports and files
 * stay valid. Bun drops them from its module cache before it imports them again. Node and Deno
 * can't do that. There a hook adds a query (`?atlas=2`), which makes each file another module; the
 * former versions stay in memory until the process ends.
 */
import * as modules from "node:module";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { AtlasError } from "../../src/errors.ts";
import { isOfApp } from "./app_files.ts";

/** What a file exports. */
export type Namespace = { readonly [name: string]: unknown };

/** An app that was imported again. */
export interface FreshApp {
  readonly app: Namespace;
  /** The exports of one of its files; null if that file wasn't loaded. Runs nothing. */
  exportsOf(path: string): Promise<Namespace | null>;
}

/**
 * Imports the app again each time it is called. Rejects with the error that keeps it from loading.
 *
 * @param files paths of all files that the app is known to be made of
 */
export type FreshImport = (files: Iterable<string>) => Promise<FreshApp>;

interface Resolved {
  readonly url: string;
}
type Resolve = (
  specifier: string,
  context: { readonly parentURL?: string | undefined },
  next: (specifier: string, context: unknown) => Resolved,
) => Resolved;
type RegisterHooks = (hooks: { resolve: Resolve }) => unknown;

/** Files that are imported again; other imports of an app are data or native modules. */
const CODE = /\.(?:[mc]?[jt]s|[jt]sx|json)$/;
const QUERY = /[?&](atlas=\d+)$/;

/** The number of imports of any app in this process; each import has its own number. */
let imports = 0;

/** @throws AtlasError `bad_request` if this runtime can't do it. */
export function freshImport(entry: string): FreshImport {
  return "Bun" in globalThis ? byClearingCache(entry) : byQuery(entry);
}

function byClearingCache(entry: string): FreshImport {
  const folder = dirname(entry);
  const { cache } = modules.createRequire(import.meta.url);
  return async (files) => {
    // Modules that failed to load aren't listed, but are also cached.
    for (const path of [entry, ...files, ...Object.keys(cache)]) {
      if (path === entry || isOfApp(folder, path)) delete cache[path];
    }
    const app = await import(entry) as Namespace;
    return {
      app,
      exportsOf: async (path) => path in cache ? await import(path) as Namespace : null,
    };
  };
}

function byQuery(entry: string): FreshImport {
  const { registerHooks } = modules as { registerHooks?: RegisterHooks };
  if (!registerHooks) {
    throw new AtlasError("bad_request", "reloading needs Node 22.15 or later, Deno or Bun");
  }
  const folder = dirname(entry);
  const loaded = new Set<string>();
  const resolve: Resolve = (specifier, context, next) => {
    const found = next(specifier, context);
    const [, query] = QUERY.exec(context.parentURL ?? "") ?? [];
    if (query === undefined || !found.url.startsWith("file:")) return found;
    const path = fileURLToPath(found.url);
    const isPlain = !found.url.includes("?") && CODE.test(path) && isOfApp(folder, path);
    const url = isPlain ? `${found.url}?${query}` : found.url;
    loaded.add(url);
    return url === found.url ? found : { ...found, url };
  };
  registerHooks({ resolve });
  return async () => {
    loaded.clear();
    const query = `?atlas=${++imports}`;
    const urlOf = (path: string): string => pathToFileURL(path).href + query;
    loaded.add(urlOf(entry));
    return {
      app: await import(urlOf(entry)) as Namespace,
      exportsOf: async (path) =>
        loaded.has(urlOf(path)) ? await import(urlOf(path)) as Namespace : null,
    };
  };
}
