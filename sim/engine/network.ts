/**
 * The simulated network between nodes. Implements the port `Transport`: links are delayed,
 * congested, cut in one direction or broken, but deliver in order and at most once.
 *
 * Messages in flight on a link that breaks are lost; each end notices the break in its own time.
 *
 * Source: the port's contract, `src/ports/transport.ts`; TCP (RFC 9293) for what a break leaves
 * undone.
 */
import { AtlasError } from "../../src/errors.ts";
import type { Body } from "../../src/model/body.ts";
import { decodeMessage, type Message } from "../../src/model/envelope.ts";
import {
  ANYONE,
  type Link,
  type LinkHandlers,
  type LinkIdentity,
  type Peer,
  type Transport,
} from "../../src/ports/transport.ts";
import type { Path, Paths } from "./paths.ts";
import type { SimProcess } from "./process.ts";
import type { SeededRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

/** As in the WebSocket transport: the time limits of a handshake and of a silent link. */
const HANDSHAKE_MS = 5_000;
const KEEPALIVE_MS = 15_000;

/**
 * Receives each message that a process sends on a link, with the link's number; changes nothing.
 * `to` is the peer at the other end; `self` is the sender as the other end knows it.
 */
export type FrameListener = (
  link: number,
  from: string,
  message: Message,
  to: LinkIdentity,
  self: LinkIdentity | undefined,
) => void;

/** A message as it is sent. */
export interface LinkMessage {
  readonly tuple: readonly unknown[];
  readonly body: Body;
}

/** Replaces what is sent over a link and was decoded as `message`; gives what to send instead. */
export type MessageFault = (
  link: number,
  from: string,
  message: Message,
  sent: LinkMessage,
) => readonly LinkMessage[];

/** What the ends of a simulated link share with the network. */
interface NetworkContext {
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly paths: Paths;
  readonly frameListeners: readonly FrameListener[];
  readonly messageFault: MessageFault | null;
}

/** One end of a link. */
class LinkEnd implements Link {
  readonly peer: LinkIdentity;
  other: LinkEnd | null = null;
  isOpen = true;
  readonly process: SimProcess;
  readonly #exchange: NetworkContext;
  /** The link's number, which both ends share. */
  readonly #link: number;
  readonly #path: Path;
  readonly #onClose: (end: LinkEnd) => void;
  #handlers: LinkHandlers | null = null;
  /** Messages that arrived before {@link start}. */
  #early: (() => void)[] = [];
  /** When the last message sent arrives: later ones don't overtake it. */
  #lastArrival = 0;
  /** Messages of this tick, which travel together. */
  #frame: LinkMessage[] | null = null;
  #frameTick = -1;
  /** Whether its owner was notified that it ended. */
  #isOver = false;

  constructor(
    exchange: NetworkContext,
    link: number,
    process: SimProcess,
    peer: LinkIdentity,
    path: Path,
    onClose: (end: LinkEnd) => void,
  ) {
    this.#exchange = exchange;
    this.#link = link;
    this.process = process;
    this.peer = peer;
    this.#path = path;
    this.#onClose = onClose;
  }

  start(handlers: LinkHandlers): void {
    this.#handlers = handlers;
    const early = this.#early;
    this.#early = [];
    for (const come of early) this.#exchange.scheduler.after(0, () => this.process.enter(come));
  }

  send(tuple: readonly unknown[], body: Body): boolean {
    if (!this.isOpen || !this.process.isAlive) return false;
    const text = JSON.stringify(tuple);
    // Copied by its codec, as on the wire.
    const copy = typeof body === "string" ? body : new Uint8Array(body);
    const message: LinkMessage = { tuple: JSON.parse(text) as unknown[], body: copy };
    this.#exchange.trace.note("send", this.process.id, this.peer.node, text.length + body.length);
    for (const sent of this.#heard(message)) this.#queue(sent);
    return true;
  }

  /** What to send, after all listeners have received the message. */
  #heard(sent: LinkMessage): readonly LinkMessage[] {
    const { frameListeners, messageFault } = this.#exchange;
    if (frameListeners.length === 0 && !messageFault) return [sent];
    const message = decodeMessage(sent.tuple, sent.body);
    const { id } = this.process;
    for (const hear of frameListeners) hear(this.#link, id, message, this.peer, this.other?.peer);
    return messageFault?.(this.#link, id, message, sent) ?? [sent];
  }

  #queue(message: LinkMessage): void {
    if (this.#frame && this.#frameTick === this.#exchange.scheduler.events) {
      this.#frame.push(message);
    } else this.#sendFrame([message]);
  }

  close(reason: string): void {
    if (!this.isOpen || !this.process.isAlive) return;
    this.#frame = null;
    this.#transmit(() => this.other?.ended(reason));
    this.#exchange.scheduler.after(0, () => this.#tell(reason));
    this.isOpen = false;
    this.#onClose(this);
  }

  /** Breaks the link: messages in flight are lost, and this end notices after `ms`. */
  tear(ms: number): void {
    this.#frame = null;
    this.#exchange.scheduler.after(ms, () => this.ended("the connection was reset"));
  }

  /** The link has ended for this end. */
  ended(reason: string): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#onClose(this);
    this.#tell(reason);
  }

  #tell(reason: string): void {
    this.#come(() => {
      this.#isOver = true;
      this.#handlers?.close(reason);
    });
  }

  #sendFrame(frame: LinkMessage[]): void {
    this.#frame = frame;
    this.#frameTick = this.#exchange.scheduler.events;
    this.#transmit(() => {
      const to = this.other;
      // Broken links lose messages in flight; the other end may have closed too.
      if (!to || !to.isOpen || to.other !== this) return;
      to.#come(() => {
        for (const { tuple, body } of frame) if (!to.#isOver) to.#handlers?.message(tuple, body);
      });
    });
  }

  /** Carries a message to the other end, after all earlier ones. */
  #transmit(arrive: () => void): void {
    const { scheduler } = this.#exchange;
    this.#path.whenOpen(() => {
      this.#lastArrival = Math.max(this.#lastArrival, scheduler.now + this.#path.streamDelay());
      scheduler.at(this.#lastArrival, arrive);
    });
  }

  #come(run: () => void): void {
    if (this.#handlers) this.process.enter(run);
    else this.#early.push(run);
  }
}

