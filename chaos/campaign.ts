/**
 * Runs the rounds of a chaos run: faults, healing, verification. Each round uses new names, so that
 * a run of any length keeps only one round's history. Stops at the first violation and keeps its
 * artifacts.
 */
import type { RuntimeName } from "../test/e2e/process.ts";
import type { Entry } from "../sim/engine/history.ts";
import { FLEETING, LASTING } from "./app.ts";
import { Callers, Recorder } from "./callers.ts";
import { keepArtifacts } from "./artifacts.ts";
import { checkHealing } from "./healing.ts";
import { verify } from "./verify.ts";
import { within } from "./managed_node.ts";
import { drawFaults, FAULT_KINDS, type FaultKind } from "./plan.ts";
import type { Registry } from "./registry.ts";
import type { Violation } from "./report.ts";
import { FaultRunner } from "./fault_runner.ts";
import { HistoryRecorder } from "./history_recorder.ts";

const RUNTIMES: readonly RuntimeName[] = ["bun", "deno", "node", "bun"];
/** The longest period in which the faults of a round begin, ms. */
const FAULTS_MS = 40_000;
const LASTING_KEYS = 10;
const FLEETING_KEYS = 6;
const CALLERS = 24;
/** How long callers may wait for their last answers: longer than any deadline, in ms. */
const LAST_CALLS_MS = 30_000;
/** How long healing may take: a drain, and starts on a busy machine, in ms. */
const HEAL_MS = 120_000;

/** The summary of a run. */
export interface Summary {
  minutes: number;
  seed: number;
  rounds: number;
  calls: number;
  acknowledged: number;
  /** Calls reported as not executed. */
  refused: number;
  /** Calls with an unknown outcome. */
  unknown: number;
  /** Epochs seen in answers, and the number of them that moved a name to another node. */
  ownerships: number;
  takeovers: number;
  namesTakenBack: number;
  /** Acknowledged appends that were lost, and reported as lost by a node. */
  lostAndTold: number;
  violations: number;
  slowestHealingMs: number;
  faults: Record<string, number>;
}

export interface CampaignOptions {
  seed: number;
  /** Environment variables of every node. */
  env: Record<string, string>;
}

export class Campaign {
  readonly #seed: number;
  readonly #runner: FaultRunner;
  readonly #kinds: readonly FaultKind[];
  readonly #ids: { next: number } = { next: 1 };
  readonly #violations: Violation[] = [];
  readonly #summary: Summary;

  constructor(registry: Registry, { seed, env }: CampaignOptions) {
    this.#seed = seed;
    const has = (kind: FaultKind): boolean => registry.faults.some((fault) => fault === kind);
    this.#kinds = FAULT_KINDS.filter((kind) => !kind.startsWith("redis") || has(kind));
    this.#runner = new FaultRunner(registry, RUNTIMES, env, this.#report);
    this.#summary = {
      minutes: 0,
      seed,
      rounds: 0,
      calls: 0,
      acknowledged: 0,
      refused: 0,
      unknown: 0,
      ownerships: 0,
      takeovers: 0,
      namesTakenBack: 0,
      lostAndTold: 0,
      violations: 0,
      slowestHealingMs: 0,
      faults: {},
    };
  }

  /** Runs rounds until `ms` are over or a rule is broken. */
  async run(ms: number): Promise<Summary> {
    await this.#runner.open();
    // Counted from when all nodes are ready, so that the schedule has the requested length.
    const began = performance.now();
    const left = (): number => ms - (performance.now() - began);
    do {
      await this.#round(++this.#summary.rounds, Math.max(5_000, Math.min(FAULTS_MS, left())));
      this.#summary.minutes = Math.round((performance.now() - began) / 600) / 100;
    } while (left() > 1_000 && this.#violations.length === 0);
    this.#runner.close();
    this.#summary.namesTakenBack = this.#runner.namesTakenBack;
    this.#summary.violations = this.#violations.length;
    this.#summary.faults = Object.fromEntries(this.#runner.counts);
    return this.#summary;
  }

  async #round(round: number, lengthMs: number): Promise<void> {
    const runner = this.#runner;
    const history = new HistoryRecorder(this.#report);
    const recorder = new Recorder(history, this.#ids);
    const keys = keysOf(round);
    const faults = drawFaults(this.#seed, round, lengthMs, RUNTIMES.length, this.#kinds);
    const callers = new Callers(
      recorder,
      keys,
      () => runner.runs(),
      this.#seed + round,
      CALLERS,
    );
    let journals: ReadonlyMap<string, readonly Entry[]> = new Map();
    try {
      await runner.applyFaults(faults, lengthMs);
      await within(HEAL_MS, runner.heal(), "the cluster was not healed");
      const healingMs = await checkHealing(runner, recorder, keys, this.#report);
      this.#summary.slowestHealingMs = Math.max(
        this.#summary.slowestHealingMs,
        Math.round(healingMs),
      );
      await within(LAST_CALLS_MS, callers.finish(), "not all calls came back");
      const run = runner.runs()[round % RUNTIMES.length];
      if (!run) throw new Error("no process is left after healing");
      const reported = runner.reportedLosses();
      const verdict = await verify(recorder.calls, keys, run, reported, this.#report);
      ({ journals } = verdict);
      for (const { size } of verdict.lost?.values() ?? []) this.#summary.lostAndTold += size;
    } catch (error) {
      this.#report("round", error instanceof Error ? error.stack ?? error.message : String(error));
    }
    this.#count(recorder, history);
    console.error(this.#line(round, recorder));
    if (this.#violations.length > 0) {
      const { calls } = recorder;
      const artifacts = { seed: this.#seed, round, faults, calls, journals };
      keepArtifacts({ ...artifacts, violations: this.#violations }, runner);
    }
    for (const node of runner.nodes) node.forget();
  }

  #count({ calls }: Recorder, { ownerships, takeovers }: HistoryRecorder): void {
    const summary = this.#summary;
    summary.calls += calls.length;
    for (const { outcome } of calls) {
      if (outcome === "ok") summary.acknowledged++;
      else if (outcome === "fail") summary.refused++;
      else summary.unknown++;
    }
    summary.ownerships += ownerships;
    summary.takeovers += takeovers;
  }

  #line(round: number, { calls }: Recorder): string {
    const answered = calls.filter(({ outcome }) => outcome === "ok").length;
    const faults = [...this.#runner.counts.values()].reduce((sum, count) => sum + count, 0);
    return `round ${round}: ${calls.length} calls, ${answered} acknowledged; so far ` +
      `${faults} faults, ${this.#summary.takeovers} takeovers, ` +
      `${this.#violations.length} violations`;
  }

  readonly #report = (rule: string, message: string): void => {
    this.#violations.push({ rule, message, at: performance.now() });
  };
}

function keysOf(round: number): string[] {
  const some = (type: string, count: number): string[] =>
    Array.from({ length: count }, (_, i) => `${type}/r${round}k${i}`);
  return [...some(LASTING, LASTING_KEYS), ...some(FLEETING, FLEETING_KEYS)];
}
