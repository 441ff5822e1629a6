/**
 * Faults of requests to an HTTP Redis and of its answers. Takes a seed and shares, or a list of
 * faults to apply in order; gives the fault of each request. With one seed the n-th request always
 * gets the same fault.
 */

/**
 * - `reset`: the connection is cut before anything is done;
 * - `lost`: all is done, then the connection is cut;
 * - `refused`: HTTP 500 with JSON, nothing is done;
 * - `failed`: all is done, then HTTP 502 with a page of HTML;
 * - `truncated`: all is done, and the body ends in its middle;
 * - `broken`: all is done, and the connection is cut within the body;
 * - `twice`: all is done twice, one right after the other; the second answers;
 * - `late`: all is done and answered, and once more some requests later;
 * - `slow`: the request waits before anything is done;
 * - `hung`: all is done, and the answer waits until the test releases it, or for ever.
 */
export type Fault =
  | "reset"
  | "lost"
  | "refused"
  | "failed"
  | "truncated"
  | "broken"
  | "twice"
  | "late"
  | "slow"
  | "hung"
  | HostileAnswer;

/**
 * Hostile answers of an endpoint; nothing is done before.
 *
 * - `bomb`: 4 GiB of JSON white space, in 4 MB of gzip, though the request did not accept gzip;
 * - `flood`: JSON white space without end, as fast as the client reads it;
 * - `drip`: a byte of it now and then, without end;
 * - `moved`: a redirect (HTTP 307) to `TestUpstashOptions.elsewhere`;
 * - `found`: the same redirect with HTTP 302;
 * - `page`: HTTP 200 with HTML that never ends;
 * - `events`: HTTP 200 with server-sent events, a line of which never ends;
 * - `longError`: HTTP 400 with JSON that never ends;
 * - `shape`, `nulls`, `scalar`: JSON that is no answer to a pipeline.
 */
export type HostileAnswer =
  | "bomb"
  | "flood"
  | "drip"
  | "moved"
  | "found"
  | "page"
  | "events"
  | "longError"
  | "shape"
  | "nulls"
  | "scalar";

export const HOSTILE_ANSWERS: readonly HostileAnswer[] = [
  "bomb",
  "flood",
  "drip",
  "moved",
  "found",
  "page",
  "events",
  "longError",
  "shape",
  "nulls",
  "scalar",
];

export function isHostile(fault: Fault): fault is HostileAnswer {
  return (HOSTILE_ANSWERS as readonly Fault[]).includes(fault);
}

/** Decides about one request; null: nothing goes wrong. */
export type Faults = () => Fault | null;

export const FAULTS: readonly Fault[] = [
  "reset",
  "lost",
  "refused",
  "failed",
  "truncated",
  "broken",
  "twice",
  "late",
  "slow",
  "hung",
];

/** Each of `faults` once, in order, then none. */
export function inOrder(...faults: readonly (Fault | null)[]): Faults {
  const left = [...faults];
  return () => left.shift() ?? null;
}

/** Any of `kinds` for a share of requests, drawn from `seed`. */
export function atRandom(seed: number, share: number, kinds: readonly Fault[] = FAULTS): Faults {
  const next = randomOf(seed);
  return () => next() < share ? kinds[Math.floor(next() * kinds.length)] as Fault : null;
}

/** Numbers in [0, 1) from a seed: mulberry32, by Tommy Ettinger (public domain). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
