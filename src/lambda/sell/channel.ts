/**
 * Channel: runs the requests of one buyer, and says each time up to which number it may send more.
 *
 * Takes `request`, `abandon`, `probe`, `lower` and `drain` of its buyer, `resize`, `upgrade`,
 * `shut` and `halt` of its listener; gives `reply`, `failure`, `credit`, `closing` and `upgraded`
 * to the buyer, and `shrunk` and `shed` to the listener. It ends when it has drained.
 *
 * Credit is a total since the channel was opened: a letter that is lost or comes twice changes
 * nothing. Credit that is out and requests that run are together never more than the grant. A
 * request beyond its credit is refused, without having run. New code that its buyer takes is used
 * from the next request on; no credit moves for that.
 *
 * Source: design §5, Channel; AMQP 1.0 §2.6.7 (link credit) and RFC 9000 §4.1.
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
import { encodeBody } from "../../model/call.ts";
import { checkArguments, quoted } from "../../model/options.ts";
import type { Timer } from "../../ports/clock.ts";
import type { TimerWheel } from "../../time/timer_wheel.ts";
import type { Address } from "../bus/address.ts";
import type { BusMessage, BusMessageOf, Label } from "../bus/messages.ts";
import { open, type Payload } from "../bus/payload.ts";
import { Process } from "../bus/process.ts";
import type { ModuleCounters } from "../metrics.ts";
import type { ChannelBooks } from "./figures.ts";
import { Context, Run } from "./run.ts";

/** How long after its deadline a request is stopped if its caller has not called it off, ms. */
const ABANDON_MS = 100;
/** How long credit above the watermark is kept back at most, ms. */
const KEEP_MS = 10;

/** How a request ended. */
type Outcome = { value: unknown } | { error: unknown } | { refusal: AtlasError };

export interface ChannelParts {
  /** The name under which the module is published. */
  readonly name: string;
  /** Versions that the buyer takes. */
  readonly range: string | null;
  readonly listener: Address;
  /** Its figures, which it alone writes; they name its first code and its buyer. */
  readonly books: ChannelBooks;
  /** See `PublishOptions.lowWatermark`. */
  readonly lowWatermark: number;
  readonly deadlines: TimerWheel;
  readonly meter: ModuleCounters;
}

export class Channel extends Process {
  readonly #parts: ChannelParts;
  readonly #books: ChannelBooks;
  readonly #buyer: Address;
  readonly #running = new Map<number, Run>();
  /** What it may hold from now on; it holds more as long as what runs and is out needs that. */
  #target = 0;
  /** Credit that its buyer gave back, in all. */
  #returned = 0;
  #keeps: Timer | null = null;
  #isDraining = false;
  /** Nobody is there to hear answers. */
  #isOrphan = false;

  constructor(parts: ChannelParts) {
    super();
    this.#parts = parts;
    this.#books = parts.books;
    this.#buyer = parts.books.buyer;
  }

  protected override started(): void {
    this.context.watch(this.#buyer);
    this.context.watch(this.#parts.listener);
  }

  protected override stopped(): void {
    this.#revoke();
    this.#giveUp(new AtlasError("unavailable", "the channel was closed"));
    this.#parts.meter.running -= this.#running.size;
    this.#books.strays = this.#books.grant = this.#running.size;
    this.#books.running = 0;
    this.#books.codes.clear();
  }

  receive(letter: BusMessage, from: Address): void {
    const buyer = this.#buyer;
    if (letter.kind === "down") {
      if (letter.address === buyer) this.#orphaned();
      else this.#close();
    } else if (from === buyer) {
      this.#ofBuyer(letter);
    } else if (from === this.#parts.listener) {
      this.#ofListener(letter);
    }
  }

  #ofBuyer(letter: BusMessage): void {
    switch (letter.kind) {
      case "request":
        return this.#take(letter);
      case "abandon":
        return this.#running.get(letter.id)?.abort(
          new AtlasError("timeout", "the caller gave the call up"),
        );
      case "probe":
        this.#catchUp(letter.used);
        this.#issue(false);
        return this.#say({ kind: "credit", allowed: this.#books.issued });
      case "lower":
        this.#catchUp(letter.used);
        return this.#lower(letter);
      case "drain":
        this.#catchUp(letter.used);
        return this.#drain();
    }
  }

