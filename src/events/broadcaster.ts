/**
 * The connections of a resource at its owner, and its last events.
 *
 * What a turn says is kept aside until the turn is committed; only then it gets its numbers
 * and goes out. Numbers never repeat: an upper bound of them is in the resource's state, and
 * whoever owns it next counts on from there. Takes connections from the nodes that hold their
 * sockets, and brings about turns of the resource's hooks. Source: design §2, §3 (State).
 */
import { AtlasError } from "../errors.ts";
import { DOOR_PATIENCE_MS, EVENT_BLOCK, MAX_CONNECTIONS, MAX_EVENT_BYTES, MAX_REPLAY_BYTES, MAX_REPLAY_EVENTS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import type { Admission, Applicant } from "../model/internal_methods.ts";
import type { Ownership } from "../model/ownership.ts";
import { encodeValue, textToCount } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { TurnStorage } from "../resource/storage.ts";
import type { Deadlines } from "../time/timer_wheel.ts";
import { pause } from "../time/wait.ts";
import { ConnectionRecords } from "./connection_records.ts";
import { type Errand, NOWHERE, Visit } from "./hook_call.ts";
import { Replay, type Share, type Unsent } from "./replay_buffer.ts";
import { type Attended, DoorSide, type Usher } from "./subscriber.ts";
import type { Connection } from "../api/resource.ts";

/** The field of a resource's state that holds the bound; users' keys are in another space. */
const BOUND = "q:bound";
/** The field of the last events, written where a resource with connections stops in good order. */
const TAIL = "q:tail";

/** What a connection that is joined is told: the last event's number, and up to which some are lost. */
interface Joined {
  readonly seq: number;
  readonly lost: number | null;
}

/** What an audience needs of the house. */
export interface AudienceParts {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly usher: Usher;
  readonly store: Store;
  readonly stats: { events: number };
}

/** What an audience needs of the activation whose audience it is. */
export interface Performance {
  readonly key: string;
  readonly owner: Ownership;
  /** Whether it has an `onDisconnect`. */
  readonly hearsEnds: boolean;
  readonly book: { readonly storage: TurnStorage };
  deliver(call: Call): void;
  /** Refuses users' code that belongs to no turn of it. @throws AtlasError `bad_request` */
  turn(what: string): unknown;
}

export class Audience implements Speaker, Attended {
  readonly #parts: AudienceParts;
  readonly #of: Performance;
  /** What was sent; null before the state has been asked how far its numbers go. */
  #replay: Replay | null = null;
  /** Numbers up to this one are reserved in the state; and by the running turn's commit. */
  #bound = 0;
  #promised = 0;
  /** Whether the state has events of a former owner; whether this one sent any; to anybody. */
  #hasTail = false;
  #hasSpoken = false;
  #wasHeard = false;
  #said: Said[] = [];
  #bytes = 0;
  readonly #seats = new Map<string, Seated>();
  readonly #doors = new Map<string, DoorSide>();
  /** Null where none are kept. */
  readonly #records: ConnectionRecords | null = null;
  readonly #admissions = new WeakMap<Visit, Joined>();
  #isLast = false;
  #over = false;

  constructor(parts: AudienceParts, of: Performance) {
    this.#parts = parts;
    this.#of = of;
    if (!of.hearsEnds) return;
    this.#records = new ConnectionRecords({
      ...parts,
      key: of.key,
      storage: () => of.book.storage,
      turn: (hook, errand) => this.#turn(hook, errand),
      attend: () => parts.usher.attend(this),
      isHere: (id) => this.#seats.has(id),
      end: (id) => {
        const seated = new Seated(this, id, "", true);
        seated.isGone = true;
        return (it) => it.onDisconnect(seated);
      },
    });
  }

  /** Connections now, and those of former owners of which it isn't known whether they come back. */
  get size(): number {
    return this.#seats.size + (this.#records?.absent ?? 0);
  }

  get connections(): Iterable<Connection> {
    return [...this.#seats.values()];
  }

  /** The number of the last event. */
  get seq(): number {
    return this.#replay?.last ?? 0;
  }

  /** Whether the running turn has anything to send, or to keep for the next owner. */
  get hasNews(): boolean {
    return this.#said.length > 0 ||
      (this.#isLast && (this.#hasSpoken || this.seq !== this.#bound));
  }

  /** Says something to one connection, or to all, once the running turn is committed. */
  say(data: unknown, to: Seated | null): void {
    this.#checkTurn();
    const bytes = encodeValue(data, "the event", MAX_EVENT_BYTES);
    this.#bytes += bytes.length;
    if (this.#bytes > MAX_REPLAY_BYTES || this.#said.length >= MAX_REPLAY_EVENTS) {
      throw tooMuch();
    }
    if (!to?.isGone) this.#said.push({ to, data: bytes });
  }

  dismiss(to: Seated, reason: string): void {
    this.#checkTurn();
    if (!to.isGone) this.#said.push({ to, reason });
  }

  /** Before the running turn's commit: reserves the numbers that its events need. */
  async seal(): Promise<void> {
    const replay = await this.#open();
    const count = this.#said.filter((said) => "data" in said).length;
    if (!this.#isLast && replay.last + count <= this.#bound) return;
    this.#promised = replay.last + count + (this.#isLast ? 0 : EVENT_BLOCK);
    const { storage } = this.#of.book;
    storage.reserve(BOUND, String(this.#promised));
    if (this.#isLast && this.#wasHeard) {
      storage.reserve(TAIL, replay.tail(eventsOf(this.#said, this.#of.owner.epoch)));
    } else if (this.#hasTail) storage.reserve(TAIL, null);
  }

  /** The running turn is committed, and its owner still is one: what it said goes out. */
  publish(): void {
    this.#bound = Math.max(this.#bound, this.#promised);
    const { epoch } = this.#of.owner;
    const farewells: Seated[] = [];
    for (const said of this.#said) {
      if ("reason" in said) {
        this.#doors.get(said.to.door)?.close(said.to.id, said.reason);
        farewells.push(said.to);
      } else if (!said.to?.isGone) {
        this.#replay?.add(epoch, said.to?.id ?? null, said.data);
        this.#parts.stats.events++;
        this.#hasSpoken = true;
      }
    }
    if (this.#promised > 0) this.#hasTail = false;
    this.drop();
    for (const door of this.#doors.values()) door.tell();
    for (const seated of farewells) this.#part(seated);
  }

  /** The running turn is over: what it said and didn't send is forgotten. */
  drop(): void {
    this.#said = [];
    this.#bytes = this.#promised = 0;
  }

  /** This turn is the last one: who owns it next counts on from here, not from the bound. */
  rest(): void {
    this.#isLast = true;
  }

  /** Joins a connection in a turn of its own, in which `onConnect` runs. */
  join(door: string, [id, after, , resumed, epoch = null]: Applicant, call: Call): Visit {
    let admitted: Seated | null = null;
    let undo: (() => void) | undefined;
    const visit = new Visit(this.#of.key, "onConnect", call.deadline, call.caller, async (it) => {
      const replay = await this.#open();
      const side = this.#doors.get(door);
      if (!side) {
        throw new AtlasError("unavailable", `${this.#of.key} doesn't know this door any more`);
      }
      const lost = after === null ? null : replay.lostTo(after, epoch);
      const { life } = side;
      this.#admissions.set(visit, { seq: replay.last, lost });
      undo = this.#records?.write(id, life);
      const known = this.#seats.get(id);
      if (known) return void (known.door = door);
      if (this.#seats.size >= MAX_CONNECTIONS) {
        const message = `${this.#of.key} has ${MAX_CONNECTIONS} connections already`;
        throw new AtlasError("overloaded", message);
      }
      admitted = new Seated(this, id, door, resumed);
      this.#seats.set(id, admitted);
      this.#records?.returned(id);
      this.#wasHeard = true;
      try {
        await it.onConnect(admitted);
      } catch (error) {
        // Before any turn that tells of its end.
        this.#forget(admitted);
        throw error;
      }
    });
    visit.ended.then((error) => {
      if (error === null) return;
      undo?.();
      if (admitted === null) return;
      this.#forget(admitted);
      // One that an earlier owner had is told of its end, too.
      const gone = admitted;
      if (this.#records?.has(id)) void this.#records.ended(id, (it) => it.onDisconnect(gone));
    });
    this.#of.deliver(visit);
    return visit;
  }

  /** What a visit that ended well is answered. */
  admission(visit: Visit): Admission {
    const { seq, lost } = this.#admissions.get(visit) as Joined;
    if (lost === null) return [seq, false];
    return lost === seq ? [seq, true] : [seq, true, lost];
  }

  /** Begins to read who was connected to former owners; gives what to run once turns can be had. */
  recall(): (() => Promise<void>) | undefined {
    const recalled = this.#records?.recall(this.#parts.usher.isDead);
    return recalled && (async () => {
      if (await recalled() > 0) this.#wasHeard = true;
    });
  }

  /** A connection that is here. */
  seatedAt(id: string): Seated | undefined {
    return this.#seats.get(id);
  }

  /** Has a connection's message heard, in a turn of its own. */
  hear(seated: Seated, data: unknown, call: Call): Visit {
    const { deadline, caller } = call;
    const visit = new Visit(this.#of.key, "onMessage", deadline, caller, (it) => {
      if (!seated.isGone) return it.onMessage(seated, data);
    });
    this.#of.deliver(visit);
    return visit;
  }

  /** Connections have ended at their door. Resolves once `onDisconnect` has run for them. */
  async leave(door: string, ids: readonly string[]): Promise<void> {
    const told: Promise<unknown>[] = [];
    for (const id of ids) {
      const seated = this.#seats.get(id);
      if (seated?.door === door) told.push(this.#part(seated));
      else if (!seated && this.#records) told.push(this.#records.miss(id));
    }
    if (!this.#isUsed(door)) this.#forgetDoor(door);
    await Promise.all(told);
  }

  /** A door asks for events. Null: it isn't known; else it is answered later. */
  ask(call: Call, name: string, life: string, at: number, closed: number): null | undefined {
    const door = this.#doors.get(name);
    if (!door) return null;
    const isReborn = door.life !== life;
    door.ask(call, life, at, closed);
    if (isReborn) this.#records?.rewrite(() => this.#at(name), life);
    return undefined;
  }

  #isUsed(door: string): boolean {
    for (const seated of this.#seats.values()) if (seated.door === door) return true;
    return false;
  }

  /** The connections at a door. */
  #at(door: string): string[] {
    return [...this.#seats.values()].filter((it) => it.door === door).map(({ id }) => id);
  }

  /** A door, if it is known; where it is `founded` by this it is from now on. */
  async door(name: string, life: string, founded: boolean): Promise<DoorSide | undefined> {
    const known = this.#doors.get(name);
    if (known || !founded) return known;
    const replay = await this.#open();
    if (this.#over) return undefined;
    const { clock, deadlines } = this.#parts;
    const door = new DoorSide({
      clock,
      deadlines,
      replay,
      owner: () => this.#of.owner,
      isHere: (id) => this.#seats.get(id)?.door === name,
    }, life);
    this.#doors.set(name, door);
    this.#parts.usher.attend(this);
    return door;
  }

  /** The door that asks for events, if it is known. */
  doorOf(name: string): DoorSide | undefined {
    return this.#doors.get(name);
  }

  /** Events of the past for some connections; null where they are wiped. */
  past(after: number, until: number, ids: readonly string[]): Share | null {
    if (!this.#replay?.covers(after)) return null;
    return this.#replay.since(after, (to) => to === null || ids.includes(to), until);
  }

  /** Resolves once every door has all events and waits for more, or after a while. */
  async settle(): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.now() + DOOR_PATIENCE_MS;
    const isUnsettled = (door: DoorSide): boolean => !door.isSettled;
    while (clock.now() < until && [...this.#doors.values()].some(isUnsettled)) {
      await pause(clock, 5);
    }
  }

  sweep(now: number, isDead: (incarnation: string) => boolean): boolean {
    this.#records?.sweep(now, isDead);
    for (const [name, door] of this.#doors) {
      if (!door.isGone(now, isDead(door.life))) continue;
      this.#forgetDoor(name);
      for (const seated of this.#seats.values()) if (seated.door === name) this.#part(seated);
    }
    return !this.#over && this.#doors.size + (this.#records?.absent ?? 0) > 0;
  }

  /** Nobody here can say anything any more. */
  end(error: AtlasError, next: Ownership | null = null): void {
    this.#over = true;
    for (const seated of this.#seats.values()) seated.isGone = true;
    this.#seats.clear();
    this.#records?.stop();
    for (const door of this.#doors.values()) door.end(error, next);
    this.#doors.clear();
  }

  /** It has gone: `onDisconnect` runs when its turn comes. Resolves when it has. */
  async #part(seated: Seated): Promise<void> {
    if (seated.isGone) return;
    this.#forget(seated);
    await this.#records?.ended(seated.id, (it) => it.onDisconnect(seated));
  }

  /** Runs a turn that no caller waits for; answers how it failed, null where it was committed. */
  #turn(hook: string, errand: Errand): Promise<AtlasError | null> {
    const visit = new Visit(this.#of.key, hook, Infinity, NOWHERE, errand);
    this.#of.deliver(visit);
    return visit.ended;
  }

  #forgetDoor(name: string): void {
    this.#doors.get(name)?.dismiss();
    this.#doors.delete(name);
  }

  #forget(seated: Seated): void {
    seated.isGone = true;
    if (this.#seats.get(seated.id) === seated) this.#seats.delete(seated.id);
  }

  async #open(): Promise<Replay> {
    if (this.#replay) return this.#replay;
    const { storage } = this.#of.book;
    const [text, tail] = await Promise.all([storage.field(BOUND), storage.field(TAIL)]);
    this.#bound = Math.max(this.#bound, textToCount(text, "the number of its last event"));
    this.#hasTail ||= tail !== null;
    return (this.#replay ??= new Replay(this.#bound, tail));
  }

  #checkTurn(): void {
    this.#of.turn("broadcast");
    if (this.#of.book.storage.isOpen && !this.#over) return;
    const message = "events can only be sent while a call or a hook is running";
    throw new AtlasError("bad_request", message);
  }
}

/** What a connection passes on to. */
export interface Speaker {
  say(data: unknown, to: Seated): void;
  dismiss(seated: Seated, reason: string): void;
}

/** A connection with the door that it is at. */
export class Seated implements Connection {
  readonly id: string;
  readonly resumed: boolean;
  /** The door's own name. */
  door: string;
  isGone = false;
  /** The number of the last message of its client that was heard; what hears more of them. */
  heard = 0;
  hearing: Promise<unknown> = Promise.resolve();
  readonly #speaker: Speaker;

  constructor(speaker: Speaker, id: string, door: string, resumed: boolean) {
    this.#speaker = speaker;
    this.id = id;
    this.door = door;
    this.resumed = resumed;
  }

  send(data: unknown): void {
    this.#speaker.say(data, this);
  }

  close(reason: string = ""): void {
    this.#speaker.dismiss(this, String(reason).replace(/[^\x20-\x7e]/g, "?").slice(0, 120));
  }
}

/** An event to one connection or to all, or the end of a connection. */
export type Said =
  | { readonly to: Seated | null; readonly data: Uint8Array }
  | { readonly to: Seated; readonly reason: string };

/** The events of a turn that are sent once it is committed. */
export function eventsOf(said: readonly Said[], epoch: number): Unsent[] {
  return said.flatMap((it) =>
    "data" in it && !it.to?.isGone ? [{ epoch, to: it.to?.id ?? null, data: it.data }] : []
  );
}

/** The error of a turn that says too much. */
export function tooMuch(): AtlasError {
  const most = `${MAX_REPLAY_EVENTS} events or ${MAX_REPLAY_BYTES} bytes of them`;
  const message = `a call may send at most ${most}`;
  return new AtlasError("payload_too_large", message);
}
