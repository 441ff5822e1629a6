/** The error of a failed simulation, with all that is needed to replay it. */
import type { FaultEvent } from "../plan/plan.ts";
import type { Violation } from "../run/run_world.ts";

/** The data of a failed simulation. */
export interface SimulationFailure {
  readonly seed: number;
  /** The drawn link conditions, leases and clocks, as JSON. */
  readonly shape: string;
  /** The broken rules, in order of time: rules of Atlas, `check` or `workload`. */
  readonly violations: readonly Violation[];
  /** The schedule of faults, by time. */
  readonly faults: readonly FaultEvent[];
  /** The last events. */
  readonly remarks: readonly string[];
  /** Whether a second run of the seed had the same events. */
  readonly isRepeatable: boolean;
}

/** Thrown by `simulate`. Its `cause` is what the workload or the check threw, if they did. */
export class SimulationError extends Error {
  override readonly name = "SimulationError";
  /**
   * Private, because the message contains all of it and test runners would print public fields
   * again.
   */
  readonly #failure: SimulationFailure;

  constructor(failure: SimulationFailure, cause: unknown) {
    super(textOf(failure), cause === undefined ? undefined : { cause });
    this.#failure = failure;
  }

  /** The content of the message, as data. */
  get failure(): SimulationFailure {
    return this.#failure;
  }

  get seed(): number {
    return this.#failure.seed;
  }

  /** How to replay it. */
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
