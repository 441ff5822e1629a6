/**
 * Who watches whom: the list at the post office of people who asked to be told.
 *
 * Takes watches of parts here over parts anywhere, and of other nodes over parts here;
 * gives who is to be told when a part, or a whole node, is gone.
 */
import { type Address, nodeOf } from "./address.ts";

export class Monitors {
  /** Watched part anywhere → parts here. */
  readonly #watchers = new Map<Address, Set<Address>>();
  /** Part here → parts anywhere that it watches. */
  readonly #targets = new Map<Address, Set<Address>>();
  /** Other node → its parts that are watched. */
  readonly #byNode = new Map<string, Set<Address>>();
  /** Part here → other nodes that watch it; and back. */
  readonly #foreign = new Map<string, Set<string>>();
  readonly #watchedBy = new Map<string, Set<string>>();

  /** Adds a watch; answers whether it is the first over its target. */
  add(watcher: Address, target: Address): boolean {
    const isFirst = !this.#watchers.has(target);
    put(this.#watchers, target, watcher);
    put(this.#targets, watcher, target);
    const node = nodeOf(target);
    if (node !== "") put(this.#byNode, node, target);
    return isFirst;
  }

  /** Takes a watch back; answers whether it was the last over its target. */
  remove(watcher: Address, target: Address): boolean {
    take(this.#targets, watcher, target);
    if (!take(this.#watchers, target, watcher)) return false;
    if (this.#watchers.has(target)) return false;
    take(this.#byNode, nodeOf(target), target);
    return true;
  }

  /** All who watch `target`, once. */
  take(target: Address): Address[] {
    const watchers = [...this.#watchers.get(target) ?? []];
    for (const watcher of watchers) this.remove(watcher, target);
    return watchers;
  }

  /** A part here is gone: forgets its watches; answers the targets that nobody watches now. */
  leave(watcher: Address): Address[] {
    return [...this.#targets.get(watcher) ?? []].filter((target) => this.remove(watcher, target));
  }

  /** Watched parts of another node. */
  targetsOn(node: string): Address[] {
    return [...this.#byNode.get(node) ?? []];
  }

  addForeign(node: string, part: string): void {
    put(this.#foreign, part, node);
    put(this.#watchedBy, node, part);
  }

  removeForeign(node: string, part: string): void {
    take(this.#foreign, part, node);
    take(this.#watchedBy, node, part);
  }

  /** The nodes that watch a part here, once. */
  takeForeign(part: string): string[] {
    const nodes = [...this.#foreign.get(part) ?? []];
    for (const node of nodes) this.removeForeign(node, part);
    return nodes;
  }

  /** The parts here that a node watches. */
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
