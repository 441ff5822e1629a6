/**
 * The code of a load balancer's open channels: their versions and exported functions, counted, so
 * that a channel that opens or drains does not make it look at all others.
 */
import { compareVersions } from "../../api/module.ts";
import type { CodeLabel } from "../bus/messages.ts";

/** What can be called: the newest version in use, and the functions of all code in use, sorted. */
export interface InUse {
  readonly version: string;
  readonly exports: readonly string[];
}

/** The channels that export the same functions. */
interface ExportSet {
  readonly names: ReadonlySet<string>;
  channels: number;
}

export class CodesInUse {
  /** By the functions' names. */
  readonly #exports = new Map<string, ExportSet>();
  /** The number of channels of each version. */
  readonly #versions = new Map<string, number>();
  #inUse: InUse | null = null;

  /** Null: no channel is open. The same object as before while nothing has changed. */
  get inUse(): InUse | null {
    return this.#inUse;
  }

  /** Whether all channels export the same functions. */
  get isUniform(): boolean {
    return this.#exports.size <= 1;
  }

  /** Counts a channel with this code; returns the names of its functions. */
  add({ version, exports }: CodeLabel): ReadonlySet<string> {
    const key = exports.join();
    let set = this.#exports.get(key);
    const channels = this.#versions.get(version) ?? 0;
    this.#versions.set(version, channels + 1);
    const isNew = !set || channels === 0;
    if (!set) this.#exports.set(key, set = { names: new Set(exports), channels: 0 });
    set.channels++;
    if (isNew) this.#update();
    return set.names;
  }

  /** Removes a channel that was added with this code. */
  remove({ version, exports }: CodeLabel): void {
    const key = exports.join();
    const set = this.#exports.get(key) as ExportSet;
    const left = (this.#versions.get(version) as number) - 1;
    if (--set.channels === 0) this.#exports.delete(key);
    if (left === 0) this.#versions.delete(version);
    else this.#versions.set(version, left);
    if (set.channels === 0 || left === 0) this.#update();
  }

  #update(): void {
    let newest: string | null = null;
    for (const version of this.#versions.keys()) {
      if (newest === null || compareVersions(version, newest) > 0) newest = version;
    }
    const exports = new Set<string>();
    for (const { names } of this.#exports.values()) for (const name of names) exports.add(name);
    this.#inUse = newest === null ? null : { version: newest, exports: [...exports].sort() };
  }
}
