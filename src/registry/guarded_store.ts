/**
 * Wraps a node's store: its `unavailable` errors name no host, user or file
 * (`model/out_of_reach.ts`), and the log gets the whole reason.
 *
 * A reason is logged when it changes, not for each request. Each row and entry that can't be read
 * is logged once, for up to `MAX_LOGGED_ROWS` of them.
 */
import { detailOf, isAtlasError, messageOf } from "../errors.ts";
import { MAX_LOGGED_ROWS } from "../limits.ts";
import { LostTurns } from "../model/lost_turns.ts";
import type { NodeEvent } from "../model/node_event.ts";
import { registryErrorForCallers } from "../model/out_of_reach.ts";
import { refusalOf } from "../model/refusal.ts";
import type { Clock } from "../ports/clock.ts";
import type { Membership, OwnershipPage, Store } from "../ports/store.ts";

/** The least time between two log lines on one kind of failure, in ms. */
const LEAST_GAP_MS = 1_000;
/**
 * A failure that returns after this long counts as new, in ms; one that lasts is logged again this
 * often.
 */
const NEW_AFTER_MS = 10_000;
const AGAIN_AFTER_MS = 60_000;
/** The number of kinds of failures that one node remembers. */
const MAX_FAILURES = 64;

/** A failure as it was last logged. */
interface LoggedFailure {
  reason: string;
  loggedAt: number;
  seenAt: number;
}

class FailureLog {
  readonly #clock: Clock;
  readonly #onEvent: (event: NodeEvent) => void;
  readonly #failures = new Map<string, LoggedFailure>();
  readonly #rows = new Set<string>();

  constructor(clock: Clock, onEvent: (event: NodeEvent) => void) {
    this.#clock = clock;
    this.#onEvent = onEvent;
  }

  /** A step failed; returns the error for callers. */
  failed(error: unknown): unknown {
    const reported = registryErrorForCallers(error);
    if (!isAtlasError(reported) || reported.code !== "unavailable") return reported;
    // The entry's owner reports that.
    if (reported instanceof LostTurns) return reported;
    const refusal = refusalOf(reported);
    const isRefusing = refusal === "passing" || refusal === "lasting";
    const event = isRefusing ? "registry refuses steps" : "registry can't be reached";
    if (reported.retryable) this.#failure(event, messageOf(reported), detailOf(reported));
    else this.row(messageOf(reported), detailOf(reported));
    return reported;
  }

  /** A row or an entry can't be read. `name` identifies it. */
  row(name: string, reason: string): void {
    if (this.#rows.size >= MAX_LOGGED_ROWS || this.#rows.has(name)) return;
    this.#rows.add(name);
    const isLast = this.#rows.size === MAX_LOGGED_ROWS;
    const fields = { reason, ...isLast && { further: "are not logged by this process" } };
    this.#onEvent({ level: "error", event: "registry holds what can't be read", fields });
  }

  #failure(event: string, name: string, reason: string): void {
    const now = this.#clock.now();
    const known = this.#failures.get(name);
    if (known) {
      const isDue = now - known.loggedAt >= AGAIN_AFTER_MS || now - known.seenAt >= NEW_AFTER_MS ||
        reason !== known.reason && now - known.loggedAt >= LEAST_GAP_MS;
      known.seenAt = now;
      if (!isDue) return;
    }
    const oldest = this.#failures.keys().next().value;
    if (!known && this.#failures.size >= MAX_FAILURES) this.#failures.delete(oldest as string);
    this.#failures.set(name, { reason, loggedAt: now, seenAt: now });
    this.#onEvent({ level: "warning", event, fields: { reason } });
  }
}

/** A node's options, with its store guarded. */
export function withGuardedStore<O extends Guardable>(options: O): O {
  const { store, clock, onEvent } = options;
  return { ...options, store: guardedStore(store, clock, (event) => onEvent?.(event)) };
}

interface Guardable {
  readonly store: Store;
  readonly clock: Clock;
  readonly onEvent?: ((event: NodeEvent) => void) | undefined;
}

/** The store, guarded. It has exactly the methods that `store` has. */
export function guardedStore(
  store: Store,
  clock: Clock,
  onEvent: (event: NodeEvent) => void,
): Store {
  const failures = new FailureLog(clock, onEvent);
  const failed = (error: unknown): never => {
    throw failures.failed(error);
  };
  /** Reads answers that name rows and entries which can't be read. */
  const looksFor: { readonly [name: string]: (answer: unknown) => unknown } = {
    members: (answer) => logRows(answer as Membership, failures),
    list: (answer) => logEntries(answer as OwnershipPage, failures),
  };
  const methods = new Map<string | symbol, (...args: unknown[]) => unknown>();
  const method = (name: keyof Store): (...args: unknown[]) => unknown => (...args) => {
    try {
      const reply = (store[name] as (...args: unknown[]) => unknown)(...args);
      if (!(reply instanceof Promise)) return reply;
      return reply.then(looksFor[name], failed);
    } catch (error) {
      throw failures.failed(error);
    }
  };
  return new Proxy(store, {
    get(it, name) {
      const known = methods.get(name);
      if (known) return known;
      const value = Reflect.get(it, name, it);
      if (typeof value !== "function") return value;
      // Asked with each cached lookup; it can't fail.
      const guarded = name === "status" ? () => store.status() : method(name as keyof Store);
      methods.set(name, guarded);
      return guarded;
    },
  });
}

function logRows(answer: Membership, failures: FailureLog): Membership {
  const { unreadable = [] } = answer;
  for (const { incarnation, region, reason } of unreadable) {
    const whose = region === undefined ? "" : ` of region ${region}`;
    const name = `member ${JSON.stringify(incarnation)}${whose}`;
    failures.row(name, `the row of ${name} is left out: ${reason}`);
  }
  return answer;
}

function logEntries(answer: OwnershipPage, failures: FailureLog): OwnershipPage {
  for (const error of answer.unreadable ?? []) failures.row(messageOf(error), detailOf(error));
  return answer;
}
