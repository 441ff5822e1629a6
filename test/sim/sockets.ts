/**
 * Rooms and client sockets under simulation.
 *
 * Takes a seed; runs a cluster with faults in which clients at every node connect to rooms, get
 * their events, send messages and leave; some connections go silent. Gives the first violation of
 * these rules: each event arrives once and in order, and missing events are reported by a gap; each
 * number belongs to one event; each event is in the room's journal; all clients get the last event;
 * messages are delivered in order, at most once, and never after their connection's end; all
 * messages sent before a close are delivered; each connection's end runs onDisconnect once; no open
 * socket is silent for long. In some seeds nodes lose the store and no other fault happens: then no
 * owner runs onDisconnect for an open connection.
 */
import { APP_CHECKERS } from "../../sim/checkers/all.ts";
import { STORE_AWAY } from "../../sim/faults/network_faults.ts";
import { type Clients, type Reporter, type Result, runWorld } from "../../sim/run/run_world.ts";
import type { RunPlan } from "../../sim/plan/plan.ts";
import { drawFaults, drawShape } from "../../sim/draw/draw_resources.ts";
import { SeededRandom } from "../../sim/engine/random.ts";
import { settleMs } from "../../sim/testing/simulation_plan.ts";
import type { World } from "../../sim/engine/world.ts";
import { type App, type Connection, defineApp, Resource } from "../../mod.ts";
import { Listener, type Message, type Word } from "./socket_listener.ts";

/** Reports a violation that a room of the current run found. */
let trouble: (message: string) => void = () => {};
/** Called for each connection whose end its owner notices. */
let ended: (connection: string) => void = () => {};

class Room extends Resource {
  readonly #joined = new Set<string>();

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

  override async onConnect({ id }: Connection): Promise<void> {
    this.#joined.add(id);
    await this.storage.put(`here:${id}`, true);
  }

  override async onMessage({ id }: Connection, { who, n }: Message): Promise<void> {
    const heard = (await this.storage.get<number[]>(`heard:${who}`)) ?? [];
    if (n <= (heard.at(-1) ?? 0)) trouble(`message ${n} of ${who} was heard after ${heard.at(-1)}`);
    if (!await this.storage.get(`here:${id}`)) trouble(`${who} was heard after its end`);
    await this.storage.put(`heard:${who}`, [...heard, n]);
  }

  override async onDisconnect({ id }: Connection): Promise<void> {
    if (this.#joined.delete(id)) ended(id);
    if (!await this.storage.get(`here:${id}`)) trouble(`the end of ${id} was told twice`);
    await this.storage.delete(`here:${id}`);
  }

  async here(): Promise<string[]> {
    return [...(await this.storage.list({ prefix: "here:" })).keys()].map((key) => key.slice(5));
  }

  async heard(who: string): Promise<number[]> {
    return (await this.storage.get<number[]>(`heard:${who}`)) ?? [];
  }
}

const app: App<{ rooms: typeof Room }> = defineApp({ resources: { rooms: Room } });

const ROOMS = 3;
const FAULTS_MS = 20_000;
const SAY_MS = 60;
const END_MS = 240_000;
/**
 * How long the check waits for all connections to end: silent ones end after a minute, or two if
 * their owner changed.
 */
const ENDS_MS = 150_000;
const LOOK_MS = 5_000;

class Listeners implements Clients {
  readonly calls: never[] = [];
  readonly #world: World;
  readonly #report: (message: string) => void;
  readonly #reportEnds: (message: string) => void;
  readonly #random: SeededRandom;
  readonly #listeners: Listener[] = [];
  readonly #kept = new Map<string, readonly string[]>();
  readonly #done = new Set<string>();
  #words = 0;
  #isHealed = false;
  #isDone = false;

  constructor(world: World, plan: RunPlan, report: Reporter) {
    this.#world = world;
    this.#report = report("events");
    this.#reportEnds = report("ends");
    trouble = (message) => this.#reportEnds(message);
    this.#random = new SeededRandom(plan.seed, "listeners");
    const isStoreAlone = plan.faults.every(({ kind }) => kind === STORE_AWAY.name);
    ended = (id) => {
      const listener = this.#listeners.find(({ connection }) => connection === id);
      if (!isStoreAlone || !listener?.stands) return;
      this.#reportEnds(`the end of ${listener.who} was told, which stands`);
    };
  }

  keys(): readonly string[] {
    return [];
  }

