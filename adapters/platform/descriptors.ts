/**
 * How many client connections a server may hold open without taking the descriptors that the
 * node's own links, store and files need. Linux tells the limit in `/proc/self/limits`.
 */
import { readFileSync } from "node:fs";
import { RESERVED_DESCRIPTORS } from "../../src/limits.ts";

/** Connections for clients, of this process's descriptors; Infinity where none are told. */
export function maxConnections(): number {
  try {
    return connectionsOf(readFileSync("/proc/self/limits", "utf8"));
  } catch {
    return Infinity;
  }
}

/** All but a tenth of the soft limit, `RESERVED_DESCRIPTORS` at least, half of it at most. */
export function connectionsOf(limits: string): number {
  const soft = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  if (!Number.isFinite(soft)) return Infinity;
  const reserved = Math.max(RESERVED_DESCRIPTORS, Math.ceil(soft / 10));
  return soft - Math.min(reserved, Math.ceil(soft / 2));
}
