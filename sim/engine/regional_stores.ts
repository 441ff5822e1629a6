/**
 * The regions of a simulated world: a store in each, and long distances between machines of
 * different regions.
 *
 * Gives each process the regional store of its region. A key's first home region is drawn from its
 * name, so that keys lie in all regions.
 */
import { type Entry, entryOf, type Pointer } from "../../adapters/store/regional/entries.ts";
import { regionalStore, spreadOver } from "../../adapters/store/regional/store.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Store } from "../../src/ports/store.ts";
import type { SimProcess } from "./process.ts";
import { atHome } from "./regional_observer.ts";
import { SimStore, STORE_HOST } from "./store.ts";
import type { StoreState } from "../../adapters/store/store_state.ts";
import type { RegionsShape } from "../plan/plan.ts";

/** Parts of the world that the regions use. */
type Parts = Pick<SimStore, "scheduler" | "trace" | "paths" | "random" | "shape" | "observer">;

/** The network address of a region's store. */
export function storeHost(region: string): string {
  return `${STORE_HOST}-${region}`;
}

/** The additional delay of a packet between two regions, beyond the link conditions, ms. */
export function distanceMs({ names, nearMs, farMs }: RegionsShape, a: string, b: string): number {
  if (a === b) return 0;
  return Math.max(names.indexOf(a), names.indexOf(b)) > 1 ? farMs : nearMs;
}

export class SimRegions {
  readonly names: readonly string[];
  readonly #stores: ReadonlyMap<string, SimStore>;
  /** Forwarding addresses that stores have lost, by region and key. */
  readonly #forgotten = new Map<string, Entry>();

  constructor({ names }: RegionsShape, parts: Parts) {
    this.names = names;
    const observerOf = atHome(parts.observer);
    this.#stores = new Map(
      names.map((region) => {
        const observer = observerOf((key) => this.#homeOf(key).region === region);
        return [region, new SimStore({ ...parts, observer, host: storeHost(region) })];
      }),
    );
  }

  /** A region's store, by its number. */
  store(index: number): SimStore {
    return this.#stores.get(this.name(index)) as SimStore;
  }

  name(index: number): string {
    return this.names[index % this.names.length] as string;
  }

  /**
   * A process's store: one handle on each region's store, joined from the view of the process's
   * region.
   */
  open(self: string, process: SimProcess, clock: Clock): Promise<Store> {
    const stores: Record<string, Store> = {};
    for (const [region, store] of this.#stores) stores[region] = store.open(process, clock);
    const homes = { default: this.name(0), rule: spreadOver(this.names) };
    return regionalStore({ self, stores, homes, now: () => clock.now() });
  }

  /**
   * Replaces a region's store by a copy of itself that lacks the forwarding addresses of keys that
   * are elsewhere.
   */
  forget(index: number, keys: readonly string[]): void {
    const region = this.name(index);
    const gone = keys.filter((key) => {
      const entry = entryOf(this.#stateIn(region).lookup(key));
      const { region: home } = this.#homeOf(key);
      if (entry.kind !== "departed" || home === region) return false;
      if (entryOf(this.#stateIn(home).lookup(key)).kind !== "owner") return false;
      this.#forgotten.set(`${region} ${key}`, entry);
      return true;
    });
    this.store(index).lose(gone);
  }

  /** Ends every fault of the regions' stores. */
  clear(): void {
    for (const store of this.#stores.values()) store.clear();
  }

  /**
   * The store that has a key's state now, by the ground truth: its latest forwarding address points
   * there.
   */
  stateOf(key: string): StoreState {
    const { region, pointer } = this.#homeOf(key);
    const state = this.#stateIn(region);
    const isHere = !pointer || entryOf(state.lookup(key)).kind === "owner" ||
      hasArrived(state, key, pointer.at);
    return isHere ? state : this.#stateIn(pointer.from);
  }

  /** The region to which a key's latest address points. */
  #homeOf(key: string): { region: string; pointer: Pointer | null } {
    const [type = "", id = ""] = key.split("/");
    let region = spreadOver(this.names)(type, id);
    let pointer: Pointer | null = null;
    for (;;) {
      const entry = this.#entry(region, key);
      if (entry.kind !== "departed" || entry.pointer.at <= (pointer?.at ?? 0)) {
        return { region, pointer };
      }
      ({ pointer, pointer: { to: region } } = entry);
    }
  }

  /** A region's entry for a key, including a forwarding address that was lost. */
  #entry(region: string, key: string): Entry {
    const entry = entryOf(this.#stateIn(region).lookup(key));
    const forgotten = this.#forgotten.get(`${region} ${key}`);
    return entry.kind === "nobody" && forgotten ? forgotten : entry;
  }

  #stateIn(region: string): StoreState {
    return (this.#stores.get(region) as SimStore).state;
  }
}

function hasArrived(state: StoreState, key: string, at: number): boolean {
  const [mark] = state.read(key, ["~home"]);
  const { at: of = 0, phase = "" } = JSON.parse(mark ?? "{}");
  return of >= at && phase === "done";
}
