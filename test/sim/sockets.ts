/**
 * Rooms and listeners under simulation: a radio play in a thunderstorm, and a stenographer
 * beside each loudspeaker.
 *
 * Takes a seed; plays a cluster with faults in which sockets at every node listen to rooms
 * that talk; gives what broke of: each event once and in order, none left out without a gap;
 * one number, one event; nothing said that isn't kept; all hear the last word.
 */
import { jsonCodec } from "../../adapters/http/socket_codec.ts";
import { APP_CHECKERS } from "../../sim/checkers.ts";
import { type Clients, perform, type Reporter, type Result } from "../../sim/perform.ts";
import { type Course, drawFaults, drawShape } from "../../sim/plan.ts";
import { SeededRandom } from "../../sim/random.ts";
import { settleMs } from "../../sim/testing/course.ts";
import type { SimNode, World } from "../../sim/world.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import { type App, defineApp, Resource } from "../../mod.ts";

/** A word that was said: its place in the room's journal, and what it was. */
interface Word {
  readonly n: number;
  readonly value: string;
}

class Room extends Resource {
  async say(value: string): Promise<void> {
    const n = ((await this.storage.get<number>("n")) ?? 0) + 1;
    await this.storage.put("n", n);
    await this.storage.put(`w:${String(n).padStart(6, "0")}`, value);
    this.broadcast({ n, value } satisfies Word);
    if (value.endsWith("7")) throw new Error("said too much");
  }

  async kept(): Promise<string[]> {
    return [...(await this.storage.list<string>({ prefix: "w:" })).values()];
  }

  override async onConnect(): Promise<void> {
    await this.storage.get("n");
  }
}

const app: App<{ rooms: typeof Room }> = defineApp({ resources: { rooms: Room } });

const ROOMS = 3;
const FAULTS_MS = 20_000;
const SAY_MS = 60;
const END_MS = 120_000;

/** Somebody who listens to one room at one node's door, and goes on at the next process. */
class Listener {
  readonly room: string;
  readonly words: Word[] = [];
  readonly #report: (message: string) => void;
  readonly #numbers: Map<string, string>;
  #node: SimNode | null = null;
  #seq: number | null = null;
  #isJoined = false;
  #gap = false;

  constructor(room: string, numbers: Map<string, string>, report: (message: string) => void) {
    this.room = room;
    this.#numbers = numbers;
    this.#report = report;
  }

  get isConnected(): boolean {
    return this.#node !== null;
  }

  get isJoined(): boolean {
    return this.#isJoined;
  }

