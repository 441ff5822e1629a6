/**
 * The client sockets of one resource at a node: what their sessions share, and how its owner is
 * called for them.
 *
 * Source: `docs/design.md`, Client sockets.
 */
import type { CallOptions, CallResult } from "../api/calls.ts";
import type { SocketStats } from "../api/sockets.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_METHOD } from "../limits.ts";
import { checkMs, shown } from "../model/options.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Router } from "../routing/router.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import type { CallAnswer, CallFrame, ClientSession, SessionHost } from "./client_session.ts";
import { Subscription, type SubscriptionParts } from "./subscription.ts";

/** A resource. */
export type Target = { readonly type: string; readonly key: string };

/** What all resources share. */
export interface ResourceSessionsParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
  readonly random: Random;
  /** The node's current life. */
  readonly life: () => NodeLife;
  /** For calls of this node itself. */
  readonly router: Pick<Router, "call">;
  /** For calls of clients: refuses internal methods. */
  readonly callForClient: Router["call"];
  readonly stats: SocketStats;
  /** The socket of a session is closed. */
  readonly closed: (session: ClientSession) => void;
  /** A session has ended. */
  readonly ended: (session: ClientSession, sessions: ResourceSessions) => void;
  /** The last session has ended. */
  readonly empty: (sessions: ResourceSessions) => void;
}

export class ResourceSessions implements SessionHost, SubscriptionParts {
  readonly target: Target;
  readonly subscription: Subscription;
  readonly #parts: ResourceSessionsParts;

  constructor(parts: ResourceSessionsParts, target: Target) {
    this.#parts = parts;
    this.target = target;
    this.subscription = new Subscription(this);
  }

  get clock(): Clock {
    return this.#parts.clock;
  }
  get random(): Random {
    return this.#parts.random;
  }
  get deadlines(): TimerWheel {
    return this.#parts.deadlines;
  }
  get stats(): SocketStats {
    return this.#parts.stats;
  }

  now(): number {
    return this.#parts.clock.now();
  }

  incarnation(): string {
    return this.#parts.life().incarnation;
  }

  ask(method: string, args: readonly unknown[], options: CallOptions): Promise<CallResult> {
    return this.#parts.router.call(this.target, method, args, options, null);
  }

  async call(
    { callerRegion }: ClientSession,
    { method, args, timeoutMs, idempotencyKey }: CallFrame,
    waitedMs: number,
    signal: AbortSignal,
  ): Promise<CallAnswer> {
    const options = {
      signal,
      timeoutMs: leftOf(timeoutMs, waitedMs, this.target.key, method),
      ...idempotencyKey !== undefined && { idempotencyKey },
      ...callerRegion !== undefined && { callerRegion },
    };
    return await this.#parts.callForClient(this.target, method, args, options, null);
  }

  deliverMessages(
    session: ClientSession,
    messages: readonly unknown[],
    from: number,
  ): Promise<number> {
    return this.subscription.deliverMessages(session, messages, from);
  }

  closed(session: ClientSession): void {
    this.#parts.closed(session);
  }

  ended(session: ClientSession): void {
    this.#parts.ended(session, this);
  }

  empty(): void {
    this.#parts.empty(this);
  }
}

/**
 * The remaining time of a call, in ms. @throws AtlasError `bad_request`; `timeout` if no time is
 * left
 */
function leftOf(
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
  waitedMs: number,
  key: string,
  method: string,
): number {
  const leftMs = checkMs("timeoutMs", timeoutMs) - waitedMs;
  if (leftMs > 0) return Math.max(1, leftMs);
  throw new AtlasError(
    "timeout",
    `${key} ${shown(method, MAX_METHOD)}: the deadline passed before it could be sent to the owner`,
  );
}
