/**
 * Regional stores for tests. Takes one backend for each region; gives handles for nodes in each,
 * over stores that can be cut off, or made to fail at a chosen step.
 */
import { memoryStore } from "../../adapters/store/memory.ts";
import { regionalStore, type RegionalStoreOptions } from "../../adapters/store/regional/store.ts";
import { AtlasError } from "../../src/errors.ts";
import type { Commit, CommitReply, Store } from "../../src/ports/store.ts";

export const REGIONS = ["us", "eu", "ap"] as const;
export type Region = (typeof REGIONS)[number];

/** Called for each step of a region; throws to make it fail. */
type Guard = (region: string, step: string) => void | Promise<void>;

export class Regions {
  readonly backends: Readonly<Record<string, Store>>;
  /** Regions that are unreachable. */
  readonly away: Set<string> = new Set<string>();
  readonly #handles: Store[] = [];

  constructor(backends?: Readonly<Record<string, Store>>) {
    this.backends = backends ??
      Object.fromEntries(REGIONS.map((region) => [region, memoryStore()]));
  }

  /** A node's handle in a region, which knows no moved keys yet. */
  async handle(
    self: string,
    options: Partial<Pick<RegionalStoreOptions, "homes" | "now" | "onEvent">> & {
      before?: Guard;
      after?: Guard;
    } = {},
  ): Promise<Store> {
    const { homes = { default: "us" }, before, after, ...others } = options;
    const guard: Guard = (region, step) => {
      if (this.away.has(region)) throw lost("the network is gone");
      return before?.(region, step);
    };
    const stores = Object.fromEntries(
      Object.entries(this.backends).map(([region, store]) => [
        region,
        guarded(region, store, guard, after ?? (() => {})),
      ]),
    );
    const handle = await regionalStore({ self, stores, homes, ...others });
    this.#handles.push(handle);
    return handle;
  }

  async close(): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
    await Promise.all(Object.values(this.backends).map((store) => store.close()));
  }
}

/** The error of a request or an answer that the network has lost. */
export function lost(message: string): AtlasError {
  return new AtlasError("unavailable", message);
}

/** A store that calls the guards before and after each step; closing it leaves the store open. */
function guarded(region: string, store: Store, before: Guard, after: Guard): Store {
  return new Proxy(store, {
    get: (it, name) => {
      if (name === "close") return () => Promise.resolve();
      const value = Reflect.get(it, name);
      if (typeof value !== "function" || name === "status") {
        return typeof value === "function" ? value.bind(it) : value;
      }
      return async (...args: unknown[]) => {
        await before(region, String(name));
        const answer = await value.apply(it, args);
        await after(region, String(name));
        return answer;
      };
    },
  });
}

/** Writes fields under an ownership, as its `turn`-th turn. */
export function write(
  store: Store,
  key: string,
  { incarnation, epoch }: Pick<Commit, "incarnation" | "epoch">,
  turn: number,
  fields: Readonly<Record<string, string>>,
): Promise<CommitReply> {
  const puts = Object.entries(fields);
  return store.commit({ key, incarnation, epoch, turn, puts, deletes: [] });
}

/** All fields that the core could have written. */
export async function contents(store: Store, key: string): Promise<Record<string, string>> {
  const all = { start: "", end: "t", limit: 1_000_000, reverse: false };
  return Object.fromEntries(await store.range(key, all));
}
