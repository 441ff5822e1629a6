/**
 * One simulation with several masters, from beginning to end.
 *
 * Takes a plan of `plan.ts`; gives its result, the same each time. Journals are played on
 * the cluster that `world.ts` makes, each node's store at a master of its own.
 */
import { bounded } from "../checkers/bounded.ts";
import { healing } from "../checkers/healing.ts";
import { once } from "../checkers/once.ts";
import { oneLife } from "../checkers/one_life.ts";
import { returns } from "../checkers/returns.ts";
import type { Entry } from "../history.ts";
import { journalApp, JOURNALS, readJournal } from "../journal.ts";
import { type Cast, type Clients, perform, type Reporter, type Result } from "../perform.ts";
import { Workload } from "../workload.ts";
import type { World } from "../world.ts";
import { SimMasters } from "./masters.ts";
import type { MastersPlan } from "./plan.ts";
import { Referees } from "./rules.ts";

/** Rules that hold for these nodes as for any. */
const CHECKERS = [healing, returns, bounded, oneLife];

export interface MastersResult extends Result {
  /** Times that somebody read a key where blind stakes stood side by side. */
  readonly contests: number;
  /** Ownerships that were conceded. */
  readonly conflictsLost: number;
}

/** Plays a plan. @throws only where the simulator itself fails */
export async function playMasters(plan: MastersPlan, remarks: number = 0): Promise<MastersResult> {
  let clients: MastersClients | null = null;
  const cast: Cast = {
    app: journalApp(plan.shape),
    checkers: CHECKERS,
    enter: (world, report) => clients = new MastersClients(plan, world, report),
  };
  const result = await perform(plan, cast, { remarks });
  const { contests = 0, conflictsLost = 0 } = clients ?? {} as Partial<MastersClients>;
  return { ...result, contests, conflictsLost };
}

class MastersClients implements Clients {
  readonly #plan: MastersPlan;
  readonly #world: World;
  readonly #report: Reporter;
  readonly #masters: SimMasters;
  readonly #referees: Referees;
  readonly #workload: Workload;
  conflictsLost = 0;

  constructor(plan: MastersPlan, world: World, report: Reporter) {
    this.#plan = plan;
    this.#world = world;
    this.#report = report;
    this.#referees = new Referees(plan, report);
    this.#masters = new SimMasters(plan.masters, world, this.#referees);
    this.#workload = new Workload(world);
    world.openStore = (process, clock, { index }) =>
      this.#masters.open(process, clock, index % plan.masters.count);
  }

  get contests(): number {
    return this.#referees.contests;
  }

  get calls(): Clients["calls"] {
    return this.#workload.calls;
  }

  keys(): readonly string[] {
    return Array.from({ length: this.#plan.shape.keys }, (_, key) => `${JOURNALS}/k${key}`);
  }

  begin(): void {
    const { scheduler } = this.#world;
    for (const work of this.#plan.work) scheduler.at(work.at, () => this.#workload.begin(work));
    for (const { at, ms } of this.#plan.splits) {
      const token = {};
      scheduler.at(at, () => {
        if (!this.#world.isHealed) this.#masters.split(token);
      });
      scheduler.at(at + ms, () => this.#masters.mend(token));
    }
  }

  healed(): void {
    this.#masters.clear();
    this.#workload.probe();
  }

  isDone(): boolean {
    return false;
  }

  finished(): void {
    const nodes = [...this.#world.nodes()];
    const inMemory = nodes.reduce((sum, { node }) => sum + (node?.stats().resources ?? 0), 0);
    this.conflictsLost = nodes.reduce((n, { node }) => n + (node?.stats().conflictsLost ?? 0), 0);
    this.#referees.finished(this.#masters, this.keys(), inMemory);
    if (!this.#plan.isBounded) return;
    // Of two owners at once each may have filled a place that the other's call was told.
    const journals = new Map<string, Entry[]>();
    const book = this.#masters.book(0);
    for (const key of this.keys()) journals.set(key, readJournal(book, key));
    once.check({ calls: this.#workload.calls, journals }, this.#report(once.name));
  }
}
