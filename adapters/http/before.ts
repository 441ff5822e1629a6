/** Waiting for work that others wait for, too: each up to its own deadline. Browser-safe. */
import { AtlasError } from "../../src/errors.ts";

/**
 * `work`, or `timeout` at `deadline` (of `performance.now()`), or once `signal` aborts; the work
 * goes on.
 *
 * @param what says what is missing then
 */
export function before<T>(
  deadline: number,
  signal: AbortSignal | undefined,
  work: Promise<T>,
  what: string,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (why: string): void =>
      reject(new AtlasError("timeout", `${what}: ${why}`, { cause: signal?.reason }));
    const onAbort = (): void => giveUp("the caller gave the call up");
    const late = setTimeout(() => giveUp("the deadline passed"), deadline - performance.now());
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    work.then(resolve, reject).finally(() => {
      clearTimeout(late);
      signal?.removeEventListener("abort", onAbort);
    });
  });
}
