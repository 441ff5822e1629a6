/** The meters of a node's market: figures that parts count and nobody decides by. */

export interface Meter {
  /** Credits, counted by sellers. issued = used + revoked + what is outstanding. */
  issued: number;
  used: number;
  revoked: number;
  /** Capacity in buyers' hands now. */
  granted: number;
  /** Requests that run here now. */
  running: number;
  /** Calls made here; those that waited for credit, and for how long together, ms. */
  calls: number;
  waits: number;
  waitedMs: number;
}

export function newMeter(): Meter {
  return {
    issued: 0,
    used: 0,
    revoked: 0,
    granted: 0,
    running: 0,
    calls: 0,
    waits: 0,
    waitedMs: 0,
  };
}
