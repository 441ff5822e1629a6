/**
 * Loads the app that a node runs. Takes a path or file URL; gives the module's default export, if
 * it is an app.
 */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type App, defineApp } from "../../src/api/app.ts";
import { AtlasError, messageOf } from "../../src/errors.ts";

/**
 * The app in the module at `path`: a file URL, or a path from the working directory on.
 * Without one, the example of channels and sessions that comes with the package.
 *
 * @throws AtlasError `bad_request`, naming `ATLAS_APP` and what is wrong.
 */
export async function loadApp(path: string | undefined): Promise<App> {
  const url = appUrl(path);
  const shown = path ?? fileURLToPath(url);
  checkFile("ATLAS_APP", shown, url);
  let app: unknown;
  try {
    ({ default: app } = await import(url.href));
  } catch (cause) {
    throw refused(shown, `it can't be loaded: ${messageOf(firstOf(cause))}`, cause);
  }
  try {
    return appOf(app);
  } catch (cause) {
    throw refused(shown, messageOf(cause), cause);
  }
}

/** The file of the app at `path`, as {@link loadApp} finds it. */
export function appUrl(path: string | undefined): URL {
  return path === undefined ? exampleUrl() : urlOfPath(path);
}

/**
 * The path of the app's file at `path`, which the setting `name` gives. The file must exist.
 *
 * @throws AtlasError `bad_request`, naming that setting.
 */
export function appFile(name: string, path: string | undefined): string {
  const url = appUrl(path);
  checkFile(name, path ?? url.href, url);
  return fileURLToPath(url);
}

/**
 * The first of a file's syntax errors, which Bun collects in one error; any other error unchanged.
 */
export function firstOf(error: unknown): unknown {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : undefined;
  return isObject(first) && "position" in first ? first : error;
}

/**
 * A module's default export, if it is an app.
 *
 * @throws AtlasError `bad_request`, saying what is wrong.
 */
export function appOf(app: unknown): App {
  if (isObject(app) && (isObject(app["resources"]) || isObject(app["modules"]))) {
    return defineApp(app);
  }
  throw new AtlasError("bad_request", "its default export must be what defineApp() returns");
}

/** The URL of the example in this package, as source or as built. */
function exampleUrl(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`../../examples/channels/app.${extension}`, import.meta.url);
}

function urlOfPath(path: string): URL {
  if (path.startsWith("file:") && URL.canParse(path)) return new URL(path);
  return pathToFileURL(resolve(process.cwd(), path));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function checkFile(name: string, shown: string, url: URL): void {
  if (existsSync(url) && statSync(url).isFile()) return;
  const message = `${name} is ${JSON.stringify(shown)}: there is no such file`;
  throw new AtlasError("bad_request", message);
}

function refused(path: string, why: string, cause: unknown): AtlasError {
  const message = `ATLAS_APP is ${JSON.stringify(path)}: ${why}`;
  return new AtlasError("bad_request", message, { cause });
}
