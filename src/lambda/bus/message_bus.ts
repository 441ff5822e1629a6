/**
 * The post office of a node: carries messages ("letters") between its parts, and to parts of other
 * nodes over their links.
 *
 * Takes letters of parts and of links; gives each to its part, in the order in which its
 * sender wrote them, after the present one has been read, never within. A letter either
 * arrives, or everybody who watches its receiver gets a `down`: nothing is lost without a
 * word as long as the sender watches. A part that throws is ended, and started anew where it has
 * to be there.
 *
 * Source: design §5; Erlang's monitors and signal order for `watch` and `down`.
 */
import { messageOf } from "../../errors.ts";
import { MAX_OUTBOX } from "../../limits.ts";
import type { Post as PostMessage } from "../../model/envelope.ts";
import type { NodeEvent } from "../../model/node_event.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { Random } from "../../ports/random.ts";
import type { Peer } from "../../ports/transport.ts";
import { ReadLoopYield } from "../../time/event_loop_yield.ts";
import { type Address, AddressBook, addressOf, nodeOf, partOf } from "./address.ts";
import { Discovery } from "./discovery.ts";
import { type BusMessage, contactsIn, readMessage, writeMessage } from "./messages.ts";
import { Monitors } from "./monitors.ts";
import { payloadOf } from "./payload.ts";
import type { Process, ProcessContext } from "./process.ts";
import { Restarts } from "./restarts.ts";

interface Envelope {
  readonly to: Address;
  readonly from: Address;
  readonly message: BusMessage;
}

export class MessageBus {
  readonly discovery: Discovery;
  readonly #parts: MessageBusParts;
  readonly #processes = new Map<Address, Process>();
  readonly #timers = new Map<Address, Set<Timer>>();
  readonly #monitors = new Monitors();
  readonly #restarts = new Restarts();
  readonly #book = new AddressBook();
  /** Letters for nodes that are being dialled. */
  readonly #outboxes = new Map<string, Envelope[]>();
  #queue: (Envelope | (() => void))[] = [];
  #isReading = false;
  readonly #yield: ReadLoopYield;
  #draws = 0;
  #stopped = false;

  constructor(parts: MessageBusParts) {
    this.#parts = parts;
    this.discovery = new Discovery(parts.member);
    this.#yield = new ReadLoopYield(parts.clock, () => this.#readAll());
  }