/** The listener of a process. */
interface ListeningNode {
  readonly address: string;
  readonly process: SimProcess;
  self: LinkIdentity;
  accept: (link: Link) => void;
}

export class SimNetwork implements NetworkContext {
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly paths: Paths;
  readonly frameListeners: FrameListener[] = [];
  messageFault: MessageFault | null = null;
  readonly #random: SeededRandom;
  /** The process of each incarnation that ever opened a transport. */
  readonly lives: Map<string, string> = new Map();
  #links = 0;
  readonly #listeners = new Map<string, ListeningNode>();
  readonly #ends = new Set<LinkEnd>();
  /** Tokens of faults that make every dial fail. */
  readonly #refusals = new Set<object>();

  constructor(scheduler: Scheduler, trace: Trace, paths: Paths, random: SeededRandom) {
    this.scheduler = scheduler;
    this.trace = trace;
    this.paths = paths;
    this.#random = random;
  }

  /** A transport for one process, listening at an address of its own. */
  transport(process: SimProcess): Transport {
    process.onEnd(() => this.#crashed(process));
    return new SimTransport(this, process);
  }

  listen(listener: ListeningNode): void {
    // A new incarnation is the latest one again.
    this.#listeners.delete(listener.address);
    this.#listeners.set(listener.address, listener);
    this.lives.set(listener.self.incarnation, listener.process.id);
  }

  /** The listener at an address; at a machine's address, the one that began last. */
  #listening(address: string): ListeningNode | undefined {
    const found = this.#listeners.get(address);
    if (found) return found;
    const there = [...this.#listeners.values()].filter(({ process }) =>
      addressOf(process.host) === address
    );
    return there.at(-1);
  }

  unlisten(address: string): void {
    this.#listeners.delete(address);
  }

  /** Calls `listener` with all messages between nodes. */
  onFrame(ear: FrameListener): void {
    this.frameListeners.push(ear);
  }

  /** Open ends of a process whose other end is gone: keepalives will close them later. */
  orphans(process: SimProcess): number {
    let orphans = 0;
    for (const { process: owner, isOpen, other } of this.#ends) {
      const isHeld = other?.isOpen === true && other.process.isAlive;
      if (owner === process && isOpen && !isHeld) orphans++;
    }
    return orphans;
  }

