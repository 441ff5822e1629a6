/**
 * Runs one market simulation. After healing, the market must come to rest within a bound, as if no
 * fault had happened; then every buyer's calls must be answered; and then no call or credit may be
 * left over.
 */
import { defineApp } from "../../src/api/app.ts";
import { BOOTSTRAP_MS } from "../../src/limits.ts";
import { timing } from "../../src/registry/lease.ts";
import type { LiveChecker } from "../checkers/checker.ts";
import type { Observer } from "../engine/observer.ts";
import { SeededRandom } from "../engine/random.ts";
import { type SimNode, SUPERVISOR_MS, type World } from "../engine/world.ts";
import type { MarketPlan } from "../plan/market_plan.ts";
import {
  type Clients,
  type Reporter,
  type Result,
  type RunOptions,
  runWorld,
} from "../run/run_world.ts";
import { settingsOf } from "../market/bootstraps.ts";
import { MARKET_CHECKERS } from "../market/checkers/all.ts";
import { FinalStateCheck } from "../market/final_state_check.ts";
import { MarketHistory, type ModuleCallRecord, type ProcessSample } from "../market/history.ts";
import { busListener, messageFaults } from "../market/message_faults.ts";
import { Traders } from "../market/traders.ts";

/** Between two checks of the final state, ms. */
const CHECK_MS = 250;
/** Between two checks whether all nodes have met, so that the seed node may be lost, in ms. */
const MEETING_AGAIN_MS = 500;
/** Time beyond all known waits: retries, and reservations of exchanges that expire. */
const REST_MS = 12_000;

/** Runs a market plan. @throws only if the simulator itself fails */
export function runMarket(plan: MarketPlan, options: RunOptions): Promise<Result> {
  const history = new MarketHistory();
  let running: { readonly world: World; readonly traders: Traders } | undefined;
  const world = (): World => running?.world as World;
  const checkers = MARKET_CHECKERS.map((checker): LiveChecker => ({
    name: checker.name,
    watch(context, report) {
      const observer = checker.watch({ plan, history, world: context.world }, report);
      history.join(observer);
      return observer;
    },
  }));
  const sampling: LiveChecker = {
    name: "sampling",
    watch: () => checkAfterEvent(world, () => running?.traders as Traders, history),
  };
  return runWorld(plan, {
    world: "market",
    app: defineApp({ resources: {} }),
    settingsFor: settingsOf(plan),
    checkers: [sampling, ...checkers],
    enter(world, report) {
      const traders = new Traders(world, history);
      running = { world, traders };
      return new MarketClients(plan, world, traders, history, report);
    },
  }, options);
}

class MarketClients implements Clients {
  readonly #plan: MarketPlan;
  readonly #world: World;
  readonly #traders: Traders;
  readonly #history: MarketHistory;
  readonly #report: (message: string) => void;
  readonly #finalState: FinalStateCheck;
  #isDone = false;

  constructor(
    plan: MarketPlan,
    world: World,
    traders: Traders,
    history: MarketHistory,
    report: Reporter,
  ) {
    this.#plan = plan;
    this.#world = world;
    this.#traders = traders;
    this.#history = history;
    this.#report = report("healing");
    this.#finalState = new FinalStateCheck(world, traders, plan.market);
    world.onReady = (slot, sim) => traders.ready(slot, sim);
    world.network.onFrame(busListener((sent) => history.messageSent(sent)));
    world.network.messageFault = messageFaults(
      plan.market,
      new SeededRandom(plan.seed, "meddler"),
      world,
    );
  }

  get calls(): readonly ModuleCallRecord[] {
    return this.#history.calls;
  }

  keys(): readonly string[] {
    return [];
  }

  begin(): void {
    const { scheduler } = this.#world;
    for (const trade of this.#plan.trades ?? []) {
      scheduler.at(trade.at, () => this.#traders.trade(trade));
    }
    const { seedLostAt } = this.#plan.market;
    if (seedLostAt > 0) scheduler.at(seedLostAt, () => this.#loseSeed());
  }

  /**
   * Ends the seed node once all others have met, however long their messages took: without it they
   * could not learn of each other.
   */
  async #loseSeed(): Promise<void> {
    const { scheduler } = this.#world;
    if (await this.#finalState.haveMet(1)) this.#world.retire(0);
    else scheduler.after(MEETING_AGAIN_MS, () => this.#loseSeed());
  }

  healed(): void {
    this.#traders.healed();
    const { lease, store } = this.#plan.shape;
    // Until then an incarnation that lost its lease before healing may end, and its calls fail.
    const livesMs = 2 * timing(lease).takeoverMs + store.timeoutMs + SUPERVISOR_MS;
    this.#world.scheduler.after(livesMs, () => {
      this.#rest("after healing", BOOTSTRAP_MS + REST_MS, () => this.#probe());
    });
  }

  isDone(): boolean {
    return this.#isDone;
  }

  finished(): void {
    if (!this.#isDone) this.#report("the simulation's time was up before the market's was");
  }

  /** Checks the final state until nothing is wrong. */
  #rest(when: string, withinMs: number, then: () => void): void {
    const { scheduler, trace } = this.#world;
    const dueAt = scheduler.now + withinMs;
    const look = async (): Promise<void> => {
      const wrong = await this.#finalState.check();
      trace.note("inspected", wrong.length, wrong[0] ?? "in order");
      if (wrong.length === 0) return then();
      if (scheduler.now < dueAt) return void scheduler.after(CHECK_MS, look);
      for (const what of wrong) this.#report(`${withinMs} ms ${when}: ${what}`);
    };
    scheduler.after(CHECK_MS, look);
  }

  /** Every buyer calls once more; every call must be answered. */
  #probe(): void {
    const calls = this.#traders.probe();
    const { scheduler } = this.#world;
    const look = (): void => {
      const open = calls.filter(({ returnedAt }) => returnedAt === Infinity);
      if (open.length > 0) return void scheduler.after(CHECK_MS, look);
      for (const { id, process, outcome, code, message } of calls) {
        if (outcome !== "ok") this.#report(`call ${id} at ${process}: ${code}: ${message}`);
      }
      this.#rest("after the last call", REST_MS, () => this.#isDone = true);
    };
    look();
  }
}

/**
 * After every event, collects the statistics of each process that ran and passes them to the
 * checkers.
 */
export function checkAfterEvent(
  world: () => World,
  traders: () => Traders,
  history: MarketHistory,
): Observer {
  /** How many callbacks had run in each process at the last sample. */
  const seen = new Map<SimNode, number>();
  const look = (sim: SimNode): void => {
    const { node, process } = sim;
    if (!node || !process.isAlive || seen.get(sim) === process.runs) return;
    seen.set(sim, process.runs);
    const buyers: ProcessSample["buyers"][number][] = [];
    for (const buyer of traders().buyers) {
      const proxy = buyer.proxyOf(sim);
      if (proxy) buyers.push({ buyer, ...proxy.$plb.stats() });
    }
    const listeners = node.listeners().map((listener) => ({
      publication: history.publicationOf(listener),
      stats: listener.stats(),
    }));
    history.sampled({ sim, listeners, buyers, marketStats: () => node.stats() });
  };
  return {
    stepped() {
      for (const { current, former } of world().slots) {
        if (current) look(current);
        for (const sim of former) look(sim);
      }
    },
  };
}
