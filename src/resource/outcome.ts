/** What a method answered or threw, in the form in which its caller gets it. */
import {
  AtlasError,
  type ErrorCode,
  isAtlasError,
  messageOf,
  stackOf,
  toAtlasError,
} from "../errors.ts";
import type { Call } from "../model/call.ts";
import type { Stage } from "./stage.ts";

/** The result in its travelling form; a result that has none is the user's error. */
export function encodeResult(call: Call, result: unknown): unknown {
  try {
    return call.encode(result);
  } catch (error) {
    const why = isAtlasError(error) ? error.message : messageOf(error);
    throw new AtlasError("app", `${call.method}: ${why}`, { maybeExecuted: true });
  }
}

/**
 * What failed a call whose method had begun, as its caller gets it: the code stays, but
 * it must not look as if nothing had been done. Its own writes are dropped; what it
 * asked of others is not.
 */
export function executed(error: unknown): AtlasError {
  const { code, retryable } = toAtlasError(error);
  return new AtlasError(code, messageOf(error), { retryable, maybeExecuted: true, cause: error });
}

/** What went wrong with a call, as its caller gets it; what the user's code threw is told. */
export function failureOf(
  host: Pick<Stage<unknown>, "tell">,
  { key, method, started, trace }: Call,
  error: unknown,
  isAtUser: boolean,
): AtlasError {
  if (isAtUser && !isAtlasError(error)) {
    const stack = stackOf(error);
    host.tell("error", "method threw", { key, method, stack, traceparent: trace });
  }
  return started ? executed(error) : toAtlasError(error);
}

/** The running turn, for logs: its method is null in hooks. */
export function about(
  key: string,
  call: Call | null,
): { key: string; method: string | null; traceparent: string | null } {
  return { key, method: call?.method ?? null, traceparent: call?.trace ?? null };
}

/** Says that a hook threw, with the stack of what it threw. */
export function tellHook(
  host: Pick<Stage<unknown>, "tell">,
  key: string,
  hook: string,
  error: unknown,
): void {
  host.tell("error", `${hook} failed`, { key, method: hook, stack: stackOf(error) });
}

/** Fails the calls of a turn that is over before its end. */
export function interrupt(calls: readonly Call[], code: ErrorCode, why: string): void {
  for (const call of calls) {
    // One that has not begun (its turn noticed the lapse) may safely go elsewhere.
    const error = new AtlasError(code, why, { maybeExecuted: call.started });
    call.fail(error);
    call.interrupt(error);
  }
}

/** The error of a call that came back to `key`, busy with the turn that `links` ends with. */
export function reentered(key: string, links: readonly string[]): AtlasError {
  const keys = links.map((link) => link.slice(0, link.indexOf(" ")));
  const message = `${key} is busy with the call that led here: ${keys.join(" → ")}`;
  return new AtlasError("reentrant_call", message);
}
