/**
 * Runs one simulation of journals that operate without the store: takes a plan, gives its result,
 * the same each time.
 */
import { type App, defineApp, type ResourceType } from "../../src/api/app.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import { claims } from "../checkers/claims.ts";
import { returns } from "../checkers/calls.ts";
import { bounded, healing } from "../checkers/healing.ts";
import { death, epochs, oneLife } from "../checkers/ownership.ts";
import { Journal, JOURNALS } from "../engine/journal_app.ts";
import type { Plan } from "../plan/plan.ts";
import { JournalClients } from "../run/journal_clients.ts";
import { type Result, type RunOptions, runWorld, type WorldSetup } from "../run/run_world.ts";
import { OfflineCheckers } from "./offline_checkers.ts";

/** Rules that hold with and without the store. */
const CHECKERS = [healing, returns, bounded, oneLife, claims, death, epochs];

export interface OfflineResult extends Result {
  /** Answers with the offline mark. */
  readonly marked: number;
  /** Times that `onConflict` ran. */
  readonly conflicts: number;
  /** The number of answers that nodes without the store got from owners elsewhere. */
  readonly reached: number;
  /** Turns that were logged offline and committed later. */
  readonly committed: number;
}

/** Runs a plan. @throws only if the simulator itself fails */
export async function runOffline(
  plan: Plan,
  options: RunOptions = {},
): Promise<OfflineResult> {
  const rules = new OfflineCheckers(plan.faults);
  let clients: OfflineClients | null = null;
  const setup: WorldSetup = {
    world: "offline",
    app: offlineApp(plan.shape.idleAfterMs, rules),
    checkers: [...CHECKERS, rules.checker],
    enter: (world, report) => {
      rules.enter(world, report);
      return clients = new OfflineClients(plan, world);
    },
  };
  const result = await runWorld(plan, setup, options);
  const { committed = 0 } = clients ?? {} as Partial<OfflineClients>;
  const { marked, conflicts, reached } = rules;
  return { ...result, marked, conflicts, reached, committed };
}

/**
 * Journals that operate without the store, and report their values when they lose a conflict. Every
 * second one writes without reading, so that it can also be claimed without the store.
 */
function offlineApp(
  idleAfterMs: number,
  rules: OfflineCheckers,
): App<{ journals: ResourceType<Journal> }> {
  class Keeper extends Journal {
    /** Storage keys that this instance wrote. */
    readonly #written: string[] = [];

    override async append(value: string): Promise<[seq: number, epoch: number]> {
      if (Number(this.id.slice(1)) % 2 === 0) {
        const [seq, epoch] = await super.append(value);
        this.#written.push(`e${String(seq).padStart(6, "0")}`);
        return [seq, epoch];
      }
      this.#written.push(`e${value}`);
      await this.storage.put(`e${value}`, `${this.epoch} ${value}`);
      return [0, this.epoch];
    }

    override async onConflict(_winner: Ownership): Promise<void> {
      const { key, rrp, epoch } = this;
      rules.conflicted({ key, rrp, epoch, values: await this.#values() });
    }

    /** The values that it wrote and can still read. */
    async #values(): Promise<string[]> {
      const values: string[] = [];
      for (const field of this.#written) {
        // Entries that were committed long ago are in the store, which can't be read now.
        const text = await this.storage.get<string>(field).catch(() => undefined);
        if (text !== undefined) values.push(text.split(" ")[1] ?? "");
      }
      return values;
    }
  }
  return defineApp({
    resources: { [JOURNALS]: { class: Keeper, idleAfterMs, partition: "available" } },
  });
}

class OfflineClients extends JournalClients {
  /** Turns that were logged offline and committed later, by processes that run at the end. */
  committed = 0;

  override finished(): void {
    for (const { node } of this.world.nodes()) {
      this.committed += node?.stats().offlineTurnsCommitted ?? 0;
    }
  }
}