  begin(): void {
    const numbers = new Map<string, string>();
    const { scheduler, slots } = this.#world;
    for (const { index } of slots) {
      for (let room = 0; room < ROOMS; room++) {
        const name = `${index}-${room}`;
        const listener = new Listener(name, `r${room}`, numbers, scheduler, this.#report);
        this.#listeners.push(listener);
        this.#tend(listener, index);
      }
    }
    scheduler.after(0, () => this.#talk());
  }

  /** Connects all listeners that are not connected. */
  #tend(listener: Listener, index: number): void {
    if (this.#isDone) return;
    const { current } = this.#world.slot(index);
    listener.look(this.#isHealed, (message) => this.#reportEnds(message));
    if (!listener.isConnected && current?.node && current.process.isRunning) {
      current.process.enter(() => listener.connect(current));
    } else if (!this.#isHealed) this.#disturb(listener);
    this.#world.scheduler.after(100 + this.#random.below(200), () => this.#tend(listener, index));
  }

  /** Sometimes a client sends messages, leaves, or goes silent. */
  #disturb(listener: Listener): void {
    if (this.#random.chance(0.3)) listener.say(1 + this.#random.below(5));
    if (this.#random.chance(0.05)) listener.leave();
    else if (this.#random.chance(0.02)) listener.silence();
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

  /** Sends a last event once all are connected, and waits until all have received it. */
  #lastWord(room: string): void {
    const again = (): void => void this.#world.scheduler.after(200, () => this.#lastWord(room));
    const all = this.#listeners.filter((listener) => listener.room === room);
    if (!all.every(({ isJoined }) => isJoined)) return again();
    this.#say(room, "last", (isSaid) => {
      if (isSaid) this.#await(room, all);
      else again();
    });
  }

  /**
   * All clients send messages and leave again, some before hello: every message must be delivered.
   */
  #leaveAll(room: string, all: readonly Listener[]): void {
    const left: { readonly who: string; readonly upto: number; readonly from: number }[] = [];
    const count = 5;
    for (const listener of all) {
      const from = listener.said;
      listener.say(count);
      left.push({ who: listener.who, from, upto: from + count });
      listener.leave();
    }
    const until = this.#world.scheduler.now + ENDS_MS;
    const look = (): void => {
      const { scheduler } = this.#world;
      this.#ends(room, all, left).then((missing) => {
        if (missing === null) return this.#ended(room);
        if (scheduler.now < until) return void scheduler.after(LOOK_MS, look);
        this.#reportEnds(missing);
        this.#ended(room);
      });
    };
    look();
  }

  #ended(room: string): void {
    this.#done.add(room);
    this.#isDone = this.#done.size === ROOMS;
  }

  /** The violation in the final state; null if there is none. */
  async #ends(
    room: string,
    all: readonly Listener[],
    left: readonly { readonly who: string; readonly upto: number; readonly from: number }[],
  ): Promise<string | null> {
    try {
      for (const { who, from, upto } of left) {
        const heard = new Set(await this.#ask<number[]>(room, "heard", [who]));
        for (let n = from + 1; n <= upto; n++) {
          if (!heard.has(n)) {
            return `${room}: message ${n} of ${who} before its close was not heard`;
          }
        }
      }
      const here = await this.#ask<string[]>(room, "here", []);
      const connected = all.map(({ connection }) => connection);
      const ghosts = here.filter((id) => !connected.includes(id));
      if (ghosts.length > 0) return `${room}: the ends of ${ghosts.length} were never told`;
      const missing = connected.filter((id) => id === null || !here.includes(id));
      return missing.length > 0 ? `${room}: ${missing.length} are connected and not here` : null;
    } catch {
      return `${room} can't be asked`;
    }
  }

  #ask<T>(room: string, method: string, args: readonly unknown[]): Promise<T> {
    const { node, process } = this.#world.slot(0).current ?? {};
    return new Promise((resolve, reject) => {
      if (!node || !process?.isRunning) return reject(new Error("nobody is there"));
      process.enter(() => {
        const options = { timeoutMs: 5_000 };
        node.call("rooms", room, method, args, options)
          .then(({ result }) => resolve(result as T), reject);
      });
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
        this.#leaveAll(room, all);
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

/** Seeds in which nodes lose the store, and no other fault happens. */
const STORE_ALONE = 0.25;

function planOf(seed: number): RunPlan {
  const drawn = { ...drawShape(new SeededRandom(seed, "shape")), keys: 0 };
  const times = { seed, healAt: FAULTS_MS, endAt: FAULTS_MS + END_MS };
  const random = new SeededRandom(seed, "store away");
  if (!random.chance(STORE_ALONE)) {
    const faults = drawFaults(new SeededRandom(seed, "faults"), drawn, FAULTS_MS);
    return { ...times, shape: drawn, faults };
  }
  const linkConditions = { ...drawn.linkConditions, tail: 0, loss: 0, duplicates: 0 };
  const fault = {
    at: random.between(1_500, 4_000),
    kind: STORE_AWAY.name,
    a: random.below(drawn.nodes),
    b: 0,
    ms: random.between(6_000, 12_000),
    x: 0,
  };
  return { ...times, shape: { ...drawn, linkConditions }, faults: [fault] };
}

/** Runs a seed. */
export function runSockets(seed: number, remarks: number = 0): Promise<Result> {
  const plan = planOf(seed);
  return runWorld(plan, {
    app,
    checkers: APP_CHECKERS,
    enter: (world, report) => new Listeners(world, plan, report),
  }, { remarks });
}
