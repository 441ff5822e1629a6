/**
 * The audience of a resource: who listens to it, and what it said to them lately.
 *
 * What a turn says is kept aside until the turn is committed; only then it gets its numbers
 * and goes out. Numbers never repeat: an upper bound of them is in the resource's state, and
 * whoever owns it next counts on from there.
 *
 * Takes connections from doors, and events from the resource's turns; brings about turns of
 * its hooks. Source: design §2 (epochs in every event), §3 (State).
 */
import { AtlasError } from "../errors.ts";
import {
  DOOR_PATIENCE_MS,
  DOOR_SILENCE_MS,
  EVENT_BLOCK,
  MAX_CONNECTIONS,
  MAX_EVENT_BYTES,
  MAX_REPLAY_BYTES,
  MAX_REPLAY_EVENTS,
} from "../limits.ts";
import type { Call } from "../model/call.ts";
import type { Applicant } from "../model/door_post.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Caller } from "../model/trail.ts";
import { encodeValue, textToCount } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import type { Deadlines } from "../time/deadlines.ts";
import { pause } from "../time/pause.ts";
import { type Connection, Seated, type Speaker } from "./connection.ts";
import { DoorSide } from "./door_side.ts";
import { Replay, type Share } from "./replay.ts";
import type { TurnStorage } from "./storage.ts";
import type { Attended, Usher } from "./usher.ts";
import { Visit } from "./visit.ts";

/** The field of a resource's state that holds the bound; users' keys are in another space. */
const BOUND = "q:bound";
export const NOWHERE: Caller = { region: "", node: "" };

/** What an audience needs of the house. */
export interface AudienceParts {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly usher: Usher;
  readonly stats: { events: number };
}

/** What an audience needs of the activation whose audience it is. */
export interface Performance {
  readonly key: string;
  readonly owner: Ownership;
  readonly book: { readonly storage: TurnStorage };
  deliver(call: Call): void;
  /** Refuses users' code that belongs to no turn of it. @throws AtlasError `bad_request` */
  turn(what: string): unknown;
}

/** Something that the running turn said: an event, or a farewell. */
type Said =
  | { readonly to: Seated | null; readonly data: Uint8Array }
  | { readonly to: Seated; readonly reason: string };

export class Audience implements Speaker, Attended {
  readonly #parts: AudienceParts;
  readonly #of: Performance;
  /** What was sent; null before the state has been asked how far its numbers go. */
  #replay: Replay | null = null;
  /** Numbers up to this one are reserved in the state; and by the running turn's commit. */
  #bound = 0;
  #promised = 0;
  #said: Said[] = [];
  #bytes = 0;
  readonly #seats = new Map<string, Seated>();
  readonly #doors = new Map<string, DoorSide>();
  readonly #admissions = new WeakMap<Visit, readonly [number, boolean]>();
  #isLast = false;
  #over = false;

  constructor(parts: AudienceParts, of: Performance) {
    this.#parts = parts;
    this.#of = of;
  }

  /** Connections now. */
  get size(): number {
    return this.#seats.size;
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
    return this.#said.length > 0 || (this.#isLast && this.seq !== this.#bound);
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
    this.#of.book.storage.reserve(BOUND, String(this.#promised));
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
      }
    }
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
  join(door: string, [id, after, , resumed]: Applicant, call: Call): Visit {
    let admitted: Seated | null = null;
    const visit = new Visit(this.#of.key, "onConnect", call.deadline, call.caller, async (it) => {
      const replay = await this.#open();
      if (!this.#doors.has(door)) throw unknownDoor(this.#of.key);
      this.#admissions.set(visit, [replay.last, after !== null && !replay.covers(after)]);
      const known = this.#seats.get(id);
      if (known) return void (known.door = door);
      if (this.#seats.size >= MAX_CONNECTIONS) {
        const message = `${this.#of.key} has ${MAX_CONNECTIONS} connections already`;
        throw new AtlasError("overloaded", message);
      }
      admitted = new Seated(this, id, door, resumed);
      this.#seats.set(id, admitted);
      await it.onConnect(admitted);
    });
    visit.ended.then((error) => error && admitted && this.#forget(admitted));
    this.#of.deliver(visit);
    return visit;
  }

  /** What a visit that ended well is answered. */
  admission(visit: Visit): readonly [seq: number, gap: boolean] {
    return this.#admissions.get(visit) as readonly [number, boolean];
  }

  /** Has a connection's message heard, in a turn of its own; null where there is none such. */
  hear(id: string, data: unknown, call: Call): Visit | null {
    const seated = this.#seats.get(id);
    if (!seated) return null;
    const { deadline, caller } = call;
    const visit = new Visit(this.#of.key, "onMessage", deadline, caller, (it) => {
      if (!seated.isGone) return it.onMessage(seated, data);
    });
    this.#of.deliver(visit);
    return visit;
  }

  /** Connections have ended at their door. */
  leave(door: string, ids: readonly string[]): void {
    for (const id of ids) {
      const seated = this.#seats.get(id);
      if (seated?.door === door) this.#part(seated);
    }
    for (const seated of this.#seats.values()) if (seated.door === door) return;
    this.#forgetDoor(door);
  }

  /** A door, if it is known; where it is `founded` by this, and not dead, it is from now on. */
  async door(name: string, life: string, founded: boolean): Promise<DoorSide | undefined> {
    const known = this.#doors.get(name);
    if (known || !founded || this.#parts.usher.isDead(life)) return known;
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
    for (const [name, door] of this.#doors) {
      if (now - door.heardAt <= DOOR_SILENCE_MS && !isDead(door.life)) continue;
      this.#forgetDoor(name);
      for (const seated of this.#seats.values()) if (seated.door === name) this.#part(seated);
    }
    return !this.#over && this.#doors.size > 0;
  }

  /** Nobody here can say anything any more. */
  end(error: AtlasError, next: Ownership | null = null): void {
    this.#over = true;
    for (const seated of this.#seats.values()) seated.isGone = true;
    this.#seats.clear();
    for (const door of this.#doors.values()) door.end(error, next);
    this.#doors.clear();
  }

  /** It has gone: `onDisconnect` runs when its turn comes. */
  #part(seated: Seated): void {
    if (seated.isGone) return;
    this.#forget(seated);
    const visit = new Visit(
      this.#of.key,
      "onDisconnect",
      Infinity,
      NOWHERE,
      (it) => it.onDisconnect(seated),
    );
    this.#of.deliver(visit);
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
    const text = await this.#of.book.storage.field(BOUND);
    this.#bound = Math.max(this.#bound, textToCount(text, "the number of its last event"));
    return (this.#replay ??= new Replay(this.#bound));
  }

  #checkTurn(): void {
    this.#of.turn("broadcast");
    if (this.#of.book.storage.isOpen && !this.#over) return;
    const message = "events can only be sent while a call or a hook is running";
    throw new AtlasError("bad_request", message);
  }
}

function unknownDoor(key: string): AtlasError {
  return new AtlasError("unavailable", `${key} doesn't know this door any more`);
}

function tooMuch(): AtlasError {
  const most = `${MAX_REPLAY_EVENTS} events or ${MAX_REPLAY_BYTES} bytes of them`;
  const message = `a call may send at most ${most}`;
  return new AtlasError("payload_too_large", message);
}
