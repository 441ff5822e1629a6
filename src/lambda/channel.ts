/**
 * Channel: one buyer's counter in a shop. It serves what the buyer sends, and says each
 * time up to which number it may send more.
 *
 * Takes `request`, `abandon`, `probe` and `drain` of its buyer, `resize`, `upgrade`, `shut` and
 * `halt` of its listener; gives `reply`, `failure`, `credit`, `closing` and `upgraded` to the
 * buyer, and `shrunk` to the listener as it drains. It ends when it has drained.
 *
 * Credit is a total since the channel was opened: a letter that is lost or comes twice
 * changes nothing. Credit that is out and requests that run are together never more than
 * the grant. A request beyond its credit is refused, without having run.
 *
 * Source: design §5, Channel; AMQP 1.0 §2.6.7 (link credit) and RFC 9000 §4.1.
 */
import {
  AtlasError,
  isAtlasError,
  messageOf,
  stackOf,
  toAtlasError,
  toWireError,
} from "../errors.ts";
import { encodeBody } from "../model/call.ts";
import { checkArguments } from "../model/options.ts";
import { quoted } from "../model/quoted.ts";
import { type Deadlines, Expiring } from "../time/deadlines.ts";
import { type Address, nodeOf, partOf } from "./address.ts";
import type { ListenerChannelStats } from "./api.ts";
import { type Body, open } from "./body.ts";
import type { Label, Letter, LetterOf } from "./letters.ts";
import type { Meter } from "./meter.ts";
import type { FunctionContext, Module } from "./module.ts";
import { Part } from "./part.ts";

/** How long after its deadline a request is stopped if its caller has not called it off, ms. */
const ABANDON_MS = 100;

/** A request that runs. */
class Run extends Expiring {
  readonly id: number;
  /** The function's. */
  readonly name: string;
  #controller: AbortController | null = null;
  #reason: AtlasError | null = null;

  constructor(id: number, name: string) {
    super();
    this.id = id;
    this.name = name;
  }

  /** Made for those functions that ask for it: few do, and it costs as much as a call. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Nobody waits for it any more. */
  abort(reason: AtlasError): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }

  override expire(): void {
    this.abort(new AtlasError("timeout", "the caller's deadline passed"));
  }
}

/** What a function sees as `this`. */
class Context implements FunctionContext {
  readonly module: string;
  readonly version: string;
  readonly #run: Run;

  constructor(run: Run, module: string, version: string) {
    this.#run = run;
    this.module = module;
    this.version = version;
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }
}

/** How a request ended. */
type Outcome = { value: unknown } | { error: unknown } | { refusal: AtlasError };

export interface ChannelParts {
  /** The name under which the module is published. */
  readonly name: string;
  readonly module: Module;
  readonly buyer: Address;
  readonly listener: Address;
  /** See `PublishOptions.lowWatermark`. */
  readonly lowWatermark: number;
  readonly deadlines: Deadlines;
  readonly meter: Meter;
}

export class Channel extends Part {
  readonly #parts: ChannelParts;
  readonly #running = new Map<number, Run>();
  #grant = 0;
  /** Credit given in all, less what was taken back. */
  #allowed = 0;
  /** The highest number of a request that came: those before it came too, or never will. */
  #used = 0;
  #revoked = 0;
  #isDraining = false;
  /** Nobody is there to hear answers. */
  #isOrphan = false;

  constructor(parts: ChannelParts) {
    super();
    this.#parts = parts;
  }

  get running(): number {
    return this.#running.size;
  }

  stats(): ListenerChannelStats {
    const { buyer, module } = this.#parts;
    return {
      channel: partOf(this.address),
      buyer: nodeOf(buyer),
      version: module.version,
      hash: module.hash,
      grant: this.#grant,
      issued: this.#allowed + this.#revoked,
      used: this.#used,
      outstanding: this.#allowed - this.#used,
      revoked: this.#revoked,
      running: this.#running.size,
    };
  }

  protected override started(): void {
    this.desk.watch(this.#parts.buyer);
    this.desk.watch(this.#parts.listener);
  }

  protected override stopped(): void {
    this.#revoke();
    this.#giveUp(new AtlasError("unavailable", "the channel was closed"));
    this.#parts.meter.running -= this.#running.size;
  }

  receive(letter: Letter, from: Address): void {
    const { buyer, listener } = this.#parts;
    if (letter.kind === "down") {
      if (letter.address === buyer) this.#orphaned();
      else this.#close();
    } else if (from === buyer) {
      this.#ofBuyer(letter);
    } else if (from === listener) {
      this.#ofListener(letter);
    }
  }

  #ofBuyer(letter: Letter): void {
    switch (letter.kind) {
      case "request":
        return this.#take(letter);
      case "abandon":
        return this.#running.get(letter.id)?.abort(
          new AtlasError("timeout", "the caller gave the call up"),
        );
      case "probe":
        this.#catchUp(letter.used);
        this.#issue(true);
        return this.#say({ kind: "credit", allowed: this.#allowed });
      case "drain":
        this.#catchUp(letter.used);
        return this.#drain();
    }
  }

