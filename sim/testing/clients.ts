/**
 * The clients of a user's app in a simulation: run the user's workload on the virtual clock while
 * faults happen, then the user's check after healing. In between, every key that was called is
 * looked up through every node and must be found.
 */
import type { App } from "../../src/api/app.ts";
import type { Atlas } from "../../src/api/node.ts";
import { isAtlasError, messageOf } from "../../src/errors.ts";
import type { CallRecord } from "../engine/history.ts";
import { SeededRandom } from "../engine/random.ts";
import type { Clients, Reporter } from "../run/run_world.ts";
import type { World } from "../engine/world.ts";
import { settleMs } from "./simulation_plan.ts";
import { SimulatedClient } from "./simulated_client.ts";
import type { Settings, WorkloadContext } from "./options.ts";

/** Clients begin within this time, while the first nodes start, ms. */
const START_MS = 500;
/** Between two lookups of a key, and how long each may take, ms. */
const PROBE_PAUSE_MS = 50;
const PROBE_TIMEOUT_MS = 1_000;
/** A method that no app has: the node that answers that it doesn't exist owns the key. */
const NO_METHOD = "isThereAnybody";
/** The number of keys that are looked up after healing: the first ones that were called. */
const MOST_PROBED = 100;
/** Errors that a caller must expect of any cluster. */
const FAULT_CODES: readonly string[] = [
  "timeout",
  "unavailable",
  "overloaded",
  "not_owner",
  "contested",
];

export class UserClients<A extends App> implements Clients {
  /** The first error that the workload or the check threw. */
  cause: unknown = undefined;
  readonly #settings: Settings<A>;
  readonly #seed: number;
  readonly #world: World;
  readonly #report: Reporter;
  readonly #client: SimulatedClient;
  /** The number of clients that still work. */
  readonly #busy = new Set<string>();
  #probed: readonly string[] = [];
  #isSettled = false;
  #isChecking = false;
  #isDone = false;

  constructor(settings: Settings<A>, seed: number, world: World, report: Reporter) {
    this.#settings = settings;
    this.#seed = seed;
    this.#world = world;
    this.#report = report;
    this.#client = new SimulatedClient(
      world,
      new SeededRandom(seed, "doors"),
      settings.durationMs,
      report,
    );
  }

  get calls(): readonly CallRecord[] {
    return this.#client.calls;
  }

  keys(): readonly string[] {
    return this.#probed;
  }

  begin(): void {
    const { scheduler } = this.#world;
    for (let number = 0; number < this.#settings.clients; number++) {
      const context = this.#context(`client-${number}`);
      this.#busy.add(context.caller);
      scheduler.at(context.random.between(0, START_MS), () => void this.#work(context));
    }
    // All keys called by then must be found after healing, which comes next.
    scheduler.at(this.#settings.durationMs, () => {
      this.#probed = [...this.#client.keys.keys()].slice(0, MOST_PROBED);
    });
  }

  healed(): void {
    const { scheduler, slots, shape } = this.#world;
    for (const { index } of slots) {
      for (const key of this.#probed) this.#probe(index, key);
    }
    scheduler.after(settleMs(shape), () => {
      this.#isSettled = true;
      this.#checkIfQuiet();
    });
  }

  isDone(): boolean {
    return this.#isDone;
  }

  finished(): void {
    if (this.#isDone) return;
    const late = this.#isChecking ? "the check" : [...this.#busy].join(", ");
    this.#report(this.#isChecking ? "check" : "workload")(
      `${late} did not come to an end; it may wait for something that is not of the virtual ` +
        "clock, or run a loop that doesn't ask isOver()",
    );
  }

  #context(caller: string): WorkloadContext<A> {
    const { scheduler } = this.#world;
    return {
      atlas: this.#client.atlas(caller) as Atlas<A>,
      random: new SeededRandom(this.#seed, caller),
      caller,
      sleep: (ms) => new Promise((resolve) => scheduler.after(ms > 0 ? ms : 0, resolve)),
      now: () => scheduler.now,
      isOver: () => scheduler.now >= this.#settings.durationMs,
    };
  }

  /** Runs a client's rounds until the time is over. */
  async #work(context: WorkloadContext<A>): Promise<void> {
    const { workload, pauseMs } = this.#settings;
    const { random, caller, sleep, isOver } = context;
    while (!isOver()) {
      try {
        await workload(context);
      } catch (error) {
        if (!isFaultError(error)) {
          return this.#failed("workload", `${caller}: ${messageOf(error)}`, error);
        }
      }
      // A short pause, so that the clock advances even if the workload does nothing.
      await sleep(1 + random.next() * 2 * pauseMs);
    }
    this.#busy.delete(caller);
    this.#checkIfQuiet();
  }

  /** Runs the check once all clients have finished and the cluster has had time to recover. */
  async #checkIfQuiet(): Promise<void> {
    if (!this.#isSettled || this.#busy.size > 0 || this.#isChecking) return;
    this.#isChecking = true;
    const fail = this.#report("check");
    try {
      const history = [...this.#client.history];
      await this.#settings.check({ ...this.#context("check"), history, fail });
      this.#isDone = true;
    } catch (error) {
      this.#failed("check", messageOf(error), error);
    }
  }

  #failed(rule: string, message: string, cause: unknown): void {
    this.cause ??= cause;
    this.#report(rule)(message);
  }

  /** Calls at a key through one node until its owner answers, and then looks it up there. */
  #probe(index: number, key: string): void {
    const { type, id } = this.#client.keys.get(key) ?? { type: "", id: "" };
    const again = (): void =>
      void this.#world.scheduler.after(PROBE_PAUSE_MS, () => this.#probe(index, key));
    const sim = this.#world.slot(index).current ?? undefined;
    if (!sim?.node) return again();
    const options = { require: "confirmed", timeoutMs: PROBE_TIMEOUT_MS } as const;
    const look = (): void =>
      void this.#client.lookup(`probe ${index}`, sim, type, id, options).then(({ verdict }) => {
        if (verdict !== "confirmed") again();
      }, again);
    this.#client.send(sim, type, id, NO_METHOD, PROBE_TIMEOUT_MS).then(look, (error) => {
      if (isFaultError(error)) again();
      else look();
    });
  }
}

function isFaultError(error: unknown): boolean {
  return isAtlasError(error) && FAULT_CODES.includes(error.code);
}
