/**
 * A turn as user code sees it. Code in the turn's async context may use the resource's storage,
 * node and events until the method or hook that began the turn has ended. Afterwards that code
 * belongs to no turn, and must not write into a later one.
 */
import { AtlasError } from "../errors.ts";
import type { Call } from "../model/call.ts";
import type { AsyncContext } from "../ports/async_context.ts";

/**
 * Sockets and timers that users' code opens keep their async context, so an ended turn must not
 * reference anything.
 */
export class Turn {
  /** The activation; null once the turn has ended. */
  at: object | null;
  /** The call; null in hooks. */
  call: Call | null;

  constructor(at: object, call: Call | null) {
    this.at = at;
    this.call = call;
  }

  end(): void {
    this.at = this.call = null;
  }
}

/** The turn of `at` to which the running code belongs; null if it belongs to none. */
export function currentTurn(context: AsyncContext, at: object): Turn | null {
  const turn = context.current();
  return turn instanceof Turn && turn.at === at ? turn : null;
}

/** Runs a method or a hook as `turn`; its result is to be awaited outside of the context. */
export function runTurn<T>(
  context: AsyncContext,
  turn: Turn,
  run: () => T,
): T | Promise<Awaited<T>> {
  return context.run(turn, () => settled(run()));
}

/**
 * Users' thenables are awaited within the turn, because their `then` may start work, as query
 * builders do.
 */
export function settled<T>(result: T): T | Promise<Awaited<T>> {
  if (typeof result !== "object" || result === null || result instanceof Promise) return result;
  return "then" in result ? Promise.resolve(result) : result;
}

/**
 * The turn of `at` to which the running code belongs.
 *
 * @param what the property that it uses, such as `storage`.
 * @throws AtlasError `bad_request` if it belongs to none
 */
export function turnOf(
  context: AsyncContext,
  at: { readonly key: string },
  what: string,
): Turn {
  const turn = currentTurn(context, at);
  if (turn) return turn;
  throw new AtlasError(
    "bad_request",
    `this.${what} of ${at.key} was used by code that runs outside of a turn, or after its turn has ` +
      "ended: await all work that uses it before the method returns",
  );
}
