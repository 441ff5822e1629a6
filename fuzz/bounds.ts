/**
 * The bounds that a node must keep under hostile input, and how much of it a run sends. Each has
 * its unit; a run that breaks a bound fails.
 */

const MIB = 1_048_576;

/**
 * Resident memory that a node may take beyond what it had before the input, in bytes: 256 MiB of
 * heap, which is all that V8 is given (`target.ts`), and 384 MiB outside of it: dozens of bodies of
 * 1 MiB at once, each as bytes and text, what waits on sockets, and what is yet to be collected.
 */
export const MAX_GROWTH_BYTES: number = 640 * MIB;
/** The same, once all connections are closed: what its resources keep, and free memory. */
export const LEFT_GROWTH_BYTES: number = 448 * MIB;
/** A node that has taken so much more is ended: the machine is not to suffer for it. In bytes. */
export const END_GROWTH_BYTES: number = 1_500 * MIB;
/** Descriptors that a node may hold beyond its base and the connections held at it. */
export const SPARE_DESCRIPTORS = 64;
/** Descriptors beyond its base that may be left once all those connections are closed. */
export const LEFT_DESCRIPTORS = 8;
/** How long closing them may take, in ms. */
export const SETTLE_MS = 15_000;
/**
 * How long the answer of `GET /healthz` may take, in ms, without the time in which the machine
 * gave the node's main thread, or the one that measures, no processor.
 */
export const MAX_DELAY_MS = 1_000;
/** How long a node whose registry lied may take to serve again once it tells the truth, in ms. */
export const RECOVER_MS = 30_000;
/** How long a node may take to end after SIGTERM, in ms. */
export const STOP_MS = 30_000;

/** Inputs that are under way at once. */
export const PARALLEL_INPUTS = 16;
/** Connections that one input may open. */
export const MAX_CONNECTIONS = 48;
/** The longest rest of a lane between two inputs, in ms. */
export const REST_MS = 40;
/** How long one input may take, in ms; then its connections are cut. */
export const INPUT_MS = 12_000;
/** How long the few slow ones may take, in ms: longer than a node may wait for a head. */
export const SLOW_INPUT_MS = 75_000;
/** One input in so many is a slow one, at most this many at once. */
export const SLOW_ONE_IN = 60;
export const MAX_SLOW = 6;
/** Bytes of a connection's answers that are kept to be looked at. */
export const MAX_KEPT_BYTES: number = 4 * MIB;
/** How long a write may wait for the node to read, in ms. */
export const WRITE_MS = 3_000;
