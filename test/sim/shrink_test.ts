/** Shrinking: to the smallest plan that breaks the same rule, within its time limit. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ddmin, shrink } from "../../sim/cli/shrink.ts";
import { makePlan } from "../../sim/draw/draw_resources.ts";
import type { Plan } from "../../sim/plan/plan.ts";
import { slowPaths } from "./slow_paths.ts";

test("delta debugging finds exactly the items that matter", async () => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 0, max: 60 }),
    fc.array(fc.nat(59), { maxLength: 4 }),
    async (length, picks) => {
      const needed = new Set(picks.filter((pick) => pick < length));
      const items = Array.from({ length }, (_, index) => index);
      const left = await ddmin(
        items,
        async (part) => [...needed].every((item) => part.includes(item)),
      );
      expect(left).toEqual([...needed].sort((a, b) => a - b));
    },
  ));
});

/** A planted bug: a crash, and later a keyed append to a key other than the first. */
async function planted({ faults, work }: Plan) {
  const crash = faults.find(({ kind }) => kind === "crash");
  const append = work.find(({ at, key, what, isKeyed }) =>
    crash && at > crash.at && key > 0 && what === "append" && isKeyed
  );
  const other = { rule: "other", message: "is always broken", at: 1 };
  return append ? [other, { rule: "planted", message: "is broken", at: append.at }] : [other];
}

async function seedWithPlant(): Promise<Plan> {
  for (let seed = 1;; seed++) {
    const plan = makePlan(seed);
    const isBig = plan.faults.length > 10 && plan.shape.nodes > 2;
    if (isBig && (await planted(plan)).length > 1) return plan;
  }
}

test("a planted violation is shrunk to what causes it", async () => {
  const plan = await seedWithPlant();
  const shrunk = await shrink(plan, "planted", { run: planted });
  expect(shrunk).toMatchObject({ isDone: true, violation: { rule: "planted" } });
  expect(shrunk?.plan).toMatchObject({
    shape: { nodes: 1, keys: 2, drift: 0, linkConditions: { loss: 0, tail: 0, duplicates: 0 } },
    faults: [{ kind: "crash", a: 0, b: 0, ms: 0, x: 0 }],
    work: [{ what: "append", key: 1, isKeyed: true, count: 1, node: 0, client: 0 }],
  });
  expect(shrunk?.plan.healAt).toBeLessThan(plan.healAt);
});

test("a real violation shrinks to a plan that breaks the same rule when run again", async () => {
  const shrunk = await shrink(slowPaths(), "healing", { withinMs: 300_000 });
  expect(shrunk?.violation.rule).toBe("healing");
  expect(shrunk?.plan.faults).toEqual([]);
  expect(shrunk?.plan.work).toEqual([]);
  expect(shrunk?.plan.shape).toMatchObject({ nodes: 1, keys: 1 });
});

test("a plan that does not break the rule is not shrunk", async () => {
  expect(await shrink(makePlan(1), "planted", { run: planted })).toBeNull();
});

test("shrinking ends when its time is up, with the smallest plan so far", async () => {
  const plan = await seedWithPlant();
  let now = 0;
  const shrunk = await shrink(plan, "planted", {
    run: planted,
    now: () => now++,
    withinMs: 10,
  });
  expect(shrunk).toMatchObject({ isDone: false, violation: { rule: "planted" } });
  expect(shrunk?.runs).toBeLessThan(10);
  expect((await planted(shrunk?.plan as Plan)).length).toBe(2);
});
