/**
 * Listener: a shopkeeper with so many hands. She tells the broker how many are free, and
 * lends them out to buyers, each at a counter of its own.
 *
 * Takes `open` of buyers, `shrunk` and `down` of its channels, `moved` and `ask`; gives `accept`
 * or `refuse`, opens channels, and has one sell order at the broker whose quantity is what is
 * free. All grants together are never more than the capacity: a channel that replaces
 * another gets its hands one by one, as the other one lets go of them.
 *
 * Source: design §5, Listener and Hot code load.
 */
import type { Deadlines } from "../time/deadlines.ts";
import { type Address, addressOf, BROKER } from "./address.ts";
import type { ListenerStats } from "./api.ts";
import { Channel, labelOf } from "./channel.ts";
import type { Letter, LetterOf } from "./letters.ts";
import type { Meter } from "./meter.ts";
import { accepts, isSameCode, type Module, rehashed } from "./module.ts";
import type { Order } from "./order.ts";
import { Part } from "./part.ts";

/** A channel, as its listener keeps it. */
interface Seat {
  readonly channel: Channel;
  readonly buyer: Address;
  readonly module: Module;
  /** Capacity in its hands; and what it was promised of its predecessor's. */
  grant: number;
  owed: number;
  /** The channel that gets what this one lets go of. */
  heir: Address | null;
}

export interface ListenerParts {
  readonly name: string;
  readonly module: Module;
  readonly capacity: number;
  readonly lowWatermark: number;
  readonly deadlines: Deadlines;
  readonly meter: Meter;
  /** It was closed, and all its channels are. */
  readonly onClosed: () => void;
}

export class ListenerPart extends Part {
  readonly #parts: ListenerParts;
  readonly #seats = new Map<Address, Seat>();
  #module: Module;
  /** The same as it was given, before it had to have a hash of its own. */
  #given: Module;
  #granted = 0;
  #order: Order | null = null;
  #isPlanned = false;
  #isClosing = false;

