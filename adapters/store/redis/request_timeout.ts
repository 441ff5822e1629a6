/**
 * How long an answer is waited for: a host who, having dozed off himself, doesn't call his
 * guests late before he has looked at the door once more.
 *
 * It takes a time limit and what to do when it is over. The limit is waited for in two
 * halves: a process that stood still meanwhile still has the second one to read what came.
 */

/** Runs `late` once `ms` have passed, unless what it gives is called before. */
export function patience(ms: number, late: () => void): () => void {
  let timer = setTimeout(() => {
    timer = setTimeout(late, ms / 2);
  }, ms / 2);
  return () => clearTimeout(timer);
}

/** `promise`, given up after `ms`. */
export function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`no answer within ${Math.round(ms)} ms`));
    promise.then(resolve, reject).finally(patience(ms, late));
  });
}
