/**
 * The message bus of a node: delivers messages between its processes, and to processes of other
 * nodes over their links.
 *
 * Each process receives the messages of one sender in the order in which they were sent, one at a
 * time, never while it handles another. A message either arrives, or every process that watches its
 * receiver gets a `down`. A process that throws is stopped, and restarted if it must exist.
 * Remembers the addresses of nodes that messages name.
 *
 * Source: `docs/design.md`, Modules; Erlang's monitors and signal order for `watch` and `down`.
 */
import { messageOf } from "../../errors.ts";
import { MAX_CONTACTS, MAX_OUTBOX } from "../../limits.ts";
import type { Body } from "../../model/body.ts";
import type { ProcessMessage } from "../../model/envelope.ts";
import type { NodeEvent } from "../../model/node_event.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { Random } from "../../ports/random.ts";
import type { Peer } from "../../ports/transport.ts";
import { ReadLoopYield } from "../../time/event_loop_yield.ts";
import { type Address, AddressCache, addressOf, nodeOf, processOf } from "./address.ts";
import {
  type BusMessage,
  contactsIn,
  type MessageKind,
  readMessage,
  writeMessage,
} from "./messages.ts";
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
  readonly #addresses = new AddressCache();
  /** Messages for nodes that are being dialled. */
  readonly #outboxes = new Map<string, Envelope[]>();
  #queue: (Envelope | (() => void))[] = [];
  #isReading = false;
  readonly #yield: ReadLoopYield;
  #lastId = 0;
  #stopped = false;

  constructor(parts: MessageBusParts) {
    this.#parts = parts;
    this.discovery = new Discovery(parts.member);
    this.#yield = new ReadLoopYield(parts.clock, () => this.#readAll());
  }

  /** Starts a process under `name`, which no running process may have. */
  spawn(name: string, instance: Process): Address {
    const address = addressOf("", name);
    this.#processes.set(address, instance);
    instance.begin(this.#contextOf(address));
    return address;
  }

  /**
   * Starts a process that must exist: it is replaced when it fails.
   *
   * @param restarted runs after each restart
   */
  keep(name: string, make: () => Process, restarted: () => void = () => {}): Address {
    this.#restarts.keep(addressOf("", name), make, restarted);
    return this.spawn(name, make());
  }

  /** Stops a process: cancels its timers and sends `down` to the processes that watch it. */
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
    for (const target of this.#monitors.removeWatcher(address)) this.#sendUnwatch(target);
    try {
      ended.end(reason, !this.#restarts.has(address));
    } catch (error) {
      this.#log("warning", "process failed", {
        process: processOf(address),
        reason: messageOf(error),
      });
    }
    this.#notifyMonitors(address, reason);
    const name = processOf(address);
    for (const node of this.#monitors.takeForeign(name)) this.#sendMonitorDown(node, name);
  }

  /** This node's present incarnation. */
  get incarnation(): string {
    return this.#parts.incarnation();
  }

  /** Sends a message from outside any process. */
  send(to: Address, message: BusMessage): void {
    this.#send(to, addressOf("", ""), message);
  }

  /**
   * The incarnation that answers at an address, over an open link or a new one; null: this node.
   *
   * @throws AtlasError `unavailable`, and what dialling throws
   */
  async meet(address: string): Promise<string | null> {
    const { self, present, meet } = this.#parts;
    if (address === self().address) return null;
    const known = this.discovery.at(address).find((incarnation) => present(incarnation));
    if (known !== undefined) return known;
    const found = (await meet(address))?.peer.incarnation ?? null;
    // A node may answer at an address that it does not publish. Remembering that address avoids a
    // second link.
    if (found !== null) this.discovery.met(address, found);
    return found;
  }

  /** A message of a peer arrived. */
  arrived(wire: ProcessMessage, link: BusLink): void {
    const { incarnation } = link.peer;
    const { to, from } = wire;
    const self = this.incarnation;
    let message: BusMessage;
    try {
      message = readMessage(wire.content, payloadOf(wire.body), self);
    } catch (error) {
      return this.#log("warning", "message refused", { from: incarnation, why: messageOf(error) });
    }
    for (const contact of contactsIn(message)) {
      if (contact.incarnation !== self) this.discovery.learn(contact);
    }
    if (to === "") return this.#control(message, incarnation);
    if (message.kind === "monitor_down" || message.kind === "watch" || message.kind === "unwatch") {
      return;
    }
    const cache = this.#addresses;
    const receiver = cache.join("", to);
    const sender = cache.join(incarnation, from);
    const { kind } = message;
    countCall(link, kind);
    if (kind === "reply" || kind === "request" || kind === "credit") {
      this.#take(receiver, sender, message);
    } else this.#enqueue({ to: receiver, from: sender, message });
  }

  /** A link to a peer closed: messages may be lost, so all its processes count as gone. */
  closed(incarnation: string): void {
    this.#nodeLost(incarnation, "its node can't be reached");
    // The peer may be alive and watch over a newer link. It gets a `down` now, and again if that
    // link breaks too.
    const isPresent = this.#parts.present(incarnation) !== undefined;
    for (const name of this.#monitors.watchedBy(incarnation)) {
      if (isPresent) this.#sendMonitorDown(incarnation, name);
      else this.#monitors.removeForeign(incarnation, name);
    }
  }

  /** Stops all processes. */
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
      nextId: () => ++this.#lastId,
      send: (to, message) => this.#send(to, address, message),
      watch: (to) => this.#watch(address, to),
      unwatch: (to) => {
        if (this.#monitors.remove(address, to)) this.#sendUnwatch(to);
      },
      spawn: (name, process) => this.spawn(name, process),
      stop: (process, reason) => this.stopProcess(process, reason),
      defer: (run) =>
        this.#enqueue(() => {
          if (this.#processes.has(address)) this.#guard(address, run);
        }),
      resume: (run) => {
        if (this.#processes.has(address)) this.#guard(address, run);
      },
      after: (ms, run) => this.#after(address, ms, run),
      log: (level, event, fields) => this.#log(level, event, fields),
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

  #send(to: Address, from: Address, message: BusMessage): void {
    const { node, process } = this.#addresses.split(to);
    if (node === "") return this.#enqueue({ to, from, message });
    const link = this.#outboxes.size === 0 && !this.#stopped && this.#parts.present(node);
    if (link) this.#write(link, process, from, message);
    else this.#dispatch(node, { to, from, message });
  }

  /**
   * Delivers a call's message of a peer: at once, unless others are before it or one is handled now.
   * Messages of the market wait for the end of the job, so that an exchange sees all orders of a
   * frame before it matches them.
   */
  #take(to: Address, from: Address, message: BusMessage): void {
    if (this.#isReading || this.#yield.holds || this.#queue.length > 0) {
      return this.#enqueue({ to, from, message });
    }
    if (this.#stopped) return;
    this.#isReading = true;
    this.#yield.spend();
    this.#deliver(to, from, message);
    this.#isReading = false;
    if (this.#queue.length > 0) this.#readSoon();
  }

  #watch(watcher: Address, target: Address): void {
    const isFirst = this.#monitors.add(watcher, target);
    const node = nodeOf(target);
    if (node === "") {
      if (!this.#processes.has(target)) this.#notifyMonitors(target, "no such process");
    } else if (isFirst) {
      const message: BusMessage = { kind: "watch", process: processOf(target) };
      this.#dispatch(node, { to: addressOf(node, ""), from: watcher, message });
    }
  }

  /** No process here watches `target` any more. */
  #sendUnwatch(target: Address): void {
    const node = nodeOf(target);
    if (node === "" || !this.#parts.present(node)) return;
    const message: BusMessage = { kind: "unwatch", process: processOf(target) };
    this.#dispatch(node, { to: addressOf(node, ""), from: addressOf("", ""), message });
  }

  /** A message to the bus itself. */
  #control(message: BusMessage, incarnation: string): void {
    if (message.kind === "monitor_down") {
      const target = addressOf(incarnation, message.process);
      // Sent after everything that the process sent, and before anything that its successor of that
      // name sends.
      this.#enqueue(() => {
        for (const down of this.#takeDowns(target, "it ended")) {
          this.#deliver(down.to, down.from, down.message);
        }
      });
    } else if (message.kind === "unwatch") {
      this.#monitors.removeForeign(incarnation, message.process);
    } else if (message.kind === "watch") {
      if (!this.#processes.has(addressOf("", message.process))) {
        this.#sendMonitorDown(incarnation, message.process);
      } else this.#monitors.addForeign(incarnation, message.process);
    }
  }

  #sendMonitorDown(incarnation: string, name: string): void {
    this.#dispatch(incarnation, {
      to: addressOf(incarnation, ""),
      from: addressOf("", ""),
      message: { kind: "monitor_down", process: name },
    });
  }

  /** Sends `down` to all processes here that watch `target`. */
  #notifyMonitors(target: Address, reason: string): void {
    for (const down of this.#takeDowns(target, reason)) this.#enqueue(down);
  }

  #takeDowns(target: Address, reason: string): Envelope[] {
    const message: BusMessage = { kind: "down", address: target, reason };
    return this.#monitors.take(target).map((to) => ({ to, from: target, message }));
  }

  #nodeLost(incarnation: string, reason: string): void {
    this.#outboxes.delete(incarnation);
    for (const target of this.#monitors.targetsOn(incarnation)) {
      this.#notifyMonitors(target, reason);
    }
  }

  /** Sends a message to another node, or queues it until a link is open. */
  #dispatch(incarnation: string, envelope: Envelope): void {
    if (this.#stopped) return;
    const link = this.#parts.present(incarnation);
    const outbox = this.#outboxes.get(incarnation);
    if (link) {
      if (outbox) this.#flush(incarnation, outbox, link);
      return this.#writeEnvelope(link, envelope);
    }
    if (outbox) {
      if (outbox.push(envelope) > MAX_OUTBOX) {
        this.#nodeLost(incarnation, "too many messages are queued");
      }
      return;
    }
    const peer = this.discovery.find(incarnation);
    // Deferred, so that a process that sends first and watches afterwards also gets the `down`.
    if (!peer) return this.#enqueue(() => this.#nodeLost(incarnation, "its address is not known"));
    this.#dial(peer, [envelope]);
  }

  #dial(peer: Peer, outbox: Envelope[]): void {
    const { incarnation } = peer;
    this.#outboxes.set(incarnation, outbox);
    this.#parts.dial(peer).then((link) => this.#flush(incarnation, outbox, link), (error) => {
      if (this.#outboxes.get(incarnation) !== outbox) return;
      // The peer may have dialled this node meanwhile. Then it is reachable, and nothing was lost.
      const link = this.#parts.present(incarnation);
      if (link) this.#flush(incarnation, outbox, link);
      else this.#nodeLost(incarnation, messageOf(error));
    });
  }

  /** Sends what was queued for a link, unless it was sent or dropped meanwhile. */
  #flush(incarnation: string, outbox: readonly Envelope[], link: BusLink): void {
    if (this.#outboxes.get(incarnation) !== outbox) return;
    this.#outboxes.delete(incarnation);
    for (const envelope of outbox) this.#writeEnvelope(link, envelope);
  }

  #writeEnvelope(link: BusLink, { to, from, message }: Envelope): void {
    this.#write(link, this.#addresses.split(to).process, from, message);
  }

  /** Sends a message to this process of the link's peer. */
  #write(link: BusLink, receiver: string, from: Address, message: BusMessage): void {
    try {
      const { tuple, body } = writeMessage(message, this.incarnation);
      const sender = this.#addresses.split(from).process;
      const sent = link.sendToProcess(receiver, sender, tuple, body);
      if (sent) countCall(link, message.kind);
      // A message must not be lost silently: closing the link notifies both ends.
      else link.close("the send buffer is full");
    } catch (error) {
      this.#log("warning", "message not sent", { kind: message.kind, why: messageOf(error) });
    }
  }

  #enqueue(item: Envelope | (() => void)): void {
    if (this.#stopped) return;
    this.#queue.push(item);
    if (!this.#isReading) this.#readSoon();
  }

  #readSoon(): void {
    if (this.#yield.holds) return;
    this.#isReading = true;
    queueMicrotask(() => this.#readAll());
  }

  /** Delivers queued messages until it has to yield to the event loop. */
  #readAll(): void {
    this.#isReading = true;
    let at = 0;
    for (; at < this.#queue.length && !this.#yield.holds; at++) {
      const item = this.#queue[at] as Envelope | (() => void);
      this.#yield.spend();
      if (typeof item === "function") item();
      else this.#deliver(item.to, item.from, item.message);
    }
    this.#queue = at === this.#queue.length ? [] : this.#queue.slice(at);
    this.#isReading = false;
  }

  #deliver(to: Address, from: Address, message: BusMessage): void {
    const receiver = this.#processes.get(to);
    if (!receiver) {
      const { node } = this.#addresses.split(from);
      if (node !== "") this.#sendMonitorDown(node, processOf(to));
      return;
    }
    try {
      receiver.receive(message, from);
    } catch (error) {
      this.#failed(to, error);
    }
  }

  /** A process that throws is stopped: its state may be inconsistent. */
  #guard(address: Address, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#failed(address, error);
    }
  }

  #failed(address: Address, error: unknown): void {
    const fields = { process: processOf(address), reason: messageOf(error) };
    this.#log("warning", "process failed", fields);
    this.#end(address, `${processOf(address)} failed`);
    const start = (): void => this.#enqueue(() => this.#restart(address));
    this.#restarts.failed(address, this.#parts.clock, start);
  }

  #restart(address: Address): void {
    const kept = this.#restarts.get(address);
    if (!kept || this.#stopped || this.#processes.has(address)) return;
    this.#log("warning", "process restarted", { process: processOf(address) });
    try {
      this.spawn(processOf(address), kept.make());
      kept.restarted();
    } catch (error) {
      this.#failed(address, error);
    }
  }

  #log(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
    this.#parts.onEvent({ level, event, fields });
  }
}

