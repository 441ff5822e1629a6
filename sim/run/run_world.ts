/**
 * Runs one simulation: builds the world, applies the plan, runs the checkers, gives the result. The
 * result is the same each time and on every runtime.
 */
import process from "node:process";
import type { App } from "../../src/api/app.ts";
import { messageOf } from "../../src/errors.ts";
import type { CheckContext, LiveChecker } from "../checkers/checker.ts";
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
  /** A hash of all that happened. */
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly calls: number;
  /** Calls that were answered. */
  readonly answered: number;
  readonly faults: readonly FaultEvent[];
  /** The first violations of each rule. */
  readonly violations: readonly Violation[];
  /** The last remarks, if they were requested. */
  readonly remarks: readonly string[];
}

export interface RunOptions {
  /** How many of the last remarks are kept as text. Default 0. */
  readonly remarks?: number;
}

/** The subject of a simulation: an app, its checkers and its clients. */
export interface WorldSetup {
  /** Default: `resources`. */
  readonly world?: WorldName;
  readonly app: App;
  /** More options of each node. */
  readonly settingsFor?: NodeSettings;
  /** Rules that are checked while it runs. */
  readonly checkers: readonly LiveChecker[];
  /** Makes its clients, once the world exists. */
  enter(world: World, report: Reporter, truth: GroundTruth): Clients;
}

/** The clients of an app: their calls, and the checks at the end. */
export interface Clients {
  readonly calls: readonly { readonly outcome: Outcome }[];
  /** Keys that every node must serve after healing. */
  keys(): readonly string[];
  /** Schedules their calls. */
  begin(): void;
  /** Called at healing. */
  healed(): void;
  /** Whether they have finished before the end of the simulation. */
  isDone(): boolean;
  /** Called at the end if no rule was broken. */
  finished(): void;
}

/** Takes a rule's name; gives the function that reports how it was broken. */
export type Reporter = (rule: string) => (message: string) => void;

/** The most violations that a result lists. */
const MOST_VIOLATIONS = 8;

/** Runs a plan with any app and its clients. @throws only if the simulator itself fails */
export async function runWorld(
  plan: RunPlan,
  setup: WorldSetup,
  options: RunOptions,
): Promise<Result> {
  const violations: Violation[] = [];
  const truth = new GroundTruth(plan.shape.store.isConfirmed === true);
  // deno-lint-ignore prefer-const
  let world: World;
  // deno-lint-ignore prefer-const
  let clients: Clients;
  const report: Reporter = (rule) => (message) => {
    if (violations.length >= MOST_VIOLATIONS) return;
    violations.push({ rule, message, at: world.scheduler.now });
    world.trace.note("VIOLATION", rule, message);
  };
  const context: CheckContext = { truth, plan, keys: () => clients.keys(), world: () => world };
  const observers: Observer[] = setup.checkers.map((it) => it.watch(context, report(it.name)));
  const observer = fanOut([truth, ...observers]);
  const { remarks = 0 } = options;
  world = new World(setup, plan, observer, remarks > 0);
  clients = setup.enter(world, report, truth);
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
  // Reported only now: the time at which a rejection is noticed depends on the runtime, and the
  // trace must not.
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
    world: setup.world ?? "resources",
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

/** Schedules the whole plan. */
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

/** Turns of the event loop within which every runtime has reported the last rejection. */
const LAST_TURNS = 3;

/** Runs `run` and passes every unhandled error to `heard`. */
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