  #ofListener(letter: Letter): void {
    switch (letter.kind) {
      case "resize":
        if (this.#isDraining) return;
        this.#grant = Math.max(this.#grant, letter.grant);
        this.#issue(false);
        return this.#say({ kind: "credit", allowed: this.#allowed });
      case "upgrade":
        if (!this.#isDraining) this.#say({ kind: "upgraded", label: letter.label });
        return;
      case "shut":
        return this.#close();
      case "halt":
        return this.#halt(letter.reason);
    }
  }

  /** Allows as much as the grant has room for; not yet where enough is out. */
  #issue(always: boolean): void {
    if (this.#isDraining) return;
    const { lowWatermark, meter } = this.#parts;
    const outstanding = this.#allowed - this.#used;
    if (!always && outstanding > lowWatermark * this.#grant) return;
    const allowed = this.#used - this.#running.size + this.#grant;
    if (allowed <= this.#allowed) return;
    meter.issued += allowed - this.#allowed;
    this.#allowed = allowed;
  }

  #take(request: LetterOf<"request">): void {
    const { id } = request;
    // Came already, or was overtaken and counts as lost: it must not run twice.
    if (id <= this.#used) return;
    if (id > this.#allowed) {
      const why = this.#isDraining ? "the channel is closing" : "the request is beyond its credit";
      return this.#fail(id, new AtlasError("overloaded", why));
    }
    this.#catchUp(id);
    this.#run(request);
  }

  /** The buyer has sent so many: what of it didn't come by now was lost on the way. */
  #catchUp(used: number): void {
    if (used <= this.#used || used > this.#allowed) return;
    this.#parts.meter.used += used - this.#used;
    this.#used = used;
  }

  #run({ id, name, body, timeoutMs }: LetterOf<"request">): void {
    const { module, deadlines, meter } = this.#parts;
    const run = new Run(id, name);
    this.#running.set(id, run);
    meter.running++;
    deadlines.add(run, this.desk.now() + timeoutMs + ABANDON_MS);
    const { args, refusal } = this.#check(name, body);
    if (refusal) return this.#finish(run, { refusal });
    const context = new Context(run, this.#parts.name, module.version);
    let result: unknown;
    let isLater: boolean;
    try {
      result = Reflect.apply(module.functions[name] as () => unknown, context, args);
      isLater = isThenable(result);
    } catch (error) {
      return this.#finish(run, { error });
    }
    if (!isLater) return this.#finish(run, { value: result });
    Promise.resolve(result).then(
      (value) => this.desk.act(() => this.#finish(run, { value })),
      (error) => this.desk.act(() => this.#finish(run, { error })),
    );
  }

  /** The arguments, or why the function isn't called. */
  #check(name: string, body: Body): { args: readonly unknown[]; refusal: AtlasError | null } {
    const { module } = this.#parts;
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
    this.#issue(false);
    if ("refusal" in outcome) this.#fail(run.id, outcome.refusal);
    else this.#answer(run, outcome);
    if (this.#isDraining) this.#shrink();
  }

  #answer({ id, name }: Run, outcome: Exclude<Outcome, { refusal: AtlasError }>): void {
    try {
      if ("error" in outcome) {
        this.#tellThrown(name, outcome.error);
        throw outcome.error;
      }
      const body = encodeResult(name, outcome.value);
      this.#say({ kind: "reply", id, allowed: this.#allowed, body });
    } catch (thrown) {
      // Whatever it threw, it has run: an app's own `unavailable` must not look like Atlas's.
      const code = isAtlasError(thrown) ? thrown.code : "app";
      const error = new AtlasError(code, messageOf(thrown), { maybeExecuted: true, cause: thrown });
      this.#fail(id, error);
    }
  }

  /** Callers get the message only. */
  #tellThrown(method: string, error: unknown): void {
    if (isAtlasError(error)) return;
    const { name, module: { version } } = this.#parts;
    const fields = { key: name, method, version, stack: stackOf(error) };
    this.desk.tell("error", "function threw", fields);
  }

  #fail(id: number, error: AtlasError): void {
    this.#say({ kind: "failure", id, allowed: this.#allowed, error: toWireError(error) });
  }

  /** Takes no more requests, gives credit and what isn't in use back, ends with the last run. */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#revoke();
    this.#shrink();
  }

  #revoke(): void {
    const outstanding = this.#allowed - this.#used;
    this.#allowed = this.#used;
    this.#revoked += outstanding;
    this.#parts.meter.revoked += outstanding;
  }

  #shrink(): void {
    this.#grant = this.#running.size;
    this.desk.send(this.#parts.listener, { kind: "shrunk", grant: this.#grant });
    if (this.#grant === 0) this.desk.dismiss(this.address, "the channel has drained");
  }

  #close(): void {
    if (!this.#isDraining) this.#say({ kind: "closing", used: this.#used });
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
    this.desk.dismiss(this.address, reason);
  }

  #giveUp(reason: AtlasError): void {
    for (const run of this.#running.values()) {
      this.#parts.deadlines.remove(run);
      run.abort(reason);
    }
  }

  #say(letter: Letter): void {
    if (!this.#isOrphan) this.desk.send(this.#parts.buyer, letter);
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
