/**
 * A channel: runs the requests of one buyer and grants it credit.
 *
 * Takes `request`, `abandon`, `probe`, `lower` and `drain` from its buyer, `resize`, `upgrade`,
 * `close` and `halt` from its listener; sends `reply`, `failure`, `credit`, `closing` and
 * `upgraded` to the buyer, and `shrunk` and `code_unused` to the listener. It stops when it has
 * drained.
 *
 * Credit is a total since the channel was opened: a message that is lost or repeated changes
 * nothing. Outstanding credit plus running requests never exceed the grant. A request beyond its
 * credit is refused without running. New code that the buyer accepts runs from the next request on,
 * without any change of credit.
 *
 * Source: `docs/design.md`, Modules; AMQP 1.0 §2.6.7 (link credit) and RFC 9000 §4.1.
 */
import { accepts, type Module } from "../../api/module.ts";
import {
  AtlasError,
  isAtlasError,
  messageOf,
  stackOf,
  toAtlasError,
  toWireError,
} from "../../errors.ts";
import { Waiters } from "../../model/waiters.ts";
import { type Body, encodeBody } from "../../model/body.ts";
import { checkArguments, quoted } from "../../model/options.ts";
import type { Timer } from "../../ports/clock.ts";
import type { TimerWheel } from "../../time/timer_wheel.ts";
import type { Address } from "../bus/address.ts";
import type { BusMessage, BusMessageOf, CodeLabel } from "../bus/messages.ts";
import type { ModuleCounters } from "../bus/metrics.ts";
import { decodePayload, type Payload } from "../bus/payload.ts";
import { Process } from "../bus/process.ts";
import type { ChannelRecord } from "./figures.ts";
import { Context, Run } from "./run.ts";

/** How long after its deadline a request is aborted if its caller did not abandon it, ms. */
const ABANDON_MS = 100;
/**
 * The longest time for which credit is withheld while outstanding credit is above the low
 * watermark, ms.
 */
const ISSUE_DELAY_MS = 10;

/** How a request ended. */
type Outcome = { value: unknown } | { error: unknown } | { refusal: AtlasError };

export interface ChannelParts {
  /** The name under which the module is published. */
  readonly name: string;
  /** Versions that the buyer accepts. */
  readonly range: string | null;
  readonly listener: Address;
  /** Its record, which it alone writes; holds its buyer and its first code. */
  readonly record: ChannelRecord;
  /** See `PublishOptions.lowWatermark`. */
  readonly lowWatermark: number;
  readonly deadlines: TimerWheel;
  readonly counters: ModuleCounters;
}

export class Channel extends Process {
  readonly #parts: ChannelParts;
  readonly #record: ChannelRecord;
  readonly #buyer: Address;
  readonly #running = new Waiters<Run>();
  /**
   * The grant that the channel should have. The actual grant is higher while running requests and
   * credit need it.
   */
  #target = 0;
  /** Total credit that its buyer returned. */
  #returned = 0;
  #issueTimer: Timer | null = null;
  #isDraining = false;
  /** The buyer is gone: answers are not sent. */
  #isBuyerGone = false;

  constructor(parts: ChannelParts) {
    super();
    this.#parts = parts;
    this.#record = parts.record;
    this.#buyer = parts.record.buyer;
  }

  protected override started(): void {
    this.context.watch(this.#buyer);
    this.context.watch(this.#parts.listener);
  }

  protected override stopped(): void {
    this.#revoke();
    this.#abortRuns(new AtlasError("unavailable", "the channel was closed"));
    this.#parts.counters.running -= this.#running.size;
    this.#record.orphanRuns = this.#record.grant = this.#running.size;
    this.#record.running = 0;
    this.#record.codes.clear();
  }

  receive(message: BusMessage, from: Address): void {
    const buyer = this.#buyer;
    if (message.kind === "down") {
      if (message.address === buyer) this.#buyerGone();
      else this.#close();
    } else if (from === buyer) {
      this.#fromBuyer(message);
    } else if (from === this.#parts.listener) {
      this.#fromListener(message);
    }
  }

  #fromBuyer(message: BusMessage): void {
    switch (message.kind) {
      case "request":
        return this.#request(message);
      case "abandon":
        return this.#running.get(message.id)?.abort(
          new AtlasError("timeout", "the caller cancelled the call"),
        );
      case "probe":
        this.#catchUp(message.used);
        this.#issue(false);
        return this.#sendToBuyer({ kind: "credit", allowed: this.#record.issued });
      case "lower":
        this.#catchUp(message.used);
        return this.#lower(message);
      case "drain":
        this.#catchUp(message.used);
        return this.#drain();
    }
  }

