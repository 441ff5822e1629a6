/**
 * The types of a plan with several masters: how many there are, and the replication lag. Plain
 * data.
 */
export interface MastersShape {
  readonly count: number;
  /** How long a write takes to the other masters, ms. */
  readonly lagMs: number;
  /** What the nodes believe it takes at most, ms. */
  readonly boundMs: number;
  /** How often an owner looks whether a greater claim came, ms. */
  readonly recheckMs: number;
  /** Whether copying keeps within the bound: there must never be two owners then. */
  readonly isBounded: boolean;
}

/** The plainest of all. */
export const PLAIN_MASTERS: MastersShape = {
  count: 2,
  lagMs: 1,
  boundMs: 10,
  recheckMs: 500,
  isBounded: true,
};