  /** Breaks the links between two machines. */
  tear(a: string, b: string): void {
    for (const end of [...this.#ends]) {
      if (end.process.host === a && end.other?.process.host === b) this.#tear(end);
    }
  }

  /** Makes every dial fail until `token` is given to {@link allowDials}. */
  refuseDials(token: object): void {
    this.#refusals.add(token);
  }

  allowDials(token: object): void {
    this.#refusals.delete(token);
  }

  clear(): void {
    this.#refusals.clear();
    this.paths.clear();
  }

  /** Closes the links of a process's former incarnation. */
  closeAll(process: SimProcess, reason: string): void {
    for (const end of [...this.#ends]) if (end.process === process) end.close(reason);
  }

  /** Dials; `dials` holds the ends of dials in progress, in case the dialling process aborts. */
  dial(
    process: SimProcess,
    self: LinkIdentity,
    peer: Peer,
    dials: Set<(why: string) => void>,
  ): Promise<Link> {
    return new Promise((resolve, reject) => {
      let isSettled = false;
      const settle = (finish: () => void, late?: () => void): void => {
        process.enter(() => {
          if (isSettled) return late?.();
          isSettled = true;
          dials.delete(fail);
          finish();
        });
      };
      const fail = (why: string): void =>
        settle(() => reject(new AtlasError("unavailable", `${peer.address}: ${why}`)));
      dials.add(fail);
      this.scheduler.after(HANDSHAKE_MS, () => fail("nobody answered in time"));
      const host = hostOf(peer.address);
      const out = this.paths.from(process.host, host);
      const back = this.paths.from(host, process.host);
      const answer = (run: () => void): void =>
        back.whenOpen(() => this.scheduler.after(back.streamDelay(), run));
      out.whenOpen(() => {
        // The handshake takes three messages.
        const ms = out.streamDelay() + back.delay() + out.delay();
        this.scheduler.after(ms, () => {
          const listener = this.#listening(peer.address);
          if (!listener || !listener.process.isAlive || this.#refusals.size > 0) {
            return answer(() => fail("the connection was refused"));
          }
          listener.process.enter(() => {
            // By now the process may have begun another incarnation.
            const present = this.#listeners.get(listener.address) ?? listener;
            if (![present.self.incarnation, ANYONE].includes(peer.incarnation)) {
              return answer(() => fail("somebody else answered"));
            }
            const here = this.#connect(process, self, present);
            answer(() => {
              if (!process.isAlive) return this.#abandon(here);
              // A paused process may find when it resumes that its time limit has passed.
              settle(
                () => here.isOpen ? resolve(here) : reject(closedWhileDialled(peer)),
                () => this.#abandon(here),
              );
            });
          });
        });
      });
    });
  }

  /** Makes both ends and gives the far one to its listener, whose process is running. */
  #connect(process: SimProcess, self: LinkIdentity, listener: ListeningNode): LinkEnd {
    const onClose = (end: LinkEnd): void => void this.#ends.delete(end);
    const { host } = listener.process;
    const out = this.paths.from(process.host, host);
    const back = this.paths.from(host, process.host);
    const link = ++this.#links;
    const here = new LinkEnd(this, link, process, listener.self, out, onClose);
    const there = new LinkEnd(this, link, listener.process, self, back, onClose);
    here.other = there;
    there.other = here;
    this.#ends.add(here).add(there);
    this.trace.note("link", process.id, listener.process.id);
    listener.accept(there);
    return here;
  }

  /** The dialling side has aborted before the link was open. */
  #abandon(here: LinkEnd): void {
    here.isOpen = false;
    this.#ends.delete(here);
    here.other?.tear(this.#random.between(0, 100));
  }

  #tear(end: LinkEnd): void {
    const { other } = end;
    end.other = null;
    if (other) other.other = null;
    end.tear(this.#random.between(0, 500));
    other?.tear(this.#random.between(0, 500));
  }

  /** A process died: its machine resets its links, or is down too and sends nothing. */
  #crashed(process: SimProcess): void {
    for (const [address, listener] of this.#listeners) {
      if (listener.process === process) this.#listeners.delete(address);
    }
    const isSilent = this.#random.chance(0.4);
    for (const end of [...this.#ends]) {
      if (end.process !== process) continue;
      this.#ends.delete(end);
      end.isOpen = false;
      const ms = isSilent ? KEEPALIVE_MS : this.#random.between(0, 20);
      end.other?.tear(ms);
    }
  }
}

function closedWhileDialled(peer: Peer): AtlasError {
  return new AtlasError("unavailable", `${peer.address}: it closed the link`);
}

export class SimTransport implements Transport {
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #process: SimProcess;
  #self: LinkIdentity | null = null;
  #isClosed = false;
  readonly #dials = new Set<(why: string) => void>();

  constructor(network: SimNetwork, process: SimProcess) {
    this.#network = network;
    this.#process = process;
    this.address = `${addressOf(process.host)}/${process.id}`;
  }

  async open(self: LinkIdentity, accept: (link: Link) => void): Promise<void> {
    if (this.#isClosed) throw new AtlasError("unavailable", "the transport is closed");
    this.#hangUp("a new life began");
    this.#self = self;
    this.#network.listen({ address: this.address, process: this.#process, self, accept });
  }

  async dial(peer: Peer): Promise<Link> {
    const self = this.#self;
    if (!self || this.#isClosed) throw new AtlasError("unavailable", "the transport is closed");
    return await this.#network.dial(this.#process, self, peer, this.#dials);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#network.unlisten(this.address);
    this.#hangUp("the node closed");
  }

  #hangUp(why: string): void {
    for (const fail of [...this.#dials]) fail(why);
    this.#network.closeAll(this.#process, why);
  }
}

/** The address of a machine, for a peer that knows no process of it. */
export function addressOf(host: string): string {
  return `sim://${host}`;
}

/** The machine of an address. */
export function hostOf(address: string): string {
  return address.slice("sim://".length).split("/")[0] ?? "";
}
