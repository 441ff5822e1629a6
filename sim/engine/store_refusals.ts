/**
 * A simulated store that refuses steps which need memory, for a while, by one kind of refusal
 * (`src/model/refusal.ts`). Like a full Redis, it still accepts renewals, releases and takeovers,
 * and repeats of commits that were applied before.
 */
import { hasTurn } from "../../adapters/store/lineage.ts";
import { type Refusal, StepRefused } from "../../src/model/refusal.ts";
import type { Step } from "./observer.ts";
import type { FaultEvent, Plan } from "../plan/plan.ts";
import type { SeededRandom } from "./random.ts";
import type { StoreState } from "../../adapters/store/store_state.ts";

/** The share of plans that have a store that refuses steps. */
const SHARE = 0.2;
const MOST = 3;
const LONGEST_MS = 2_500;

/** The plan, in some seeds with such a store. */
export function withRefusals(random: SeededRandom, plan: Plan): Plan {
  if (!random.chance(SHARE)) return plan;
  const { shape, healAt } = plan;
  const added = Array.from({ length: 1 + random.below(MOST) }, (): FaultEvent => ({
    at: random.between(1_000, healAt),
    kind: "store_full",
    a: random.below(shape.nodes),
    b: random.below(shape.nodes),
    ms: random.next() * LONGEST_MS,
    x: random.next(),
  }));
  const faults = [...plan.faults, ...added].sort((one, other) => one.at - other.at);
  return { ...plan, faults };
}

export class Refusals {
  readonly #kinds = new Map<object, Refusal>();

  begin(token: object, kind: Refusal): void {
    this.#kinds.set(token, kind);
  }

  end(token: object): void {
    this.#kinds.delete(token);
  }

  clear(): void {
    this.#kinds.clear();
  }

  /** Why a step is refused; null: it is accepted. */
  of(step: Step, state: StoreState): StepRefused | null {
    const [kind] = this.#kinds.values();
    if (kind === undefined || !needsRoom(step, state)) return null;
    return new StepRefused(
      `the registry refuses it: it is full (${kind})`,
      kind,
      "the store is full",
    );
  }
}

function needsRoom(step: Step, state: StoreState): boolean {
  if (step.name !== "commit") return false;
  const [{ key, incarnation, epoch, turn }] = step.args;
  const owner = state.lookup(key);
  if (owner?.incarnation !== incarnation || owner.epoch !== epoch) return false;
  const last = { epoch, turn };
  const [has] = state.kept([{ key, last }], { id: state.id, term: 0 }) ?? [];
  return !has || !hasTurn(has, last);
}
