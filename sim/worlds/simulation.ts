/**
 * The simulated worlds: journals, in which each acknowledged call must occur once; journals under
 * several masters, or without the store; and the market of modules, whose capacity must not be
 * oversold.
 *
 * Takes a plan; gives its result, the same each time and on every runtime.
 */
import { runOffline } from "./offline.ts";
import { HISTORY_CHECKERS, LIVE_CHECKERS } from "../checkers/all.ts";
import type { GroundTruth } from "../engine/ground_truth.ts";
import type { CallRecord, Entry, History } from "../engine/history.ts";
import { journalApp, readJournal } from "../engine/journal_app.ts";
import { JournalClients } from "../run/journal_clients.ts";
import { runMarket } from "./market.ts";
import { runMasters } from "./masters.ts";
import {
  type Reporter,
  type Result,
  type RunOptions,
  runWorld,
  type WorldSetup,
} from "../run/run_world.ts";
import type { Plan } from "../plan/plan.ts";
import type { World } from "../engine/world.ts";

/** Runs a plan of any sort. @throws only if the simulator itself fails */
export function runPlan(plan: Plan, options: RunOptions = {}): Promise<Result> {
  const { market, masters } = plan;
  if (market) return runMarket({ ...plan, market }, options);
  if (masters) return runMasters({ ...plan, masters }, options);
  if (plan.shape.isAvailable) return runOffline(plan, options);
  const app = journalApp(plan.shape);
  const enter: WorldSetup["enter"] = (world, report, truth) =>
    new PlainClients(plan, world, report, truth);
  const world = plan.shape.regions ? "regions" : "resources";
  return runWorld(plan, { world, app, checkers: LIVE_CHECKERS, enter }, options);
}

class PlainClients extends JournalClients {
  readonly #report: Reporter;
  readonly #truth: GroundTruth;

  constructor(plan: Plan, world: World, report: Reporter, truth: GroundTruth) {
    super(plan, world);
    this.#report = report;
    this.#truth = truth;
  }

  override finished(): void {
    const history = { ...historyOf(this.world, this.calls), lost: this.#truth.lost };
    for (const checker of HISTORY_CHECKERS) checker.check(history, this.#report(checker.name));
  }
}

function historyOf(world: World, calls: readonly CallRecord[]): History {
  const journals = new Map<string, Entry[]>();
  for (const { key } of calls) {
    if (journals.has(key)) continue;
    journals.set(key, readJournal(world.regions?.stateOf(key) ?? world.store.state, key));
  }
  return { calls, journals };
}