  #fromListener(message: BusMessage): void {
    switch (message.kind) {
      case "resize":
        if (this.#isDraining) return;
        this.#target = this.#record.grant = Math.max(this.#record.grant, message.grant);
        this.#issue(true);
        return this.#sendToBuyer({ kind: "credit", allowed: this.#record.issued });
      case "upgrade":
        return this.#upgrade(message.module);
      case "close":
        return this.#close();
      case "halt":
        return this.#halt(message.reason);
    }
  }

  /** Runs the next requests on new code, if the buyer accepts its version. */
  #upgrade(module: Module): void {
    const former = this.#record.module;
    if (this.#isDraining || module === former || !accepts(this.#parts.range, module.version)) {
      return;
    }
    this.#record.module = module;
    this.#sendToBuyer({ kind: "upgraded", label: labelOf(module), after: this.#record.used });
    if (!this.#record.codes.has(former)) this.#reportUnused(former);
  }

  /** Tells the listener that nothing here runs on that code any more. */
  #reportUnused(module: Module): void {
    this.context.send(this.#parts.listener, { kind: "code_unused", module });
  }

  /** The buyer wants less: returns what is not in use now, the rest as requests end. */
  #lower({ grant, returned }: BusMessageOf<"lower">): void {
    if (this.#isDraining || grant < 1) return;
    this.#target = Math.min(this.#target, grant);
    const { outstanding } = this.#record;
    const revoked = Math.min(outstanding, returned - this.#returned);
    if (revoked > 0) {
      this.#returned += revoked;
      this.#record.revoked += revoked;
      this.#parts.counters.revoked += revoked;
    }
    this.#shrink();
  }

  /**
   * Issues all credit that the grant leaves room for. Above the low watermark it is withheld for
   * at most 10 ms, or until outstanding credit falls below it.
   */
  #issue(always: boolean): void {
    if (this.#isDraining) return;
    const { lowWatermark, counters } = this.#parts;
    const { issued, outstanding } = this.#record;
    const added = this.#target - this.#running.size - outstanding;
    if (added <= 0) return;
    if (!always && outstanding > lowWatermark * this.#target) return this.#issueLater();
    this.#issueTimer?.cancel();
    this.#issueTimer = null;
    counters.issued += added;
    this.#record.issued = issued + added;
  }

  #issueLater(): void {
    this.#issueTimer ??= this.context.after(ISSUE_DELAY_MS, () => {
      this.#issueTimer = null;
      this.#issue(true);
      this.#sendToBuyer({ kind: "credit", allowed: this.#record.issued });
    });
  }

  #request(request: BusMessageOf<"request">): void {
    const { id } = request;
    const { issued, used, revoked } = this.#record;
    // The request has arrived before, or was overtaken and counts as lost. It must not run twice.
    if (id <= used) return;
    if (id > issued - revoked) {
      const why = this.#isDraining ? "the channel is closing" : "the request is beyond its credit";
      return this.#fail(id, new AtlasError("overloaded", why));
    }
    this.#catchUp(id);
    this.#run(request);
  }

  /** The buyer has sent `used` requests: those that have not arrived are lost. */
  #catchUp(used: number): void {
    const { issued, revoked } = this.#record;
    if (used <= this.#record.used || used > issued - revoked) return;
    this.#parts.counters.used += used - this.#record.used;
    this.#record.used = used;
  }

  #run({ id, name, body, timeoutMs }: BusMessageOf<"request">): void {
    const { counters } = this.#parts;
    const { module } = this.#record;
    const run = new Run(id, name, module);
    this.#running.add(id, run);
    this.#record.runStarted(module);
    counters.running++;
    const deadline = this.context.now() + timeoutMs + ABANDON_MS;
    const args = this.#check(run, body);
    if (args instanceof AtlasError) return this.#finish(run, { refusal: args });
    const context = new Context(run, this.#parts.name);
    let result: unknown;
    let isPromise: boolean;
    try {
      result = Reflect.apply(module.functions[name] as () => unknown, context, args);
      isPromise = isThenable(result);
    } catch (error) {
      return this.#finish(run, { error });
    }
    if (!isPromise) return this.#finish(run, { value: result });
    // Only now, because no timer runs before the function returns. It may have closed the node.
    if (!this.hasStopped) this.#parts.deadlines.add(run, deadline);
    this.#await(run, result);
  }

  /** Finishes a run once its function's promise is settled. */
  #await(run: Run, result: unknown): void {
    const ended = (outcome: Outcome): void => {
      if (this.hasStopped) this.#orphanRunEnded();
      else this.context.resume(() => this.#finish(run, outcome));
    };
    Promise.resolve(result).then((value) => ended({ value }), (error) => ended({ error }));
  }

  /** A function ended after its channel; if the channel failed, this frees its capacity. */
  #orphanRunEnded(): void {
    if (this.#record.orphanRuns === 0) return;
    const grant = this.#record.grant = --this.#record.orphanRuns;
    this.context.send(this.#parts.listener, { kind: "shrunk", grant });
  }

  /** The arguments, or the error if the function can't be called. */
  #check({ name, module }: Run, body: Payload): readonly unknown[] | AtlasError {
    try {
      if (module.exports.includes(name)) return checkArguments(decodePayload(body));
      const message = `${this.#parts.name} has no function ${quoted(name)}`;
      return new AtlasError("not_found", message);
    } catch (error) {
      return toAtlasError(error);
    }
  }

  #finish(run: Run, outcome: Outcome): void {
    const { deadlines, counters } = this.#parts;
    if (!this.#running.take(run.id)) return;
    deadlines.remove(run);
    counters.running--;
    if (this.#record.runEnded(run.module)) this.#reportUnused(run.module);
    this.#issue(false);
    if ("refusal" in outcome) this.#fail(run.id, outcome.refusal);
    else this.#answer(run, outcome);
    this.#shrink();
  }

  #answer({ id, name, module }: Run, outcome: Exclude<Outcome, { refusal: AtlasError }>): void {
    try {
      if ("error" in outcome) {
        this.#logThrown(module.version, name, outcome.error);
        throw outcome.error;
      }
      const body = encodeResult(name, outcome.value);
      this.#sendToBuyer({ kind: "reply", id, allowed: this.#record.issued, body });
    } catch (thrown) {
      // The function has run: an app's own `unavailable` must not look like an error of Atlas.
      const code = isAtlasError(thrown) ? thrown.code : "app";
      const error = new AtlasError(code, messageOf(thrown), { maybeExecuted: true, cause: thrown });
      this.#fail(id, error);
    }
  }

  /** Logs the stack; callers get the message only. */
  #logThrown(version: string, method: string, error: unknown): void {
    if (isAtlasError(error)) return;
    const fields = { key: this.#parts.name, method, version, stack: stackOf(error) };
    this.context.log("error", "function threw", fields);
  }

  #fail(id: number, error: AtlasError): void {
    this.#sendToBuyer({
      kind: "failure",
      id,
      allowed: this.#record.issued,
      error: toWireError(error),
    });
  }

  /**
   * Accepts no more requests, revokes credit, returns unused capacity, and stops after the last
   * run.
   */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#revoke();
    this.#shrink();
  }

  #revoke(): void {
    const { outstanding } = this.#record;
    this.#record.revoked += outstanding;
    this.#parts.counters.revoked += outstanding;
  }

  /** Returns capacity that it no longer needs. */
  #shrink(): void {
    const target = this.#isDraining ? 0 : this.#target;
    const grant = Math.max(target, this.#running.size + this.#record.outstanding);
    const isLess = grant < this.#record.grant;
    this.#record.grant = Math.min(grant, this.#record.grant);
    if (isLess) this.context.send(this.#parts.listener, { kind: "shrunk", grant });
    if (this.#isDraining && grant === 0) this.context.stop(this.address, "the channel has drained");
  }

  #close(): void {
    if (!this.#isDraining) this.#sendToBuyer({ kind: "closing", used: this.#record.used });
    this.#drain();
  }

  /** The buyer is gone; running requests may finish and keep their capacity until then. */
  #buyerGone(): void {
    this.#isBuyerGone = true;
    this.#abortRuns(new AtlasError("unavailable", "the caller's node is gone"));
    this.#drain();
  }

  /** Stops without waiting for running requests. */
  #halt(reason: string): void {
    for (const [id] of this.#running.all()) {
      this.#fail(id, new AtlasError("unavailable", reason, { maybeExecuted: true }));
    }
    this.context.stop(this.address, reason);
  }

  #abortRuns(reason: AtlasError): void {
    for (const [, run] of this.#running.all()) {
      this.#parts.deadlines.remove(run);
      run.abort(reason);
    }
  }

  #sendToBuyer(message: BusMessage): void {
    if (!this.#isBuyerGone) this.context.send(this.#buyer, message);
  }
}

function isThenable(value: unknown): boolean {
  return (typeof value === "object" || typeof value === "function") && value !== null &&
    "then" in value && typeof value.then === "function";
}

/** Encodes a function's result; a value that can't be encoded is an error of its code. */
function encodeResult(name: string, value: unknown): Body {
  try {
    return encodeBody(value, "the result");
  } catch (error) {
    throw new AtlasError("app", `${name}: ${messageOf(error)}`);
  }
}

/** What buyers learn about a module. */
export function labelOf({ version, exports, hash }: Module): CodeLabel {
  return { version, exports, hash };
}