  /** Opens a part under `name`, which must be new in this node's life, or of one that ended. */
  spawn(name: string, part: Process): Address {
    const address = addressOf("", name);
    this.#processes.set(address, part);
    part.begin(this.#contextOf(address));
    return address;
  }

  /**
   * Opens a part that has to be there: another is made in its place where it fails.
   *
   * @param restarted runs each time that was done
   */
  keep(name: string, make: () => Process, restarted: () => void = () => {}): Address {
    this.#restarts.keep(addressOf("", name), make, restarted);
    return this.spawn(name, make());
  }

  /** Ends a part: who watches it hears of it, what it asked for later is forgotten. */
  stopProcess(address: Address, reason: string): void {
    this.#restarts.forget(address);
    this.#end(address, reason);
  }

  #end(address: Address, reason: string): void {
    const ended = this.#processes.get(address);
    if (!ended) return;
    this.#processes.delete(address);
    for (const timer of this.#timers.get(address) ?? []) timer.cancel();
    this.#timers.delete(address);
    for (const target of this.#monitors.leave(address)) this.#unwatched(target);
    try {
      ended.end(reason, !this.#restarts.has(address));
    } catch (error) {
      this.#tell("warning", "part failed", { part: partOf(address), reason: messageOf(error) });
    }
    this.#gone(address, reason);
    const part = partOf(address);
    for (const node of this.#monitors.takeForeign(part)) this.#notThere(node, part);
  }

  /** This node's present incarnation. */
  get incarnation(): string {
    return this.#parts.self().incarnation;
  }

  /** Sends a letter from outside of any part. */
  send(to: Address, letter: BusMessage): void {
    this.#send({ to, from: addressOf("", ""), message: letter });
  }

  /**
   * Who answers at an address: over a link that is there already, or a new one.
   *
   * @throws AtlasError `unavailable` …
   */
  async meet(address: string): Promise<string | null> {
    const { self, present, meet } = this.#parts;
    if (address === self().address) return null;
    const known = this.discovery.at(address).find((incarnation) => present(incarnation));
    if (known !== undefined) return known;
    const found = (await meet(address))?.peer.incarnation ?? null;
    // A node may answer elsewhere than it says: asked there again, it needs no further link.
    if (found !== null) this.discovery.met(address, found);
    return found;
  }

  /** A peer's letter came. */
  arrived(message: PostMessage, line: BusLink): void {
    const { incarnation } = line.peer;
    const { to, from } = message;
    const self = this.incarnation;
    let letter: BusMessage;
    try {
      letter = readMessage(message.letter, payloadOf(message.body), self);
    } catch (error) {
      return this.#tell("warning", "letter refused", { from: incarnation, why: messageOf(error) });
    }
    for (const contact of contactsIn(letter)) {
      if (contact.incarnation !== self) this.discovery.learn(contact);
    }
    if (to === "") return this.#control(letter, incarnation);
    if (letter.kind === "gone" || letter.kind === "watch" || letter.kind === "unwatch") return;
    const book = this.#book;
    this.#enqueue({ to: book.whole("", to), from: book.whole(incarnation, from), message: letter });
  }

  /** A link to a peer closed: letters may be lost, so all its parts count as gone. */
  closed(incarnation: string): void {
    this.#lost(incarnation, "its node can't be reached");
    // The peer, if it lives, may have a newer link over which it watches: it is told, and again
    // should the link over which it was told be one that broke, too.
    const isPresent = this.#parts.present(incarnation) !== undefined;
    for (const part of this.#monitors.watchedBy(incarnation)) {
      if (isPresent) this.#notThere(incarnation, part);
      else this.#monitors.removeForeign(incarnation, part);
    }
  }

  /** Ends all parts. */
  stop(): void {
    this.#stopped = true;
    this.#restarts.stop();
    for (const address of [...this.#processes.keys()]) {
      this.stopProcess(address, "the node was closed");
    }
    this.#yield.stop();
    this.#queue = [];
    this.#outboxes.clear();
  }

  #contextOf(address: Address): ProcessContext {
    const { clock, random } = this.#parts;
    return {
      address,
      self: this.#parts.self,
      now: () => clock.now(),
      random: () => random.next(),
      nextId: () => ++this.#draws,
      send: (to, letter) => this.#send({ to, from: address, message: letter }),
      watch: (to) => this.#watch(address, to),
      unwatch: (to) => {
        if (this.#monitors.remove(address, to)) this.#unwatched(to);
      },
      spawn: (name, part) => this.spawn(name, part),
      stop: (part, reason) => this.stopProcess(part, reason),
      defer: (run) =>
        this.#enqueue(() => {
          if (this.#processes.has(address)) this.#guard(address, run);
        }),
      resume: (run) => {
        if (this.#processes.has(address)) this.#guard(address, run);
      },
      after: (ms, run) => this.#after(address, ms, run),
      tell: (level, event, fields) => this.#tell(level, event, fields),
    };
  }

  #after(address: Address, ms: number, run: () => void): Timer {
    let timers = this.#timers.get(address);
    if (!timers) this.#timers.set(address, timers = new Set());
    const own = timers;
    const timer = this.#parts.clock.after(ms, () => {
      own.delete(timer);
      if (this.#processes.has(address)) this.#guard(address, run);
    });
    own.add(timer);
    return {
      cancel() {
        own.delete(timer);
        timer.cancel();
      },
    };
  }

  #send(envelope: Envelope): void {
    const { node } = this.#book.halves(envelope.to);
    if (node === "") this.#enqueue(envelope);
    else this.#dispatch(node, envelope);
  }

  #watch(watcher: Address, target: Address): void {
    const isFirst = this.#monitors.add(watcher, target);
    const node = nodeOf(target);
    if (node === "") {
      if (!this.#processes.has(target)) this.#gone(target, "there is no such part");
    } else if (isFirst) {
      const letter: BusMessage = { kind: "watch", part: partOf(target) };
      this.#dispatch(node, { to: addressOf(node, ""), from: watcher, message: letter });
    }
  }

  /** Nobody here watches `target` any more. */
  #unwatched(target: Address): void {
    const node = nodeOf(target);
    if (node === "" || !this.#parts.present(node)) return;
    const letter: BusMessage = { kind: "unwatch", part: partOf(target) };
    this.#dispatch(node, { to: addressOf(node, ""), from: addressOf("", ""), message: letter });
  }

  /** A letter to the post office itself. */
  #control(letter: BusMessage, incarnation: string): void {
    if (letter.kind === "gone") {
      const target = addressOf(incarnation, letter.part);
      // After all that its part had sent before; before what another of that name sends.
      this.#enqueue(() => {
        for (const down of this.#downs(target, "it ended")) this.#deliver(down);
      });
    } else if (letter.kind === "unwatch") {
      this.#monitors.removeForeign(incarnation, letter.part);
    } else if (letter.kind === "watch") {
      if (!this.#processes.has(addressOf("", letter.part))) {
        this.#notThere(incarnation, letter.part);
      } else this.#monitors.addForeign(incarnation, letter.part);
    }
  }

