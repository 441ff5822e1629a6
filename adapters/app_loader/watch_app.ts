/**
 * Watches an app's files and updates its modules while the node runs.
 *
 * Takes a node, the path of its app's file, and the app as it is now. Checks the files every 250
 * ms; once they have changed and are stable, imports the app again. A changed module is updated:
 * running calls finish on the old code. A new module is published, a removed one is closed.
 * Resources keep the code that the node started with. If the app doesn't load, one error is logged,
 * and everything stays as it was.
 */
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import type { App } from "../../src/api/app.ts";
import type { Module } from "../../src/api/module.ts";
import type { Listener } from "../../src/api/modules.ts";
import type { AtlasNode, NodeEvent } from "../../src/api/node.ts";
import { messageOf } from "../../src/errors.ts";
import { MAX_TIMEOUT_MS } from "../../src/limits.ts";
import { type AppFiles, changedFiles, filesBehind, readAppFiles, stampOf } from "./app_files.ts";
import { type FreshApp, type FreshImport, freshImport } from "./fresh_import.ts";
import { appOf, firstOf } from "./load_app.ts";

/** How often files are checked, and how long they must be unchanged before they are read, in ms. */
const POLL_MS = 250;

/** Deno writes errors for terminals. */
// deno-lint-ignore no-control-regex
const COLOURS = /\u001b\[[\d;]*m/g;

export interface WatchOptions {
  readonly node: Pick<AtlasNode, "publish" | "listeners" | "state">;
  /** The app that the node runs. */
  readonly app: App;
  /** Path of the app's file. */
  readonly file: string;
  /** Gets an event for each reload. MUST NOT throw. */
  readonly onEvent: (event: NodeEvent) => void;
}

export interface AppWatch {
  stop(): void;
}

/** @throws AtlasError `bad_request` if this runtime can't import a module again. */
export function watchApp(options: WatchOptions): AppWatch {
  return new Watch({ ...options, file: realpathSync(options.file) });
}

/** A module as it is offered now. */
interface Offer {
  readonly listener: Listener;
  readonly module: Module;
}

class Watch implements AppWatch {
  readonly #options: WatchOptions;
  readonly #import: FreshImport;
  readonly #offers = new Map<string, Offer>();
  /** Closed modules whose calls still run. */
  readonly #closing = new Map<string, Promise<void>>();
  /** The files as they were when the app was last loaded. */
  #files: AppFiles;
  #paths: readonly string[];
  #stamp: string | null = null;
  #isChanging = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#import = freshImport(options.file);
    const listeners = options.node.listeners();
    for (const [name, module] of Object.entries(options.app.modules ?? {})) {
      const listener = listeners.find((it) => it.name === name);
      if (module.capacity !== null && listener) this.#offers.set(name, { listener, module });
    }
    this.#files = readAppFiles(options.file);
    this.#paths = [...this.#files.keys()];
    this.#log("info", "watching the app", { file: options.file, files: this.#paths.length });
    void this.#poll();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #poll(): Promise<void> {
    const stamp = await stampOf(this.#paths);
    const { state } = this.#options.node;
    if (this.#isStopped || state === "draining" || state === "closed") return;
    // Also done the first time, because a file may have been edited since the files were read.
    const isNew = stamp !== this.#stamp;
    this.#stamp = stamp;
    if (isNew) this.#isChanging = true;
    else if (this.#isChanging) {
      this.#isChanging = false;
      await this.#reload();
    }
    if (!this.#isStopped) this.#timer = setTimeout(() => void this.#poll(), POLL_MS);
  }

  async #reload(): Promise<void> {
    const { file } = this.#options;
    try {
      const files = readAppFiles(file);
      const changed = changedFiles(this.#files, files);
      this.#paths = [...files.keys()];
      if (changed.size === 0) return;
      const version = await this.#import([...this.#files.keys(), ...this.#paths]);
      const app = appOf(version.app["default"]);
      if (this.#isStopped) return;
      this.#files = files;
      await this.#apply(app, version, changed);
    } catch (thrown) {
      const error = firstOf(thrown);
      this.#log("warning", "the app was not reloaded, its former code stays in use", {
        file,
        error: messageOf(error).replace(COLOURS, "").replace(/\s+/g, " ").trim(),
        at: placeOf(error, dirname(file)),
      });
    }
  }

  /** Updates the offered modules to the app's. */
  async #apply(app: App, version: FreshApp, changed: ReadonlySet<string>): Promise<void> {
    const done: Record<"updated" | "published" | "closed", string[]> = {
      updated: [],
      published: [],
      closed: [],
    };
    const offered = Object.entries(app.modules ?? {}).filter(([, it]) => it.capacity !== null);
    for (const [name, { listener }] of this.#offers) {
      if (offered.some(([other]) => other === name)) continue;
      this.#offers.delete(name);
      this.#close(name, listener);
      done.closed.push(name);
    }
    for (const [name, module] of offered) {
      const former = this.#offers.get(name);
      const behind = await this.#filesOf(module, version);
      const isNew = module.hash !== former?.module.hash ||
        module.capacity !== former.module.capacity;
      if (former && !isNew && ![...behind].some((path) => changed.has(path))) continue;
      await this.#offer(name, module, former);
      done[former ? "updated" : "published"].push(name);
    }
    this.#log("info", "the app was reloaded", {
      updated: done.updated.join(","),
      published: done.published.join(","),
      closed: done.closed.join(","),
      resources: "keep the code that the node started with",
    });
  }

  /** Offers a module; one with another capacity is closed first, then published again. */
  async #offer(name: string, module: Module, former: Offer | undefined): Promise<void> {
    if (former && former.module.capacity === module.capacity) {
      // The module was imported again, so its code is new even if only its imports changed.
      former.listener.update(module);
      this.#offers.set(name, { listener: former.listener, module });
      return;
    }
    if (former) this.#close(name, former.listener);
    this.#offers.delete(name);
    await this.#closing.get(name);
    this.#offers.set(name, { listener: this.#options.node.publish(module, { name }), module });
  }

  /** Closes a listener; running calls may take as long as any call. */
  #close(name: string, listener: Listener): void {
    const closing = listener.close({ drainMs: MAX_TIMEOUT_MS }).finally(() => {
      if (this.#closing.get(name) === closing) this.#closing.delete(name);
    });
    this.#closing.set(name, closing);
  }

  /**
   * The files that a module is made of: the one that exports it, and what that imports. If no file
   * exports it, all files of the app.
   */
  async #filesOf(module: Module, version: FreshApp): Promise<Set<string>> {
    let found = filesBehind(this.#files, this.#options.file);
    for (const path of this.#paths) {
      const exported = Object.values(await version.exportsOf(path) ?? {});
      const behind = exported.includes(module) ? filesBehind(this.#files, path) : found;
      if (behind.size < found.size) found = behind;
    }
    return found;
  }

  #log(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
    this.#options.onEvent({ level, event, fields });
  }
}

/** The first location in the app that an error names, such as `lib/deep.ts:3`; empty: none. */
function placeOf(error: unknown, folder: string): string {
  // Bun's syntax errors have it in separate fields.
  const { stack = "", position } = error as {
    stack?: string;
    position?: { file?: string; line?: number } | null;
  };
  const text = position?.file ? `${position.file}:${position.line ?? 1}` : stack;
  // Runtimes name files by path or by URL, in which a space is `%20`.
  const url = `${pathToFileURL(folder).href}/`;
  const [start] = [url, `${folder}/`].map((head) => ({ head, at: text.indexOf(head) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at);
  if (!start) return "";
  const rest = text.slice(start.at + start.head.length);
  const [, path, line = ""] = /^([^\n:?]+)(?:\?[^\s:]*)?(:\d+)?/.exec(rest) ?? [];
  if (path === undefined) return "";
  return (start.head === url ? decoded(path) : path) + line;
}

/** The decoded path of a URL; unchanged if it isn't encoded. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