/** Counts a request that is sent over a link in either direction, or its answer. */
function countCall(link: BusLink, kind: MessageKind): void {
  if (kind === "request") link.moduleCalls++;
  else if ((kind === "reply" || kind === "failure") && link.moduleCalls > 0) link.moduleCalls--;
}

/** What the bus needs of a link to another node. */
export interface BusLink {
  readonly peer: { readonly incarnation: string };
  /**
   * About the number of calls that are not answered yet, in both directions: by it the link divides
   * its messages into frames. A request that no process took counts until the link closes.
   */
  moduleCalls: number;
  sendToProcess(to: string, from: string, content: readonly unknown[], body: Body): boolean;
  close(reason: string): void;
}

/** The dependencies of a message bus. */
export interface MessageBusParts {
  readonly clock: Clock;
  readonly random: Random;
  /** This node, with its current incarnation. */
  readonly self: () => Peer;
  /** The incarnation of {@link self}; read for each message. */
  readonly incarnation: () => string;
  /** Looks an incarnation up in the membership view. */
  readonly member: (incarnation: string) => Peer | undefined;
  /** The open link to a node. */
  readonly present: (incarnation: string) => BusLink | undefined;
  /** Opens a link. */
  readonly dial: (peer: Peer) => Promise<BusLink>;
  /** Opens a link to the node that answers at an address; null: this node. */
  readonly meet: (address: string) => Promise<BusLink | null>;
  readonly onEvent: (event: NodeEvent) => void;
}

