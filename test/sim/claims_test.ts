/**
 * The checkers of claims and of death: the histories that they accept, and each kind of wrong
 * history that they find.
 */
import { expect, test } from "vitest";
import type { CheckContext, LiveChecker } from "../../sim/checkers/checker.ts";
import { claims, singleClaim } from "../../sim/checkers/claims.ts";
import { death } from "../../sim/checkers/ownership.ts";
import type { Step, StepReply } from "../../sim/engine/observer.ts";

/** A store without replicas. */
const SCENE = { plan: { shape: { store: {} } } } as unknown as CheckContext;

type Asked = [name: Step["name"], process: string, from: number, to: number | null, ...unknown[]];

const KEY = "journals/k";
const owner = (incarnation: string, epoch: number) => ({ rrp: incarnation, incarnation, epoch });

/** A claim by `who`, sent at `from`, whose reply was received at `to` (null: never). */
function claim(
  who: string,
  from: number,
  to: number | null,
  expected: [string, number] | null,
  reply: [won: boolean, incarnation: string, epoch: number] | null,
  opId = `${who}${from}`,
): Asked {
  const [incarnation, epoch] = expected ?? [];
  const expects = incarnation === undefined ? null : { incarnation, epoch };
  const args = { key: KEY, rrp: who, incarnation: who, opId, expected: expects };
  const answer = reply && { won: reply[0], owner: owner(reply[1], reply[2]) };
  return ["claim", who, from, to, args, answer];
}

const release = (
  who: string,
  from: number,
  to: number | null,
  epoch: number,
  done = true,
): Asked => [
  "release",
  who,
  from,
  to,
  [KEY, who, epoch],
  done,
];
const lookup = (from: number, to: number, found: [string, number] | null): Asked => [
  "lookup",
  "reader",
  from,
  to,
  [KEY],
  found && owner(...found),
];
const kill = (whom: string, from: number, to: number): Asked => [
  "kill",
  "killer",
  from,
  to,
  [whom, 1],
  "dead",
];
const renew = (who: string, from: number, to: number, state: string): Asked => {
  const outcome = state === "live" ? "renewed" : "fenced";
  return ["renew", who, from, to, [who, 2, []], { outcome, state, version: 1, watched: [] }];
};

/** The violations that a checker reports for steps, given in the order of their times. */
function violationsOf(checker: LiveChecker, steps: readonly Asked[]): string[] {
  const said: string[] = [];
  const observer = checker.watch(SCENE, (message) => said.push(message));
  const told = steps.flatMap(([name, process, from, to, args, reply]) => {
    const step = { name, args: Array.isArray(args) ? args : [args], process, at: from } as Step;
    const asked = { at: from, tell: () => observer.asked?.(step) };
    if (to === null) return [asked];
    return [asked, { at: to, tell: () => observer.replyReceived?.(step, reply as StepReply, to) }];
  });
  for (const { tell } of told.sort((a, b) => a.at - b.at)) tell();
  observer.finished?.();
  return said;
}

test("claims that follow each other pass", () => {
  expect(violationsOf(claims, [
    lookup(0, 5, null),
    claim("a", 10, 20, null, [true, "a", 1]),
    claim("b", 11, 21, null, [false, "a", 1]),
    release("a", 30, 40, 1),
    lookup(31, 39, null),
    claim("b", 35, 50, null, [true, "b", 2]),
    kill("b", 60, 70),
    claim("a", 75, 90, ["b", 2], [true, "a", 3]),
    lookup(80, 85, ["b", 2]),
    lookup(82, 95, ["a", 3]),
  ])).toEqual([]);
});

test("an attempt whose answer is lost may have been done, late or not at all", () => {
  const lost = claim("a", 10, null, null, null);
  expect(violationsOf(claims, [lost, lookup(500, 510, ["a", 1])])).toEqual([]);
  expect(violationsOf(claims, [lost, lookup(500, 510, null)])).toEqual([]);
  expect(violationsOf(claims, [
    lost,
    claim("b", 20, 30, null, [true, "b", 1]),
    release("b", 40, null, 1),
    lookup(900, 910, ["a", 2]),
  ])).toEqual([]);
});

