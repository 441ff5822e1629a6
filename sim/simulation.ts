/**
 * The plays that there are: journals, whose calls must be in their state once; journals
 * under several masters, who may differ for a while, or going on without any store; and the market of modules, whose
 * capacity must not be sold twice.
 *
 * Takes a plan; gives its result, the same each time and on every runtime.
 */
import { playAdrift } from "./adrift/play.ts";
import { HISTORY_CHECKERS, LIVE_CHECKERS } from "./checkers.ts";
import type { Ground } from "./ground.ts";
import type { CallRecord, Entry, History } from "./history.ts";
import { journalApp, JOURNALS, readJournal } from "./journal.ts";
import { runMarket } from "./market/run.ts";
import { playMasters } from "./masters/play.ts";
import {
  type Cast,
  type Clients,
  perform,
  type Reporter,
  type Result,
  type RunOptions,
} from "./perform.ts";
import type { Plan } from "./plan.ts";
import { Workload } from "./workload.ts";
import type { World } from "./world.ts";

/** Plays a plan of any sort. @throws only where the simulator itself fails */
export function runPlan(plan: Plan, options: RunOptions = {}): Promise<Result> {
  const { market, masters } = plan;
  if (market) return runMarket({ ...plan, market }, options);
  if (masters) return playMasters({ ...plan, masters }, options);
  if (plan.shape.isAvailable) return playAdrift(plan, options);
  const app = journalApp(plan.shape);
  const enter: Cast["enter"] = (world, report, ground) =>
    new JournalClients(plan, world, report, ground);
  const world = plan.shape.regions ? "regions" : "resources";
  return perform(plan, { world, app, checkers: LIVE_CHECKERS, enter }, options);
}

/** The clients that journals have, by a plan. */
class JournalClients implements Clients {
  readonly #plan: Plan;
  readonly #world: World;
  readonly #workload: Workload;
  readonly #report: Reporter;
  readonly #ground: Ground;

  constructor(plan: Plan, world: World, report: Reporter, ground: Ground) {
    this.#plan = plan;
    this.#world = world;
    this.#workload = new Workload(world);
    this.#report = report;
    this.#ground = ground;
  }

  get calls(): readonly CallRecord[] {
    return this.#workload.calls;
  }

  keys(): readonly string[] {
    return Array.from({ length: this.#plan.shape.keys }, (_, key) => `${JOURNALS}/k${key}`);
  }

  begin(): void {
    const { scheduler } = this.#world;
    for (const work of this.#plan.work) scheduler.at(work.at, () => this.#workload.begin(work));
  }

  healed(): void {
    this.#workload.probe();
  }

  isDone(): boolean {
    return false;
  }

  finished(): void {
    const history = { ...historyOf(this.#world, this.#workload), lost: this.#ground.lost };
    for (const checker of HISTORY_CHECKERS) checker.check(history, this.#report(checker.name));
  }
}

function historyOf(world: World, workload: Workload): History {
  const journals = new Map<string, Entry[]>();
  for (const { key } of workload.calls) {
    if (journals.has(key)) continue;
    journals.set(key, readJournal(world.regions?.bookOf(key) ?? world.store.state, key));
  }
  return { calls: workload.calls, journals };
}
