/**
 * The journal clients of a plan: make its calls at their times, and ask for every key once more
 * after healing.
 */
import type { CallRecord } from "../engine/history.ts";
import { JOURNALS } from "../engine/journal_app.ts";
import type { Clients } from "./run_world.ts";
import type { Plan } from "../plan/plan.ts";
import { Workload } from "./workload.ts";
import type { World } from "../engine/world.ts";

export abstract class JournalClients implements Clients {
  protected readonly plan: Plan;
  protected readonly world: World;
  readonly #workload: Workload;

  constructor(plan: Plan, world: World) {
    this.plan = plan;
    this.world = world;
    this.#workload = new Workload(world);
  }

  get calls(): readonly CallRecord[] {
    return this.#workload.calls;
  }

  keys(): readonly string[] {
    return Array.from({ length: this.plan.shape.keys }, (_, key) => `${JOURNALS}/k${key}`);
  }

  begin(): void {
    const { scheduler } = this.world;
    for (const work of this.plan.work) scheduler.at(work.at, () => this.#workload.begin(work));
  }

  healed(): void {
    this.#workload.probe();
  }

  isDone(): boolean {
    return false;
  }

  abstract finished(): void;
}
