/**
 * The bounds that a node must keep under hostile input, and the amount of input in a run. Each has
 * its unit. A run that breaks a bound fails.
 */

const MIB = 1_048_576;

/**
 * Resident memory that a node may take beyond what it had before the input, in bytes: 256 MiB of
 * heap, V8's limit (`target.ts`), and 384 MiB outside of the heap: dozens of bodies of 1 MiB at
 * once, each as bytes and text, data that waits on sockets, and garbage.
 */
export const MAX_GROWTH_BYTES: number = 640 * MIB;
/** The same once all connections are closed: its resources, and memory not yet given back. */
export const LEFT_GROWTH_BYTES: number = 448 * MIB;
/** A node that takes this much more memory is killed, to protect the machine. In bytes. */
export const END_GROWTH_BYTES: number = 1_500 * MIB;
/** Descriptors that a node may hold beyond its base and the open connections to it. */
export const SPARE_DESCRIPTORS = 64;
/** Descriptors beyond its base that may be left once all these connections are closed. */
export const LEFT_DESCRIPTORS = 8;
/** How long closing them may take, in ms. */
export const SETTLE_MS = 15_000;
/**
 * How long the answer of `GET /healthz` may take, in ms, without the time in which the node's main
 * thread, or the one that measures, waited for a processor.
 */
export const MAX_DELAY_MS = 1_000;
/** How long a node may take to serve again after its registry's last wrong reply, in ms. */
export const RECOVER_MS = 30_000;
/** How long a node may take to end after SIGTERM, in ms. */
export const STOP_MS = 30_000;

/** Inputs that run at once. */
export const PARALLEL_INPUTS = 16;
/** Connections that one input may open. */
export const MAX_CONNECTIONS = 48;
/** The longest pause of a sender between two inputs, in ms. */
export const REST_MS = 40;
/** How long one input may take, in ms; then its connections are closed. */
export const INPUT_MS = 12_000;
/** How long a slow input may take, in ms: longer than a node waits for a head. */
export const SLOW_INPUT_MS = 75_000;
/** One input in this many is slow, and at most this many are slow at once. */
export const SLOW_ONE_IN = 60;
export const MAX_SLOW = 6;
/** Bytes of a connection's answers that are kept for checks. */
export const MAX_KEPT_BYTES: number = 4 * MIB;
/** How long a write may wait for the node to read, in ms. */
export const WRITE_MS = 3_000;