  #notThere(incarnation: string, part: string): void {
    this.#dispatch(incarnation, {
      to: addressOf(incarnation, ""),
      from: addressOf("", ""),
      message: { kind: "gone", part },
    });
  }

  /** Tells all here who watch `target`. */
  #gone(target: Address, reason: string): void {
    for (const down of this.#downs(target, reason)) this.#enqueue(down);
  }

  #downs(target: Address, reason: string): Envelope[] {
    const letter: BusMessage = { kind: "down", address: target, reason };
    return this.#monitors.take(target).map((to) => ({ to, from: target, message: letter }));
  }

  #lost(incarnation: string, reason: string): void {
    this.#outboxes.delete(incarnation);
    for (const target of this.#monitors.targetsOn(incarnation)) this.#gone(target, reason);
  }

  /** Sends a letter to another node, or keeps it till there is a line. */
  #dispatch(incarnation: string, envelope: Envelope): void {
    if (this.#stopped) return;
    const line = this.#parts.present(incarnation);
    const outbox = this.#outboxes.get(incarnation);
    if (line) {
      if (outbox) this.#clear(incarnation, outbox, line);
      return this.#write(line, envelope);
    }
    if (outbox) {
      if (outbox.push(envelope) > MAX_OUTBOX) this.#lost(incarnation, "too many letters wait");
      return;
    }
    const peer = this.discovery.find(incarnation);
    // Later, as it always is: who writes and then watches hears of it too.
    if (!peer) return this.#enqueue(() => this.#lost(incarnation, "its address is not known"));
    this.#dial(peer, [envelope]);
  }

  #dial(peer: Peer, outbox: Envelope[]): void {
    const { incarnation } = peer;
    this.#outboxes.set(incarnation, outbox);
    this.#parts.dial(peer).then((line) => this.#clear(incarnation, outbox, line), (error) => {
      if (this.#outboxes.get(incarnation) !== outbox) return;
      // The peer's own dial may have been luckier: then it is in reach, and knows of no loss.
      const line = this.#parts.present(incarnation);
      if (line) this.#clear(incarnation, outbox, line);
      else this.#lost(incarnation, messageOf(error));
    });
  }

  /** Sends what waited for a line, unless that was done or given up meanwhile. */
  #clear(incarnation: string, outbox: readonly Envelope[], line: BusLink): void {
    if (this.#outboxes.get(incarnation) !== outbox) return;
    this.#outboxes.delete(incarnation);
    for (const envelope of outbox) this.#write(line, envelope);
  }

  #write(line: BusLink, { to, from, message: letter }: Envelope): void {
    try {
      const { letter: tuple, body } = writeMessage(letter, this.incarnation);
      const sent = line.post({
        kind: "post",
        id: 0,
        to: this.#book.halves(to).part,
        from: this.#book.halves(from).part,
        letter: tuple,
        body,
      });
      // What can't be sent must not be missing without a word: both ends hear of the end.
      if (!sent) line.close("letters are backed up");
    } catch (error) {
      this.#tell("warning", "letter not sent", { kind: letter.kind, why: messageOf(error) });
    }
  }

  #enqueue(item: Envelope | (() => void)): void {
    if (this.#stopped) return;
    this.#queue.push(item);
    if (this.#isReading || this.#yield.holds) return;
    this.#isReading = true;
    queueMicrotask(() => this.#readAll());
  }

  /** Reads what is there, as long as the breath lasts. */
  #readAll(): void {
    this.#isReading = true;
    let at = 0;
    for (; at < this.#queue.length && !this.#yield.holds; at++) {
      const item = this.#queue[at] as Envelope | (() => void);
      this.#yield.spend();
      if (typeof item === "function") item();
      else this.#deliver(item);
    }
    this.#queue = at === this.#queue.length ? [] : this.#queue.slice(at);
    this.#isReading = false;
  }

  #deliver({ to, from, message: letter }: Envelope): void {
    const part = this.#processes.get(to);
    if (!part) {
      const { node } = this.#book.halves(from);
      if (node !== "") this.#notThere(node, partOf(to));
      return;
    }
    try {
      part.receive(letter, from);
    } catch (error) {
      this.#failed(to, error);
    }
  }

  /** A part that throws is ended: it may have stopped half way. */
  #guard(address: Address, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#failed(address, error);
    }
  }

  #failed(address: Address, error: unknown): void {
    const fields = { part: partOf(address), reason: messageOf(error) };
    this.#tell("warning", "part failed", fields);
    this.#end(address, `${partOf(address)} failed`);
    const start = (): void => this.#enqueue(() => this.#restart(address));
    this.#restarts.failed(address, this.#parts.clock, start);
  }

  #restart(address: Address): void {
    const kept = this.#restarts.get(address);
    if (!kept || this.#stopped || this.#processes.has(address)) return;
    this.#tell("warning", "part restarted", { part: partOf(address) });
    try {
      this.spawn(partOf(address), kept.make());
      kept.restarted();
    } catch (error) {
      this.#failed(address, error);
    }
  }

  #tell(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
    this.#parts.onEvent({ level, event, fields });
  }
}

/** A line to another node, as the post office needs it. */
export interface BusLink {
  readonly peer: { readonly incarnation: string };
  post(message: PostMessage): boolean;
  close(reason: string): void;
}

/** What a post office is made of. */
export interface MessageBusParts {
  readonly clock: Clock;
  readonly random: Random;
  /** This node, in its present life. */
  readonly self: () => Peer;
  /** What the registry says of an incarnation. */
  readonly member: (incarnation: string) => Peer | undefined;
  /** The open line to a node. */
  readonly present: (incarnation: string) => BusLink | undefined;
  /** Opens one. */
  readonly dial: (peer: Peer) => Promise<BusLink>;
  /** Opens one to whoever answers at an address; null: this node itself. */
  readonly meet: (address: string) => Promise<BusLink | null>;
  readonly onEvent: (event: NodeEvent) => void;
}
