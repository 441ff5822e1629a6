/**
 * Simulates a user's app with faults: takes the app, its clients' workload and a check; gives a
 * report of the seeds that ran, or throws the first failure with all that is needed to replay it.
 */
import type { App } from "../../src/api/app.ts";
import { APP_CHECKERS } from "../checkers/all.ts";
import { type Result, runWorld, type WorldSetup } from "../run/run_world.ts";
import { addResults, newTally } from "../cli/tally.ts";
import { Trace } from "../engine/trace.ts";
import { UserClients } from "./clients.ts";
import { planOf } from "./simulation_plan.ts";
import { SimulationError } from "./failure.ts";
import { type Settings, settingsOf, type SimulateOptions } from "./options.ts";

/** The totals of a simulation in which no rule was broken. */
export interface SimulationReport {
  readonly seeds: number;
  /** A hash of all events: the same options always give the same hash. */
  readonly hash: string;
  readonly virtualMs: number;
  readonly events: number;
  /** Calls and lookups that clients made, and how many of them were answered. */
  readonly calls: number;
  readonly answered: number;
  /** How often each kind of fault happened. */
  readonly faults: Readonly<Record<string, number>>;
}

/** The number of remarks in the report of a failure. */
const REMARKS = 40;

/**
 * Runs `app` on a cluster in this process, on a virtual clock, once for each seed: nodes, network,
 * store and clients, with faults; heals everything; then runs `check`.
 *
 * These rules are always checked, too: at most one owner can commit, epochs only rise, claims are
 * linearizable, answers and `confirmed` lookups are correct, calls return by their deadline, and
 * every node finds every key after healing. Only the computation takes real time: some milliseconds
 * per seed.
 *
 * The app must take times and random numbers only from its arguments and storage, the workload and
 * the check only from their contexts; they must keep nothing between runs.
 *
 * @throws SimulationError at the first seed with a violation; AtlasError `bad_request` or
 * `invalid_rrp` if an option isn't allowed.
 */
export async function simulate<A extends App>(
  app: A,
  options: SimulateOptions<A>,
): Promise<SimulationReport> {
  const settings = settingsOf(app, options);
  const tally = newTally();
  const hashes = new Trace(false);
  const { seed, seeds } = settings;
  let last = "";
  for (let current = seed; current < seed + seeds; current++) {
    const { result } = await runSeed(settings, current, 0);
    if (result.violations.length > 0) throw await failureOf(settings, result);
    addResults(tally, [result]);
    hashes.note(last = result.hash);
  }
  const { virtualMs, events, calls, answered, faults } = tally;
  const hash = seeds === 1 ? last : hashes.hash;
  return { seeds, hash, virtualMs, events, calls, answered, faults };
}

async function runSeed<A extends App>(
  settings: Settings<A>,
  seed: number,
  remarks: number,
): Promise<{ result: Result; cause: unknown }> {
  const plan = planOf(settings, seed);
  let clients: UserClients<A> | undefined;
  const setup: WorldSetup = {
    app: settings.app,
    checkers: APP_CHECKERS,
    enter: (world, report) => clients = new UserClients(settings, seed, world, report),
  };
  const result = await runWorld(plan, setup, { remarks });
  return { result, cause: clients?.cause };
}

/** Replays a failed seed with remarks, which are too expensive to keep always. */
async function failureOf<A extends App>(
  settings: Settings<A>,
  first: Result,
): Promise<SimulationError> {
  const { result, cause } = await runSeed(settings, first.seed, REMARKS);
  const { shape } = planOf(settings, first.seed);
  return new SimulationError({
    seed: first.seed,
    shape: JSON.stringify(shape),
    violations: first.violations,
    faults: first.faults,
    remarks: result.remarks,
    isRepeatable: result.hash === first.hash,
  }, cause);
}
