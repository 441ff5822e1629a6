/**
 * The module `calc`: computes digits of π. A node offers a capacity of two calls at a time.
 *
 * Takes a number of digits and returns π. Computes in short slices of work, so that the event loop
 * of the node is not blocked.
 */
import { AtlasError, defineModule, type FunctionContext, type Module } from "../../mod.ts";

/** The most digits of one call. More would take minutes. */
const MAX_DIGITS = 20_000;
/** The longest time that a slice of work may block the event loop, in ms. */
const SLICE_MS = 5;
/** Digits computed beyond the requested ones, since every step rounds down. */
const GUARD_DIGITS = 10;

/**
 * π with `digits` digits after the decimal point, not rounded. `pi(5)` is `3.14159`.
 *
 * Uses Machin's formula of 1706 with integers: π = 16 arctan(1/5) − 4 arctan(1/239).
 *
 * @param digits an integer from 0 to 20,000.
 * @throws AtlasError `bad_request` if `digits` is anything else.
 */
async function pi(this: FunctionContext, digits: number): Promise<string> {
  if (!Number.isInteger(digits) || digits < 0 || digits > MAX_DIGITS) {
    throw new AtlasError("bad_request", `digits is ${digits}, it must be 0 to ${MAX_DIGITS}`);
  }
  // A short call has only one slice, but many short calls in a row would block the event loop too.
  await yieldToEventLoop();
  const one = 10n ** BigInt(digits + GUARD_DIGITS);
  const fifth = await arctan(5n, one, this.signal);
  const small = await arctan(239n, one, this.signal);
  const text = String((16n * fifth - 4n * small) / 10n ** BigInt(GUARD_DIGITS));
  return digits === 0 ? text : `${text[0]}.${text.slice(1)}`;
}

/** arctan(1/x) in units of 1/`one`: 1/x − 1/3x³ + 1/5x⁵ − … */
async function arctan(x: bigint, one: bigint, signal: AbortSignal): Promise<bigint> {
  const square = x * x;
  let power = one / x;
  let sum = power;
  let sliceEnd = performance.now() + SLICE_MS;
  for (let n = 3n, sign = -1n; power > 0n; n += 2n, sign = -sign) {
    power /= square;
    sum += sign * (power / n);
    if (performance.now() < sliceEnd) continue;
    await yieldToEventLoop();
    // Stop if the caller no longer waits.
    signal.throwIfAborted();
    sliceEnd = performance.now() + SLICE_MS;
  }
  return sum;
}

/** Lets the event loop handle pending I/O. On Deno, `setImmediate` would not do that. */
function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** The module. Each node runs at most two of its calls at a time. */
export const calc: Module<{ pi: typeof pi }> = defineModule({
  version: "1.0.0",
  capacity: 2,
  functions: { pi },
});
