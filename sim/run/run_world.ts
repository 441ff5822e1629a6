/**
 * Runs one simulation: builds the world, applies the plan, runs the checkers, gives the result. The
 * result is the same each time and on every runtime.
 */
import process from "node:process";
import type { App } from "../../src/api/app.ts";
import { messageOf } from "../../src/errors.ts";
import type { LiveChecker, LiveScene } from "../checkers/checker.ts";
import { GroundTruth } from "../engine/ground_truth.ts";
import type { Outcome } from "../engine/history.ts";
import { fanOut, type Observer } from "../engine/observer.ts";
import { type NodeSettings, World } from "../engine/world.ts";
import { faultKind } from "../faults/catalogue.ts";
import type { FaultEvent, RunPlan, WorldName } from "../plan/plan.ts";

export interface Violation {
  /** The checker's name. */
  readonly rule: string;
  readonly message: string;
  /** True time, ms. */
  readonly at: number;
}

export interface Result {
  readonly seed: number;
  readonly world: WorldName;
  /** The fingerprint of all that happened. */
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly calls: number;
  /** Calls that were answered. */
  readonly answered: number;
  readonly faults: readonly FaultEvent[];
  /** The first ones of each rule. */
  readonly violations: readonly Violation[];
  /** The last remarks, where they were asked for. */
  readonly remarks: readonly string[];
}

export interface RunOptions {
  /** Keeps the last remarks in clear. Default 0. */
  readonly remarks?: number;
}

/** Whom a simulation is about: an app, and those who use it. */
export interface WorldSetup {
  /** Default: `resources`. */
  readonly world?: WorldName;
  readonly app: App;
  /** What each node is given besides, where it is. */
  readonly settingsFor?: NodeSettings;
  /** Rules that are watched. */
  readonly checkers: readonly LiveChecker[];
  /** Its clients, once there is a world for them. */
  enter(world: World, report: Reporter, ground: GroundTruth): Clients;
}

/** What is done to an app, and what is left to be judged. */
export interface Clients {
  readonly calls: readonly { readonly outcome: Outcome }[];
  /** Keys that every node must serve once all is mended. */
  keys(): readonly string[];
  /** Puts what they will do on the scheduler. */
  begin(): void;
  /** Everything was mended just now. */
  healed(): void;
  /** Whether nothing is left to do before the time is over. */
  isDone(): boolean;
  /** The time is over, and no rule was broken. */
  finished(): void;
}

/** Takes a rule's name, and then how it was broken. */
export type Reporter = (rule: string) => (message: string) => void;

/** Violations told of one simulation. */
const MOST_VIOLATIONS = 8;

/** Plays a course with any app and its clients. @throws only where the simulator itself fails */
export async function runWorld(
  plan: RunPlan,
  cast: WorldSetup,
  options: RunOptions,
): Promise<Result> {
  const violations: Violation[] = [];
  const ground = new GroundTruth(plan.shape.store.isConfirmed === true);
  // deno-lint-ignore prefer-const
  let world: World;
  // deno-lint-ignore prefer-const
  let clients: Clients;
  const report: Reporter = (rule) => (message) => {
    if (violations.length >= MOST_VIOLATIONS) return;
    violations.push({ rule, message, at: world.scheduler.now });
    world.trace.note("VIOLATION", rule, message);
  };
  const scene: LiveScene = { ground, plan, keys: () => clients.keys(), world: () => world };
  const observers: Observer[] = cast.checkers.map((it) => it.watch(scene, report(it.name)));
  const observer = fanOut([ground, ...observers]);
  const { remarks = 0 } = options;
  world = new World(cast, plan, observer, remarks > 0);
  clients = cast.enter(world, report, ground);
  scheduleFaults(plan, world, clients);
  const { scheduler } = world;
  const unhandled: Violation[] = [];
  await catchUnhandled(
    (message) => unhandled.push({ rule: "unhandled", message, at: scheduler.now }),
    () =>
      scheduler.run(
        plan.endAt,
        () => observer.stepped(scheduler.now),
        () => violations.length > 0 || clients.isDone(),
      ),
  );
  // Told only now: when a rejection is heard of depends on the runtime, and the trace must not.
  for (const violation of unhandled) {
    if (violations.length < MOST_VIOLATIONS) violations.push(violation);
    world.trace.note("VIOLATION", violation.rule, violation.message);
  }
  if (violations.length === 0) {
    observer.finished();
    clients.finished();
  }
  const { calls } = clients;
  return {
    seed: plan.seed,
    world: cast.world ?? "resources",
    hash: world.trace.hash,
    events: scheduler.events,
    virtualMs: scheduler.now,
    calls: calls.length,
    answered: calls.filter(({ outcome }) => outcome === "ok").length,
    faults: plan.faults,
    violations,
    remarks: world.trace.last(remarks),
  };
}

/** Puts the whole plan on the scheduler. */
function scheduleFaults(plan: RunPlan, world: World, clients: Clients): void {
  const { scheduler } = world;
  for (const { index } of world.slots) scheduler.at(index * 5, () => world.start(index));
  for (const fault of plan.faults) {
    scheduler.at(fault.at, () => {
      world.noteFault(fault);
      faultKind(fault.kind).begin(world, fault);
    });
  }
  clients.begin();
  scheduler.at(plan.healAt, () => {
    world.heal();
    clients.healed();
  });
}

/** Turns of the event loop within which every runtime has told of the last rejection. */
const LAST_TURNS = 3;

/** Runs `run` and gives `heard` every error that nobody handled meanwhile. */
export async function catchUnhandled(
  heard: (message: string) => void,
  run: () => Promise<void>,
): Promise<void> {
  const onRejection = (reason: unknown): void => heard(`unhandled rejection: ${messageOf(reason)}`);
  const onError = (error: unknown): void => heard(`uncaught error: ${messageOf(error)}`);
  process.on("unhandledRejection", onRejection);
  process.on("uncaughtException", onError);
  try {
    await run();
  } catch (error) {
    onError(error);
  } finally {
    for (let turn = 0; turn < LAST_TURNS; turn++) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
    process.off("unhandledRejection", onRejection);
    process.off("uncaughtException", onError);
  }
}
