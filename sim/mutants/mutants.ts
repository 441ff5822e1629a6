/** All mutants. A simulator that misses one of them can't be trusted. */
import { FAILOVER_MUTANTS, LOSS_MUTANTS } from "./failover_mutants.ts";
import { LEASE_MUTANTS } from "./lease_mutants.ts";
import { MARKET_MUTANTS } from "./market_mutants.ts";
import { MASTERS_MUTANTS } from "./masters_mutants.ts";
import type { Mutant } from "./mutant.ts";
import { NODE_MUTANTS } from "./node_mutants.ts";
import { OFFLINE_MUTANTS } from "./offline_mutants.ts";
import { REGIONAL_MUTANTS } from "./regional_mutants.ts";
import { STORE_MUTANTS } from "./store_mutants.ts";

export const MUTANTS: readonly Mutant[] = [
  ...LEASE_MUTANTS,
  ...STORE_MUTANTS,
  ...NODE_MUTANTS,
  ...MARKET_MUTANTS,
  ...FAILOVER_MUTANTS,
  ...LOSS_MUTANTS,
  ...REGIONAL_MUTANTS,
  ...MASTERS_MUTANTS,
  ...OFFLINE_MUTANTS,
];

/** The mutant of this name. @throws Error if there is none */
export function mutantOf(name: string): Mutant {
  const mutant = MUTANTS.find((it) => it.name === name);
  if (mutant) return mutant;
  const names = MUTANTS.map((it) => it.name).join(", ");
  throw new Error(`no mutant is called ${JSON.stringify(name)}; there are: ${names}`);
}
