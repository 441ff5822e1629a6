/** The error of a failed simulation, with all that is needed to replay it. */
import type { FaultEvent } from "../plan/plan.ts";
import type { Violation } from "../run/run_world.ts";

/** What is known of a simulation that failed. */
export interface SimulationFailure {
  readonly seed: number;
  /** The drawn link conditions, leases and clocks, as JSON. */
  readonly shape: string;
  /** What was broken, the first first; rules of Atlas, or `check`, or `workload`. */
  readonly violations: readonly Violation[];
  /** The schedule of faults, by time. */
  readonly faults: readonly FaultEvent[];
  /** The last things that happened. */
  readonly remarks: readonly string[];
  /** Whether a second run of the seed did the same things. */
  readonly isRepeatable: boolean;
}

/** Thrown by `simulate`. Its `cause` is what the workload or the check threw, if they did. */
export class SimulationError extends Error {
  override readonly name = "SimulationError";
  /** Private: the message tells all of it, and test runners print public fields once more. */
  readonly #failure: SimulationFailure;

  constructor(failure: SimulationFailure, cause: unknown) {
    super(textOf(failure), cause === undefined ? undefined : { cause });
    this.#failure = failure;
  }

  /** All that the message tells, as data. */
  get failure(): SimulationFailure {
    return this.#failure;
  }

  get seed(): number {
    return this.#failure.seed;
  }

  /** How to see it again. */
  get replay(): string {
    return replayText(this.#failure);
  }
}

function replayText({ seed }: SimulationFailure): string {
  return `simulate(app, { …, seed: ${seed}, seeds: 1 })`;
}

function textOf(failure: SimulationFailure): string {
  const { seed, shape, violations, faults, remarks, isRepeatable } = failure;
  const [first] = violations;
  const lines = [
    `seed ${seed} breaks a rule: ${first?.rule}: ${first?.message}`,
    `replay: ${replayText(failure)}`,
  ];
  if (!isRepeatable) {
    lines.push(
      "a second run of this seed went another way: the app, the workload or the check uses time " +
        "or chance that is not the simulation's, or keeps something from run to run",
    );
  }
  lines.push(`shape: ${shape}`, `faults:${faults.length === 0 ? " none" : ""}`);
  for (const { at, kind, a, b, ms, x } of faults) {
    lines.push(
      `  ${at.toFixed(3).padStart(10)}  ${kind} a=${a} b=${b} ms=${ms.toFixed(0)} x=${
        x.toFixed(2)
      }`,
    );
  }
  lines.push("last:", ...remarks.map((remark) => `  ${remark}`), "violations:");
  for (const { at, rule, message } of violations) {
    lines.push(`  ${at.toFixed(3).padStart(10)}  ${rule}: ${message}`);
  }
  return lines.join("\n");
}
