/**
 * Records which processes monitor which, as in Erlang.
 *
 * Holds the monitors of processes here on processes anywhere, and of other nodes on processes here;
 * gives the processes and nodes to notify when a process or a whole node has ended.
 */
import { type Address, nodeOf } from "./address.ts";

export class Monitors {
  /** Watched process anywhere → processes here that watch it. */
  readonly #watchers = new Map<Address, Set<Address>>();
  /** Process here → processes anywhere that it watches. */
  readonly #targets = new Map<Address, Set<Address>>();
  /** Other node → its watched processes. */
  readonly #byNode = new Map<string, Set<Address>>();
  /** Process here → other nodes that watch it; and the inverse. */
  readonly #foreign = new Map<string, Set<string>>();
  readonly #watchedBy = new Map<string, Set<string>>();

  /** Adds a monitor; returns whether it is the first on its target. */
  add(watcher: Address, target: Address): boolean {
    const isFirst = !this.#watchers.has(target);
    put(this.#watchers, target, watcher);
    put(this.#targets, watcher, target);
    const node = nodeOf(target);
    if (node !== "") put(this.#byNode, node, target);
    return isFirst;
  }

  /** Removes a monitor; returns whether it was the last on its target. */
  remove(watcher: Address, target: Address): boolean {
    take(this.#targets, watcher, target);
    if (!take(this.#watchers, target, watcher)) return false;
    if (this.#watchers.has(target)) return false;
    take(this.#byNode, nodeOf(target), target);
    return true;
  }

  /** Removes and returns all watchers of `target`. */
  take(target: Address): Address[] {
    const watchers = [...this.#watchers.get(target) ?? []];
    for (const watcher of watchers) this.remove(watcher, target);
    return watchers;
  }

  /** Removes all monitors of a process here; returns the targets that no process watches now. */
  removeWatcher(watcher: Address): Address[] {
    return [...this.#targets.get(watcher) ?? []].filter((target) => this.remove(watcher, target));
  }

  /** Watched processes of another node. */
  targetsOn(node: string): Address[] {
    return [...this.#byNode.get(node) ?? []];
  }

  addForeign(node: string, process: string): void {
    put(this.#foreign, process, node);
    put(this.#watchedBy, node, process);
  }

  removeForeign(node: string, process: string): void {
    take(this.#foreign, process, node);
    take(this.#watchedBy, node, process);
  }

  /** Removes and returns the nodes that watch a process here. */
  takeForeign(process: string): string[] {
    const nodes = [...this.#foreign.get(process) ?? []];
    for (const node of nodes) this.removeForeign(node, process);
    return nodes;
  }

  /** The processes here that a node watches. */
  watchedBy(node: string): string[] {
    return [...this.#watchedBy.get(node) ?? []];
  }
}

function put(map: Map<string, Set<string>>, key: string, value: string): void {
  const set = map.get(key);
  if (set) set.add(value);
  else map.set(key, new Set([value]));
}

function take(map: Map<string, Set<string>>, key: string, value: string): boolean {
  const set = map.get(key);
  if (!set?.delete(value)) return false;
  if (set.size === 0) map.delete(key);
  return true;
}