  constructor(parts: ListenerParts) {
    super();
    this.#parts = parts;
    this.#module = this.#given = parts.module;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  stats(): ListenerStats {
    const { name, capacity } = this.#parts;
    const channels = [...this.#seats.values()].map(({ channel }) => channel.stats());
    const codes = new Map([[this.#module.hash, this.#module]]);
    for (const { module } of [...this.#seats.values()].reverse()) codes.set(module.hash, module);
    const { version, hash } = this.#module;
    return {
      module: name,
      version,
      hash,
      capacity,
      granted: this.#granted,
      free: capacity - this.#granted,
      running: channels.reduce((sum, channel) => sum + channel.running, 0),
      codes: [...codes.values()].map(({ version, hash }) => ({ version, hash })),
      channels,
    };
  }

  /** New channels run `next`; old ones are told of it, and run what they ran. */
  update(next: Module): void {
    if (this.#isClosing || isSameCode(next, this.#given)) return;
    const former = this.#module;
    this.#module = this.#toldApart(next);
    this.#given = next;
    for (const channel of this.#seats.keys()) {
      this.desk.send(channel, { kind: "upgrade", label: labelOf(this.#module) });
    }
    this.#changed();
    this.#drop(former);
  }

  /**
   * The module under a hash that no other code in use has: buyers go by it, and hashes don't see
   * what functions close over.
   */
  #toldApart(next: Module): Module {
    const inUse = [this.#module, ...Array.from(this.#seats.values(), ({ module }) => module)];
    const isTaken = inUse.some((it) => it.hash === next.hash && !isSameCode(it, next));
    return isTaken ? rehashed(next, `${this.desk.self().incarnation} ${this.desk.draw()}`) : next;
  }

  /** Sells no more, and ends once all channels have drained. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#order) {
      this.desk.send(addressOf("", BROKER), { kind: "cancel", id: this.#order.id });
    }
    for (const channel of this.#seats.keys()) {
      this.desk.send(channel, { kind: "shut", reason: "the listener was closed" });
    }
    this.#leaveIfDone();
  }

  /** What still runs is given up. */
  halt(): void {
    for (const channel of this.#seats.keys()) {
      this.desk.send(channel, { kind: "halt", reason: "the listener was closed meanwhile" });
    }
  }

  protected override started(): void {
    this.#changed();
  }

  protected override stopped(): void {
    this.#parts.meter.granted -= this.#granted;
    this.#parts.onClosed();
  }

  receive(letter: Letter, from: Address): void {
    switch (letter.kind) {
      case "open":
        return this.#open(letter, from);
      case "shrunk":
        return this.#shrunk(from, letter.grant);
      case "down":
        return this.#down(letter.address);
      case "moved":
        return this.#changed(true);
      case "ask":
        return this.#answer(letter, from);
    }
  }

  #open({ nonce, want, range, replaces }: LetterOf<"open">, from: Address): void {
    const { name, capacity } = this.#parts;
    const free = capacity - this.#granted;
    const refuse = (why: string): void =>
      this.desk.send(from, { kind: "refuse", nonce, free: this.#isClosing ? 0 : free, why });
    if (this.#isClosing) return refuse(`${name} is no longer offered here`);
    const former = this.#formerOf(from, replaces);
    // Who doesn't take the new code, and only gives some back, stays on the old.
    const module = accepts(range, this.#module.version) ? this.#module : former?.module;
    if (!module) return refuse(`${name} is offered here in version ${this.#module.version}`);
    const grant = Math.min(want, free + (former ? former.grant + former.owed : 0));
    if (grant < 1) return refuse(`no capacity of ${name} is free here`);
    const seat = this.#seat(from, module, Math.min(grant, free), grant);
    if (former) this.#succeed(former, seat);
    this.desk.send(from, {
      kind: "accept",
      nonce,
      channel: seat.channel.address,
      grant,
      contact: this.desk.self(),
      label: labelOf(seat.module),
    });
    // After `accept`: credit is only of use to who knows the channel.
    this.desk.send(seat.channel.address, { kind: "resize", grant: seat.grant });
    this.#changed();
  }

  /** The buyer's own channel that is to be replaced, unless it is so already. */
  #formerOf(buyer: Address, replaces: Address | null): Seat | null {
    const seat = replaces === null ? undefined : this.#seats.get(replaces);
    return seat && seat.buyer === buyer && seat.heir === null ? seat : null;
  }

  /** A channel with `grant` at once, and the rest of `promised` from its predecessor. */
  #seat(buyer: Address, module: Module, grant: number, promised: number): Seat {
    const { name, lowWatermark, deadlines, meter } = this.#parts;
    const listener = this.address;
    const channel = new Channel({ name, module, buyer, listener, lowWatermark, deadlines, meter });
    const address = this.desk.hire(`channel.${this.desk.draw()}`, channel);
    const seat: Seat = { channel, buyer, module, grant: 0, owed: promised - grant, heir: null };
    this.#seats.set(address, seat);
    this.#give(seat, grant);
    this.desk.watch(address);
    return seat;
  }

  /** A channel takes another's place: also as heir of those that drain for it still. */
  #succeed(former: Seat, { channel: { address } }: Seat): void {
    for (const seat of this.#seats.values()) {
      if (seat.heir === former.channel.address) seat.heir = address;
    }
    former.heir = address;
    former.owed = 0;
  }

  #give(seat: Seat, more: number): void {
    seat.grant += more;
    this.#granted += more;
    this.#parts.meter.granted += more;
  }

  /** A channel that drains let go of some capacity: its heir's, as far as that was promised. */
  #shrunk(from: Address, grant: number): void {
    const seat = this.#seats.get(from);
    if (!seat || grant >= seat.grant) return;
    const freed = seat.grant - grant;
    this.#give(seat, -freed);
    const heir = seat.heir === null ? undefined : this.#seats.get(seat.heir);
    const moved = Math.min(freed, heir?.owed ?? 0);
    if (heir && moved > 0) {
      heir.owed -= moved;
      this.#give(heir, moved);
      this.desk.send(heir.channel.address, { kind: "resize", grant: heir.grant });
    }
    this.#changed();
  }

  #down(address: Address): void {
    const seat = this.#seats.get(address);
    if (!seat) return;
    this.#shrunk(address, 0);
    this.#seats.delete(address);
    this.#drop(seat.module);
    this.#leaveIfDone();
  }

  /** Tells, where code is in use no longer. */
  #drop({ hash, version }: Module): void {
    if (hash === this.#module.hash) return;
    for (const { module } of this.#seats.values()) if (module.hash === hash) return;
    this.desk.tell("info", "old code dropped", { module: this.#parts.name, version, hash });
  }

  #leaveIfDone(): void {
    if (!this.#isClosing || this.#seats.size > 0) return;
    this.desk.dismiss(this.address, "the listener was closed");
  }

  /** What is free or offered changed: the order follows, once for all letters that are here. */
  #changed(always: boolean = false): void {
    if (always) this.#order = this.#order && { ...this.#order, quantity: -1 };
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.desk.soon(() => {
      this.#isPlanned = false;
      if (!this.#isClosing) this.#sell();
    });
  }

  #sell(): void {
    const quantity = this.#parts.capacity - this.#granted;
    const { version } = this.#module;
    const former = this.#order;
    if (former && former.quantity === quantity && former.version === version) return;
    this.#order = {
      id: former?.id ?? this.desk.draw(),
      revision: (former?.revision ?? 0) + 1,
      side: "sell",
      module: this.#parts.name,
      quantity,
      nearby: 0,
      version,
      range: null,
      prefer: "near",
      regions: [],
      trader: this.address,
      contact: this.desk.self(),
    };
    this.desk.send(addressOf("", BROKER), { kind: "order", order: this.#order });
  }

  #answer({ nonce, what }: LetterOf<"ask">, from: Address): void {
    if (what !== "shop") return;
    const { capacity } = this.#parts;
    const running = [...this.#seats.values()].reduce(
      (sum, { channel }) => sum + channel.running,
      0,
    );
    this.desk.send(from, {
      kind: "shop",
      nonce,
      contact: this.desk.self(),
      label: labelOf(this.#module),
      capacity,
      granted: this.#granted,
      running,
    });
  }
}
