/**
 * The checker of claims against a search that tries every order: on thousands of short histories,
 * correct ones and ones with a wrong reply, both must give the same verdict.
 *
 * Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993).
 */
import { expect, test } from "vitest";
import { claims } from "../../sim/checkers/claims.ts";
import type { CheckContext } from "../../sim/checkers/checker.ts";
import type { Step, StepReply } from "../../sim/engine/observer.ts";
import { SeededRandom } from "../../sim/engine/random.ts";

/** A store without replicas. */
const SCENE = { plan: { shape: { store: {} } } } as unknown as CheckContext;

const KEY = "journals/k";
const WHO = ["a", "b", "c"];

type Owner = { readonly incarnation: string; readonly epoch: number } | null;

/** One operation on a register: asked at `from`, answered at `to`. */
interface Op {
  readonly what: "claim" | "release" | "lookup";
  readonly who: string;
  readonly expected: Owner;
  readonly from: number;
  readonly to: number;
  /** Its reply, and the owner in the reply. */
  readonly done: boolean;
  readonly owner: Owner;
}

/** A correct history: each operation takes effect at an instant between request and reply. */
function draw(random: SeededRandom): Op[] {
  let epoch = 0;
  let owner: Owner = null;
  /** Owners so far, and since when each was one. */
  const named: { readonly owner: Owner; readonly since: number }[] = [
    { owner: null, since: -Infinity },
  ];
  const count = 2 + random.below(6);
  return Array.from({ length: count }, (_, i): Op => {
    const at = (i + 1) * 10;
    // A process that names an owner has learned of it before.
    const { owner: expected, since } = random.pick(named);
    const from = Math.max(since + 1, at - 1 - random.below(35));
    const who = random.pick(WHO);
    const op = { who, from, to: at + 1 + random.below(35) };
    const kind = random.below(6);
    if (kind === 0) return { ...op, what: "lookup", expected: null, done: false, owner };
    if (kind < 3 && expected) {
      const done = same(owner, expected);
      if (done) owner = null;
      const asked = { ...op, who: expected.incarnation };
      return { ...asked, what: "release", expected, done, owner: null };
    }
    const done = same(owner, expected);
    if (done) {
      owner = { incarnation: who, epoch: epoch += 1 + random.below(2) };
      named.push({ owner, since: at });
    }
    return { ...op, what: "claim", expected, done, owner };
  });
}

/** The same history with one reply changed, which usually makes it wrong. */
function twist(random: SeededRandom, ops: readonly Op[]): Op[] {
  const at = random.below(ops.length);
  const others = ops.map(({ owner }) => owner);
  return ops.map((op, i): Op => {
    if (i !== at) return op;
    if (op.what === "release") return { ...op, done: !op.done };
    if (op.what === "lookup") return { ...op, owner: random.pick([null, ...others]) };
    const shift = random.below(60) - 30;
    return { ...op, from: op.from + shift, to: op.to + shift };
  });
}

function same(a: Owner, b: Owner): boolean {
  return a?.epoch === b?.epoch && a?.incarnation === b?.incarnation;
}

/**
 * Whether some order of all operations explains every answer; tries all. Requests may come twice:
 * each operation may also take effect once more, at any time after it was requested.
 */
function isExplained(ops: readonly Op[]): boolean {
  const epochs = ops.flatMap(({ owner }) => owner?.epoch ?? []);
  const search = (
    left: readonly Op[],
    twins: readonly Op[],
    now: number,
    state: State,
  ): boolean => {
    if (left.length === 0) return true;
    const until = Math.min(...left.map(({ to }) => to));
    const tries = (op: Op, next: State | null, other: readonly Op[], rest: readonly Op[]) => {
      const at = Math.max(now, op.from);
      return next !== null && at <= until && (next.by === state.by || isCausal(ops, next, at)) &&
        search(other, rest, at, next);
    };
    const without = (list: readonly Op[], op: Op) => list.filter((it) => it !== op);
    return left.some((op) => tries(op, after(op, state), without(left, op), twins)) ||
      twins.some((op) =>
        again(op, state, epochs).some((next) => tries(op, next, left, without(twins, op)))
      );
  };
  return search(ops, ops, -Infinity, { owner: null, epoch: 0, by: null });
}

/** Whether no request named this owner before `at`, when it became one. */
function isCausal(ops: readonly Op[], { owner }: State, at: number): boolean {
  return ops.every(({ expected, from }) => !expected || !same(expected, owner) || from >= at);
}

/** A register, and the operation that set its owner. */
interface State {
  readonly owner: Owner;
  readonly epoch: number;
  readonly by: Op | null;
}

/** The register after an operation; null if its reply would differ from the recorded one. */
function after(op: Op, state: State): State | null {
  const { owner, epoch, by } = state;
  if (op.what === "lookup") return same(owner, op.owner) ? state : null;
  if ((op.expected?.epoch ?? 0) > epoch) return null;
  const fits = same(owner, op.expected);
  if (op.what === "release") {
    if (fits !== op.done) return null;
    return fits ? { ...state, owner: null, by: null } : state;
  }
  if (by === op) return op.done && same(owner, op.owner) ? state : null;
  if (fits !== op.done) return null;
  if (!fits) return same(owner, op.owner) ? state : null;
  return op.owner !== null && op.owner.epoch > epoch ? won(op, op.owner.epoch) : null;
}

/** The states that the register may have after an operation whose reply is lost. */
function again(op: Op, state: State, epochs: readonly number[]): State[] {
  if (op.what === "lookup" || !same(state.owner, op.expected)) return [];
  if (op.what === "release") return [{ ...state, owner: null, by: null }];
  return epochs.filter((epoch) => epoch > state.epoch).map((epoch) => won(op, epoch));
}

function won(op: Op, epoch: number): State {
  return { owner: { incarnation: op.who, epoch }, epoch, by: op };
}

/** Whether the checker reports a violation. */
function isRefused(ops: readonly Op[]): boolean {
  let refused = false;
  const observer = claims.watch(SCENE, () => (refused = true));
  // All incarnations count as dead from the beginning, because deaths are covered by another test.
  for (const who of WHO) {
    observer.asked?.({ name: "kill", args: [who, 0], process: "p", at: -1_000 } as Step);
  }
  const told = ops.flatMap((op, i) => {
    const { what, who, expected, from, to } = op;
    const owner = op.owner && { rrp: "r", ...op.owner };
    const claim = { key: KEY, rrp: "r", incarnation: who, opId: `${i}`, expected };
    const [args, reply] = what === "lookup"
      ? [[KEY], owner]
      : what === "release"
      ? [[KEY, who, expected?.epoch], op.done]
      : [[claim], { won: op.done, owner }];
    const step = { name: what, args, process: who, at: from } as unknown as Step;
    return [
      { at: from, tell: () => observer.asked?.(step) },
      { at: to, tell: () => observer.replyReceived?.(step, reply as StepReply, to) },
    ];
  });
  for (const { tell } of told.sort((a, b) => a.at - b.at)) tell();
  observer.finished?.();
  return refused;
}

test("the checker of claims agrees with a search of all orders", () => {
  const random = new SeededRandom(1, "claims");
  let lies = 0;
  for (let i = 0; i < 20_000; i++) {
    const truth = draw(random);
    const ops = i % 3 === 0 ? truth : twist(random, truth);
    const explained = isExplained(ops);
    if (!explained) lies++;
    expect(isRefused(ops), JSON.stringify(ops)).toBe(!explained);
  }
  expect(lies).toBeGreaterThan(500);
});