  #ofListener(letter: BusMessage): void {
    switch (letter.kind) {
      case "resize":
        if (this.#isDraining) return;
        this.#target = this.#books.grant = Math.max(this.#books.grant, letter.grant);
        this.#issue(true);
        return this.#say({ kind: "credit", allowed: this.#books.issued });
      case "upgrade":
        return this.#upgrade(letter.module);
      case "shut":
        return this.#close();
      case "halt":
        return this.#halt(letter.reason);
    }
  }

  /** Has its buyer's next requests run on other code, if that is one it takes. */
  #upgrade(module: Module): void {
    const former = this.#books.module;
    if (this.#isDraining || module === former || !accepts(this.#parts.range, module.version)) {
      return;
    }
    this.#books.module = module;
    this.#say({ kind: "upgraded", label: labelOf(module), after: this.#books.used });
    if (!this.#books.codes.has(former)) this.#shed(former);
  }

  /** Nothing of it runs on that code any more. */
  #shed(module: Module): void {
    this.context.send(this.#parts.listener, { kind: "shed", module });
  }

  /** Its buyer wants less: that is given back as far as it isn't in use, the rest as it ends. */
  #lower({ grant, returned }: BusMessageOf<"lower">): void {
    if (this.#isDraining || grant < 1) return;
    this.#target = Math.min(this.#target, grant);
    const { outstanding } = this.#books;
    const more = Math.min(outstanding, returned - this.#returned);
    if (more > 0) {
      this.#returned += more;
      this.#books.revoked += more;
      this.#parts.meter.revoked += more;
    }
    this.#shrink();
  }

  /**
   * Allows as much as there is room for. Where enough is out by the watermark, what is kept back
   * goes with the next that falls below it, or after a moment: it is never kept from callers.
   */
  #issue(always: boolean): void {
    if (this.#isDraining) return;
    const { lowWatermark, meter } = this.#parts;
    const { issued, outstanding } = this.#books;
    const fresh = this.#target - this.#running.size - outstanding;
    if (fresh <= 0) return;
    if (!always && outstanding > lowWatermark * this.#target) return this.#keepBack();
    this.#keeps?.cancel();
    this.#keeps = null;
    meter.issued += fresh;
    this.#books.issued = issued + fresh;
  }

  #keepBack(): void {
    this.#keeps ??= this.context.after(KEEP_MS, () => {
      this.#keeps = null;
      this.#issue(true);
      this.#say({ kind: "credit", allowed: this.#books.issued });
    });
  }

  #take(request: BusMessageOf<"request">): void {
    const { id } = request;
    const { issued, used, revoked } = this.#books;
    // Came already, or was overtaken and counts as lost: it must not run twice.
    if (id <= used) return;
    if (id > issued - revoked) {
      const why = this.#isDraining ? "the channel is closing" : "the request is beyond its credit";
      return this.#fail(id, new AtlasError("overloaded", why));
    }
    this.#catchUp(id);
    this.#run(request);
  }

  /** The buyer has sent so many: what of it didn't come by now was lost on the way. */
  #catchUp(used: number): void {
    const { issued, revoked } = this.#books;
    if (used <= this.#books.used || used > issued - revoked) return;
    this.#parts.meter.used += used - this.#books.used;
    this.#books.used = used;
  }

  #run({ id, name, body, timeoutMs }: BusMessageOf<"request">): void {
    const { deadlines, meter } = this.#parts;
    const { module } = this.#books;
    const run = new Run(id, name, module);
    this.#running.set(id, run);
    this.#books.began(module);
    meter.running++;
    deadlines.add(run, this.context.now() + timeoutMs + ABANDON_MS);
    const { args, refusal } = this.#check(run, body);
    if (refusal) return this.#finish(run, { refusal });
    const context = new Context(run, this.#parts.name);
    let result: unknown;
    let isLater: boolean;
    try {
      result = Reflect.apply(module.functions[name] as () => unknown, context, args);
      isLater = isThenable(result);
    } catch (error) {
      return this.#finish(run, { error });
    }
    if (!isLater) return this.#finish(run, { value: result });
    const ended = (outcome: Outcome): void => {
      if (this.hasEnded) this.#strayed();
      else this.context.resume(() => this.#finish(run, outcome));
    };
    Promise.resolve(result).then((value) => ended({ value }), (error) => ended({ error }));
  }

  /** A function ended after its channel had: where that failed, its capacity was still in use. */
  #strayed(): void {
    if (this.#books.strays === 0) return;
    const grant = this.#books.grant = --this.#books.strays;
    this.context.send(this.#parts.listener, { kind: "shrunk", grant });
  }

  /** The arguments, or why the function isn't called. */
  #check(
    { name, module }: Run,
    body: Payload,
  ): { args: readonly unknown[]; refusal: AtlasError | null } {
    try {
      if (module.exports.includes(name)) return { args: checkArguments(open(body)), refusal: null };
      const message = `${this.#parts.name} has no function ${quoted(name)}`;
      return { args: [], refusal: new AtlasError("not_found", message) };
    } catch (error) {
      return { args: [], refusal: toAtlasError(error) };
    }
  }

  #finish(run: Run, outcome: Outcome): void {
    const { deadlines, meter } = this.#parts;
    if (!this.#running.delete(run.id)) return;
    deadlines.remove(run);
    meter.running--;
    if (this.#books.ended(run.module)) this.#shed(run.module);
    this.#issue(false);
    if ("refusal" in outcome) this.#fail(run.id, outcome.refusal);
    else this.#answer(run, outcome);
    this.#shrink();
  }

  #answer({ id, name, module }: Run, outcome: Exclude<Outcome, { refusal: AtlasError }>): void {
    try {
      if ("error" in outcome) {
        this.#tellThrown(module.version, name, outcome.error);
        throw outcome.error;
      }
      const body = encodeResult(name, outcome.value);
      this.#say({ kind: "reply", id, allowed: this.#books.issued, body });
    } catch (thrown) {
      // Whatever it threw, it has run: an app's own `unavailable` must not look like Atlas's.
      const code = isAtlasError(thrown) ? thrown.code : "app";
      const error = new AtlasError(code, messageOf(thrown), { maybeExecuted: true, cause: thrown });
      this.#fail(id, error);
    }
  }

  /** Callers get the message only. */
  #tellThrown(version: string, method: string, error: unknown): void {
    if (isAtlasError(error)) return;
    const fields = { key: this.#parts.name, method, version, stack: stackOf(error) };
    this.context.tell("error", "function threw", fields);
  }

  #fail(id: number, error: AtlasError): void {
    this.#say({ kind: "failure", id, allowed: this.#books.issued, error: toWireError(error) });
  }

  /** Takes no more requests, gives credit and what isn't in use back, ends with the last run. */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#revoke();
    this.#shrink();
  }

  #revoke(): void {
    const { outstanding } = this.#books;
    this.#books.revoked += outstanding;
    this.#parts.meter.revoked += outstanding;
  }

  /** Lets go of capacity that it holds beyond what it may. */
  #shrink(): void {
    const target = this.#isDraining ? 0 : this.#target;
    const grant = Math.max(target, this.#running.size + this.#books.outstanding);
    const isLess = grant < this.#books.grant;
    this.#books.grant = Math.min(grant, this.#books.grant);
    if (isLess) this.context.send(this.#parts.listener, { kind: "shrunk", grant });
    if (this.#isDraining && grant === 0) this.context.stop(this.address, "the channel has drained");
  }

  #close(): void {
    if (!this.#isDraining) this.#say({ kind: "closing", used: this.#books.used });
    this.#drain();
  }

  /** The buyer is gone; what runs may end, and keeps its capacity until it does. */
  #orphaned(): void {
    this.#isOrphan = true;
    this.#giveUp(new AtlasError("unavailable", "the caller's node is gone"));
    this.#drain();
  }

  /** What runs is not waited for any longer. */
  #halt(reason: string): void {
    for (const id of this.#running.keys()) {
      this.#fail(id, new AtlasError("unavailable", reason, { maybeExecuted: true }));
    }
    this.context.stop(this.address, reason);
  }

  #giveUp(reason: AtlasError): void {
    for (const run of this.#running.values()) {
      this.#parts.deadlines.remove(run);
      run.abort(reason);
    }
  }

  #say(letter: BusMessage): void {
    if (!this.#isOrphan) this.context.send(this.#buyer, letter);
  }
}

function isThenable(value: unknown): boolean {
  return (typeof value === "object" || typeof value === "function") && value !== null &&
    "then" in value && typeof value.then === "function";
}

/** What a function answered, as it travels; what can't travel is its code's error. */
function encodeResult(name: string, value: unknown): Uint8Array {
  try {
    return encodeBody(value, "the result");
  } catch (error) {
    throw new AtlasError("app", `${name}: ${messageOf(error)}`);
  }
}

/** What buyers are told of a module. */
export function labelOf({ version, exports, hash }: Module): Label {
  return { version, exports, hash };
}
