/**
 * One simulation from beginning to end: the curtain goes up, the plan is played, the
 * referees watch, and the verdict is read.
 *
 * Takes a plan; gives its result, the same each time and on every runtime.
 */
import { HISTORY_CHECKERS, LIVE_CHECKERS } from "./checkers.ts";
import type { LiveScene } from "./checkers/checker.ts";
import { faultKind } from "./faults.ts";
import { Ground } from "./ground.ts";
import type { Entry, History } from "./history.ts";
import { journalApp, JOURNALS, readJournal } from "./journal.ts";
import { fanOut, type Observer } from "./observer.ts";
import type { FaultEvent, Plan } from "./plan.ts";
import { Workload } from "./workload.ts";
import { World } from "./world.ts";

export interface Violation {
  /** The checker's name. */
  readonly rule: string;
  readonly message: string;
  /** True time, ms. */
  readonly at: number;
}

export interface Result {
  readonly seed: number;
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

/** Violations told of one simulation. */
const MOST_VIOLATIONS = 8;

/** Plays a plan. @throws only where the simulator itself fails */
export async function runPlan(plan: Plan, options: RunOptions = {}): Promise<Result> {
  const violations: Violation[] = [];
  const ground = new Ground();
  // deno-lint-ignore prefer-const
  let world: World;
  const report = (rule: string) => (message: string): void => {
    if (violations.length >= MOST_VIOLATIONS) return;
    violations.push({ rule, message, at: world.scheduler.now });
    world.trace.note("VIOLATION", rule, message);
  };
  const scene: LiveScene = { ground, plan, world: () => world };
  const observers: Observer[] = LIVE_CHECKERS.map((it) => it.watch(scene, report(it.name)));
  const observer = fanOut([ground, ...observers]);
  const { remarks = 0 } = options;
  const app = journalApp(plan.shape.idleAfterMs);
  world = new World(app, plan.seed, plan.shape, plan.healAt, observer, remarks > 0);
  const workload = new Workload(world);
  stage(plan, world, workload);
  const { scheduler } = world;
  await scheduler.run(
    plan.endAt,
    () => observer.stepped(scheduler.now),
    () => violations.length > 0,
  );
  if (violations.length === 0) {
    observer.finished();
    const history = historyOf(plan, world, workload);
    for (const checker of HISTORY_CHECKERS) checker.check(history, report(checker.name));
  }
  const { calls } = workload;
  return {
    seed: plan.seed,
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
function stage(plan: Plan, world: World, workload: Workload): void {
  const { scheduler } = world;
  for (const { index } of world.slots) scheduler.at(index * 5, () => world.start(index));
  for (const fault of plan.faults) {
    scheduler.at(fault.at, () => {
      world.noteFault(fault);
      faultKind(fault.kind).begin(world, fault);
    });
  }
  for (const work of plan.work) scheduler.at(work.at, () => workload.begin(work));
  scheduler.at(plan.healAt, () => {
    world.heal();
    workload.probe();
  });
}

function historyOf(plan: Plan, world: World, workload: Workload): History {
  const journals = new Map<string, Entry[]>();
  for (let key = 0; key < plan.shape.keys; key++) {
    const name = `${JOURNALS}/k${key}`;
    journals.set(name, readJournal(world.store.state, name));
  }
  return { calls: workload.calls, journals };
}
