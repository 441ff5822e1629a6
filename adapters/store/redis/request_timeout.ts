/**
 * A timeout in two halves: a process that was suspended can still read a reply that arrived
 * meanwhile.
 */

/** Runs `late` after `ms`, unless the returned function is called before. */
export function requestTimeout(ms: number, late: () => void): () => void {
  let timer = setTimeout(() => {
    timer = setTimeout(late, ms / 2);
  }, ms / 2);
  return () => clearTimeout(timer);
}

/** `promise`, or a rejection after `ms`. */
export function withTimeout<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`no answer within ${Math.round(ms)} ms`));
    promise.then(resolve, reject).finally(requestTimeout(ms, late));
  });
}
