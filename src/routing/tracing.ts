/**
 * Traces calls that carry a `traceparent`: one span for each link that a call went over.
 *
 * Takes the link that such a call is sent over and the outcome. Gives the `traceparent` that is
 * sent with the call, and reports the span. Calls without one are not traced.
 *
 * Source: W3C Trace Context §4.3,
 * https://www.w3.org/TR/trace-context/#mutating-the-traceparent-field.
 */
import { AtlasError } from "../errors.ts";
import { MAX_HOPS } from "../limits.ts";
import type { CallPath } from "../model/call_path.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { LinkSpan, Outgoing } from "./outgoing.ts";

export interface CallTracerParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly onEvent: (event: NodeEvent) => void;
}

export class CallTracer {
  readonly #parts: CallTracerParts;

  constructor(parts: CallTracerParts) {
    this.#parts = parts;
  }

  /** Starts the span of a call that goes over a link; null if it has no `traceparent`. */
  begin(trace: string | null): LinkSpan | null {
    if (trace === null) return null;
    const { clock, random } = this.#parts;
    return { trace: nextSpan(trace, random), since: clock.now() };
  }

  /** Ends a span: the answer has arrived, or the caller no longer waits for it. */
  ended(call: Outgoing, outcome: string): void {
    const hop = call.carrier?.span;
    if (!hop) return;
    const { clock, onEvent } = this.#parts;
    const ms = Math.round((clock.now() - hop.since) * 1_000) / 1_000;
    const fields = { ...about(call), traceparent: hop.trace, parent: call.trace, ms, outcome };
    onEvent({ level: "debug", event: "call passed on", fields });
  }

  /** A call failed and is not sent again. Logged if it is traced, or if this node passed it on. */
  failed(call: Outgoing, { code, message: reason }: AtlasError): void {
    const { via, trace: traceparent } = call;
    if (traceparent === null && via.length === 0) return;
    const event = via.length > 0 ? "passing a call on failed" : "call failed";
    const fields = { ...about(call), code, reason, traceparent };
    this.#parts.onEvent({ level: "warning", event, fields });
  }
}

/** The log fields of a call: its key, method, caller's region and path. */
function about(call: Outgoing): NodeEvent["fields"] {
  const { key, method, via, path, caller: { region: callerRegion } } = call;
  return { key, method, callerRegion, path: [...via, ...path].join(", ") };
}

/**
 * The next `traceparent`, in version 00: the same trace, a new parent (never all zeros), and the
 * one flag of that version, whether it is sampled.
 */
export function nextSpan(traceparent: string, random: Random): string {
  const draw = (): string => Math.floor(random.next() * 2 ** 32).toString(16).padStart(8, "0");
  const span = draw() + draw();
  const parent = /^0+$/.test(span) ? "1".padStart(16, "0") : span;
  const isSampled = Number.parseInt(traceparent.slice(53, 55), 16) % 2 === 1;
  return `00-${traceparent.slice(3, 35)}-${parent}-${isSampled ? "01" : "00"}`;
}

/** The path of a call that goes from the node `self` over a link; null: nothing to report. */
export function outgoingPathOf(
  { via, region }: Outgoing,
  self: string,
  relay: boolean,
  trace: string | null,
): CallPath | null {
  if (via.length > 0 || relay) return { via: [...via, self], region, trace };
  return region === null && trace === null ? null : { via, region, trace };
}

/**
 * The error for a call that came to `self` over `via` and must not be sent on to `next`; null if it
 * may be.
 */
export function pathError(via: readonly string[], self: string, next: string): AtlasError | null {
  if (via.length === 0) return null;
  const path = [...via, self, next];
  if (via.includes(next) || via.includes(self)) {
    return new AtlasError(
      "unavailable",
      `the call goes in a circle: ${
        path.join(" → ")
      }; its resource's home has just changed, or nodes ` +
        "have different rules for it",
    );
  }
  if (via.length < MAX_HOPS) return null;
  return new AtlasError(
    "unavailable",
    `the call may go over ${MAX_HOPS} links at most: ${path.join(" → ")}`,
  );
}