  /** Listens through this process as long as it lives. */
  connect(sim: SimNode): void {
    const { node, process } = sim;
    if (!node) return;
    const socket: Socket = {
      send: (data) => void (this.#node === sim && this.#hear(JSON.parse(data as string))),
      buffered: () => 0,
      close: () => {
        if (this.#node === sim) this.#lost();
        queueMicrotask(() => handlers?.close(socket, 1000, ""));
      },
    };
    let handlers: ReturnType<typeof node.accept> | null = null;
    try {
      const after = this.#seq === null ? {} : { after: this.#seq };
      handlers = node.accept("rooms", this.room, { codec: jsonCodec, ...after });
    } catch {
      return;
    }
    this.#node = sim;
    process.onEnd(() => void (this.#node === sim && this.#lost()));
    handlers.open(socket);
  }

  #lost(): void {
    this.#node = null;
    this.#isJoined = false;
  }

  // deno-lint-ignore no-explicit-any
  #hear(frame: any): void {
    if (frame.t === "hello") {
      this.#isJoined = true;
      if (this.#seq === null || frame.gap) this.#seq = frame.seq;
      this.#gap ||= frame.gap;
      return;
    }
    if (frame.t !== "event") return this.#report(`a frame ${frame.t} came`);
    const { seq, data } = frame;
    if (seq !== (this.#seq as number) + 1) {
      this.#report(`${this.room}: event ${seq} came after ${this.#seq}`);
    }
    this.#seq = seq;
    const text = JSON.stringify(data);
    const known = this.#numbers.get(`${this.room} ${seq}`);
    if (known !== undefined && known !== text) {
      this.#report(`${this.room}: event ${seq} is ${text} here and ${known} elsewhere`);
    }
    this.#numbers.set(`${this.room} ${seq}`, text);
    const before = this.words.at(-1)?.n ?? 0;
    if (data.n <= before || (!this.#gap && before > 0 && data.n !== before + 1)) {
      this.#report(`${this.room}: word ${data.n} came after ${before}, gap ${this.#gap}`);
    }
    this.#gap = false;
    this.words.push(data);
  }
}

class Listeners implements Clients {
  readonly calls: never[] = [];
  readonly #world: World;
  readonly #report: (message: string) => void;
  readonly #random: SeededRandom;
  readonly #listeners: Listener[] = [];
  readonly #kept = new Map<string, readonly string[]>();
  #words = 0;
  #isHealed = false;
  #isDone = false;

  constructor(world: World, seed: number, report: Reporter) {
    this.#world = world;
    this.#report = report("events");
    this.#random = new SeededRandom(seed, "listeners");
  }

  keys(): readonly string[] {
    return [];
  }

  begin(): void {
    const numbers = new Map<string, string>();
    const { scheduler, slots } = this.#world;
    for (const { index } of slots) {
      for (let room = 0; room < ROOMS; room++) {
        const listener = new Listener(`r${room}`, numbers, this.#report);
        this.#listeners.push(listener);
        this.#tend(listener, index);
      }
    }
    scheduler.after(0, () => this.#talk());
  }

  /** Connects a listener wherever it isn't. */
  #tend(listener: Listener, index: number): void {
    if (this.#isDone) return;
    const { current } = this.#world.slot(index);
    if (!listener.isConnected && current?.node && current.process.isRunning) {
      current.process.enter(() => listener.connect(current));
    }
    this.#world.scheduler.after(100 + this.#random.below(200), () => this.#tend(listener, index));
  }

  #talk(): void {
    if (this.#isHealed) return;
    this.#say(`r${this.#random.below(ROOMS)}`, `v${this.#words++}`);
    this.#world.scheduler.after(this.#random.below(2 * SAY_MS), () => this.#talk());
  }

  #say(room: string, value: string, told: (isSaid: boolean) => void = () => {}): void {
    const { current } = this.#world.slot(this.#random.below(this.#world.slots.length));
    const { node, process } = current ?? {};
    if (!node || !process?.isRunning) return told(false);
    process.enter(() => {
      const options = { timeoutMs: 1_000 };
      node.call("rooms", room, "say", [value], options).then(() => told(true), () => told(false));
    });
  }

  healed(): void {
    const { scheduler, shape } = this.#world;
    this.#isHealed = true;
    scheduler.after(settleMs(shape), () => {
      for (let room = 0; room < ROOMS; room++) this.#lastWord(`r${room}`);
    });
  }

  /** Says a last word once all listen, and waits until all have heard it. */
  #lastWord(room: string): void {
    const again = (): void => void this.#world.scheduler.after(200, () => this.#lastWord(room));
    const all = this.#listeners.filter((listener) => listener.room === room);
    if (!all.every(({ isJoined }) => isJoined)) return again();
    this.#say(room, "last", (isSaid) => {
      if (isSaid) this.#await(room, all);
      else again();
    });
  }

  #await(room: string, all: readonly Listener[]): void {
    const { scheduler } = this.#world;
    const heard = all.every(({ words }) => words.at(-1)?.value === "last");
    const again = (): void => void scheduler.after(100, () => this.#await(room, all));
    if (!heard) return again();
    const { node, process } = this.#world.slot(0).current ?? {};
    if (!node || !process) return again();
    process.enter(() =>
      void node.call("rooms", room, "kept", [], { timeoutMs: 5_000 }).then(({ result }) => {
        this.#kept.set(room, result as string[]);
        this.#isDone = this.#kept.size === ROOMS;
      }, again)
    );
  }

  isDone(): boolean {
    return this.#isDone;
  }

  finished(): void {
    if (!this.#isDone) {
      const deaf = this.#listeners.filter(({ words }) => words.at(-1)?.value !== "last");
      this.#report(`${deaf.length} of ${this.#listeners.length} never heard the last word`);
    }
    for (const { room, words } of this.#listeners) {
      const kept = this.#kept.get(room) ?? [];
      for (const { n, value } of words) {
        if (this.#isDone && kept[n - 1] !== value) {
          this.#report(`${room}: ${value} was said as word ${n}, which is ${kept[n - 1]}`);
        }
      }
    }
  }
}

/** Plays a seed. */
export function playSockets(seed: number, remarks: number = 0): Promise<Result> {
  const shape = { ...drawShape(new SeededRandom(seed, "shape")), keys: 0 };
  const course: Course = {
    seed,
    shape,
    faults: drawFaults(new SeededRandom(seed, "faults"), shape, FAULTS_MS),
    healAt: FAULTS_MS,
    endAt: FAULTS_MS + END_MS,
  };
  return perform(course, {
    app,
    checkers: APP_CHECKERS,
    enter: (world, report) => new Listeners(world, seed, report),
  }, { remarks });
}