test("an observed vacancy delays the next ownership", () => {
  const intervals = [
    claim("a", 0, 100, null, [true, "a", 1]),
    release("a", 110, 120, 1),
    claim("b", 90, 400, null, [true, "b", 2]),
  ];
  expect(violationsOf(claims, [...intervals, lookup(290, 300, null)])).toEqual([]);
  expect(violationsOf(claims, [...intervals, lookup(290, 300, null), lookup(150, 200, ["b", 2])]))
    .toHaveLength(
      1,
    );
});

test.for<[string, Asked[]]>([
  ["two winners of one epoch", [
    claim("a", 0, 10, null, [true, "a", 1]),
    claim("b", 0, 10, null, [true, "b", 1]),
  ]],
  ["an epoch that comes after a higher one", [
    claim("a", 0, 10, null, [true, "a", 2]),
    release("a", 20, 30, 2),
    claim("b", 40, 50, null, [true, "b", 1]),
  ]],
  ["an epoch that was used before", [
    claim("a", 0, 10, null, [true, "a", 1], "one"),
    release("a", 20, 30, 1),
    claim("a", 40, 50, null, [true, "a", 1], "two"),
  ]],
  ["a claim of nobody while somebody owned it", [
    claim("a", 0, 10, null, [true, "a", 1]),
    claim("b", 20, 30, null, [true, "b", 2]),
  ]],
  ["a takeover from one who lives", [
    claim("a", 0, 10, null, [true, "a", 1]),
    claim("b", 20, 30, ["a", 1], [true, "b", 2]),
  ]],
  ["a takeover of an ownership that was over", [
    claim("a", 0, 10, null, [true, "a", 1]),
    kill("a", 11, 12),
    claim("b", 20, 30, ["a", 1], [true, "b", 2]),
    kill("b", 31, 32),
    claim("c", 40, 50, ["a", 1], [true, "c", 3]),
  ]],
  ["an owner that is told of after its release was heard of", [
    claim("a", 0, 10, null, [true, "a", 1]),
    release("a", 20, 30, 1),
    lookup(40, 50, ["a", 1]),
  ]],
  ["an owner that is told of before it asked", [
    lookup(0, 5, ["a", 1]),
    claim("a", 10, 20, null, [true, "a", 1]),
  ]],
  ["nobody told of while somebody owned it", [
    claim("a", 0, 10, null, [true, "a", 1]),
    lookup(20, 30, null),
    release("a", 40, 50, 1),
  ]],
  ["an ownership that ended though nobody wanted it to", [
    claim("a", 0, 10, null, [true, "a", 1]),
    ["commit", "a", 20, 30, { key: KEY, incarnation: "a", epoch: 1 }, "fenced"],
  ]],
  ["a refusal that names what was expected", [
    claim("a", 0, 10, null, [true, "a", 1]),
    kill("a", 11, 12),
    claim("b", 20, 30, ["a", 1], [false, "a", 1]),
  ]],
])("the checker finds %s", ([, steps]) => {
  expect(violationsOf(claims, steps)).not.toEqual([]);
});

test("a dead incarnation that is reported alive is found", () => {
  expect(violationsOf(death, [kill("a", 0, 20), renew("a", 10, 30, "live")])).toEqual([]);
  expect(violationsOf(death, [kill("a", 0, 20), renew("a", 25, 30, "live")])).toHaveLength(1);
  expect(violationsOf(death, [renew("a", 0, 5, "dead"), renew("a", 6, 9, "superseded")]))
    .toHaveLength(1);
});

test("two pending claims of one process for a key are found", () => {
  const first = claim("a", 0, 10, null, [true, "a", 1]);
  expect(violationsOf(singleClaim, [first, claim("a", 20, 30, ["a", 1], [true, "a", 2])])).toEqual(
    [],
  );
  expect(violationsOf(singleClaim, [first, claim("a", 5, 30, null, [false, "a", 1])])).toHaveLength(
    1,
  );
});
