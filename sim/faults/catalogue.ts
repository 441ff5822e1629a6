/** The catalogue of all faults, by name, from which plans are drawn. */
import { FAILOVER_FAULTS } from "./failover_faults.ts";
import type { FaultKind } from "./fault.ts";
import { NETWORK_FAULTS, STORE_AWAY } from "./network_faults.ts";
import { CLOCK_FAULTS, NODE_FAULTS, ROLLING_FAULTS } from "./node_faults.ts";
import { LOSSES, MOVES, REGION_FAULTS } from "./region_faults.ts";
import {
  LOSS_FAULTS,
  MASTERS_FAULTS,
  MASTERS_SPLIT,
  STORE_FAULTS,
  STORE_FULL,
} from "./store_faults.ts";

export const FAULTS: readonly FaultKind[] = [
  ...NODE_FAULTS,
  ...CLOCK_FAULTS,
  ...NETWORK_FAULTS,
  ...STORE_FAULTS,
  ...ROLLING_FAULTS,
];

/** Faults of some worlds only. */
const SPECIAL: readonly FaultKind[] = [
  STORE_FULL,
  ...FAILOVER_FAULTS,
  ...LOSS_FAULTS,
  ...REGION_FAULTS,
  ...MOVES,
  ...LOSSES,
  ...MASTERS_FAULTS,
  MASTERS_SPLIT,
  STORE_AWAY,
];

const byName = new Map([...FAULTS, ...SPECIAL].map((kind) => [kind.name, kind]));

/** The kind of this name. @throws if there is none */
export function faultKind(name: string): FaultKind {
  const kind = byName.get(name);
  if (!kind) throw new Error(`no fault is called ${name}; there are: ${[...byName.keys()]}`);
  return kind;
}