/**
 * Remembers where nodes can be dialled.
 *
 * Learns contacts from the messages of brokers, authorities and traders, and asks the registry's
 * membership about nodes that no message named. The latest contact of a node counts; the entries
 * not mentioned for longest are evicted first. Source: `docs/design.md`, Modules.
 */
export class Discovery {
  readonly #contacts = new Map<string, Peer>();
  /**
   * By address, the node that answered there last. A node may answer at an address that it does not
   * publish.
   */
  readonly #answered = new Map<string, string>();
  readonly #membership: (incarnation: string) => Peer | undefined;

  /** @param membership looks an incarnation up in this node's membership view. */
  constructor(membership: (incarnation: string) => Peer | undefined) {
    this.#membership = membership;
  }

  learn({ region, node, incarnation, address }: Peer): void {
    this.#contacts.delete(incarnation);
    this.#contacts.set(incarnation, { region, node, incarnation, address });
    evictOldest(this.#contacts);
  }

  /** A node answered at an address. */
  met(address: string, incarnation: string): void {
    this.#answered.delete(address);
    this.#answered.set(address, incarnation);
    evictOldest(this.#answered);
  }

  find(incarnation: string): Peer | undefined {
    return this.#contacts.get(incarnation) ?? this.#membership(incarnation);
  }

  /** Incarnations that answered at, or published, `address`; the likeliest first. */
  at(address: string): string[] {
    const published = [...this.#contacts.values()].filter((contact) => contact.address === address)
      .map((contact) => contact.incarnation).reverse();
    const answered = this.#answered.get(address);
    return answered === undefined ? published : [answered, ...published];
  }
}

function evictOldest(map: Map<string, unknown>): void {
  if (map.size <= MAX_CONTACTS) return;
  const [oldest] = map.keys();
  map.delete(oldest as string);
}
