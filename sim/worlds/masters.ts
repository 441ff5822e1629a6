/**
 * Runs one simulation with several masters: takes a plan, gives its result, the same each time.
 * Journals run on the cluster of `world.ts`, with each node's store at its own master.
 */
import type { AtlasNode } from "../../src/api/node.ts";
import { once, returns } from "../checkers/calls.ts";
import { bounded, healing } from "../checkers/healing.ts";
import { oneLife } from "../checkers/ownership.ts";
import type { MastersPlan } from "../draw/draw_masters.ts";
import type { Entry } from "../engine/history.ts";
import { journalApp, readJournal } from "../engine/journal_app.ts";
import { LATE_MS, SimMasters } from "../engine/masters.ts";
import type { World } from "../engine/world.ts";
import type { MastersShape } from "../plan/plan.ts";
import { JournalClients } from "../run/journal_clients.ts";
import {
  type Reporter,
  type Result,
  type RunOptions,
  runWorld,
  type WorldSetup,
} from "../run/run_world.ts";
import { MastersCheckers } from "./masters_checkers.ts";

/** The time from healing until each key has one owner, whatever arrives late, ms. */
const REST_MS = LATE_MS + 6_000;

/** Rules that hold for these nodes as for any. */
const CHECKERS = [healing, returns, bounded, oneLife];

export interface MastersResult extends Result {
  /** The number of reads of a key while it had two conflicting claims. */
  readonly contests: number;
  /** Clients' lookups that were answered while the key had two claims. */
  readonly lookups: number;
  /** The number of ownerships that were given up. */
  readonly conflictsLost: number;
}

/** Runs a plan. @throws only if the simulator itself fails */
export async function runMasters(
  plan: MastersPlan,
  options: RunOptions = {},
): Promise<MastersResult> {
  let clients: MastersClients | null = null;
  const rules = new MastersCheckers(plan);
  const setup: WorldSetup = {
    world: "masters",
    app: journalApp(plan.shape),
    checkers: [...CHECKERS, rules.checker],
    enter: (world, report) => clients = new MastersClients(plan, world, report, rules),
  };
  const result = await runWorld(plan, setup, options);
  const { conflictsLost = 0 } = clients ?? {} as Partial<MastersClients>;
  const { contests, lookups } = rules;
  return { ...result, contests, lookups, conflictsLost };
}

class MastersClients extends JournalClients {
  readonly #report: Reporter;
  readonly #masters: SimMasters;
  readonly #rules: MastersCheckers;
  readonly #shape: MastersShape;
  conflictsLost = 0;

  constructor(plan: MastersPlan, world: World, report: Reporter, rules: MastersCheckers) {
    super(plan, world);
    this.#shape = plan.masters;
    this.#report = report;
    this.#rules = rules;
    this.#masters = new SimMasters(plan.masters, world, rules);
    rules.enter(this.#masters, report);
    world.masters = this.#masters;
  }

  override healed(): void {
    super.healed();
    this.world.scheduler.after(REST_MS, () => {
      this.#checkEnd(this.world.shape.linkConditions.duplicates > 0);
      // Every key is called at every node once more, after the last late claim.
      super.healed();
    });
  }

  override finished(): void {
    this.#checkEnd(false);
    this.conflictsLost = this.#sum((node) => node.stats().conflictsLost ?? 0);
    if (!this.#shape.isBounded) return;
    // Two owners at once may each have filled the same position.
    const journals = new Map<string, Entry[]>();
    const state = this.#masters.stateAt(0);
    for (const key of this.keys()) journals.set(key, readJournal(state, key));
    once.check({ calls: this.calls, journals }, this.#report(once.name));
  }

  #checkEnd(mayStray: boolean): void {
    const inMemory = this.#sum((node) => node.stats().resources);
    this.#rules.rested(this.#masters, this.keys(), inMemory, mayStray);
  }

  /** The sum of a statistic over all nodes. */
  #sum(of: (node: AtlasNode) => number): number {
    return [...this.world.nodes()].reduce((sum, { node }) => sum + (node ? of(node) : 0), 0);
  }
}
