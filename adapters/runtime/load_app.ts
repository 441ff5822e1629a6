/**
 * Loads the app that a node runs: a projectionist who checks the reel before the show.
 *
 * Takes a path or file URL; gives the module's default export, if it is an app.
 */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type App, resolveTypes } from "../../src/app.ts";
import { AtlasError, messageOf } from "../../src/errors.ts";

/**
 * The app in the module at `path`: a file URL, or a path from the working directory on.
 * Without one, the example of channels and sessions that comes with the package.
 *
 * @throws AtlasError `bad_request`, naming `ATLAS_APP` and what is wrong.
 */
export async function loadApp(path: string | undefined): Promise<App> {
  const url = path === undefined ? exampleUrl() : urlOfPath(path);
  const shown = path ?? fileURLToPath(url);
  if (!existsSync(url) || !statSync(url).isFile()) {
    throw refused(shown, "there is no such file", undefined);
  }
  let app: unknown;
  try {
    ({ default: app } = await import(url.href));
  } catch (cause) {
    throw refused(shown, `it can't be loaded: ${messageOf(cause)}`, cause);
  }
  try {
    resolveTypes(app as App);
  } catch (cause) {
    const why = isObject(app) && isObject(app["resources"])
      ? messageOf(cause)
      : "its default export must be what defineApp() returns";
    throw refused(shown, why, cause);
  }
  return app as App;
}

/** Beside this file's package, as source or as built. */
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

function refused(path: string, why: string, cause: unknown): AtlasError {
  const message = `ATLAS_APP is ${JSON.stringify(path)}: ${why}`;
  return new AtlasError("bad_request", message, { cause });
}
