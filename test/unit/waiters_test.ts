/** Covers src/model/waiters.ts: numbered requests that wait for answers. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Waiters } from "../../src/model/waiters.ts";

test("waiters are given back once, by number and in order, as by a Map", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 1, max: 3_000 }) }),
    fc.record({ take: fc.nat({ max: 20_000 }) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const waiters = new Waiters<string>();
    const expected = new Map<number, string>();
    let last = 0;
    for (const it of steps) {
      if ("take" in it) {
        expect(waiters.get(it.take)).toBe(expected.get(it.take));
        expect(waiters.take(it.take)).toBe(expected.get(it.take));
        expected.delete(it.take);
        continue;
      }
      for (let left = it.add; left > 0; left--) {
        waiters.add(++last, `w${last}`);
        expected.set(last, `w${last}`);
      }
    }
    expect(waiters.size).toBe(expected.size);
    expect(waiters.all()).toEqual([...expected]);
    expect(waiters.takeAll()).toEqual([...expected.values()]);
    expect([waiters.size, waiters.all()]).toEqual([0, []]);
    expect(waiters.take(0)).toBeUndefined();
  }));
});

test("number 0, and a number that is used twice, are kept apart from the others", () => {
  const waiters = new Waiters<string>();
  waiters.add(0, "a");
  waiters.add(32, "b");
  waiters.add(32, "c");
  expect(waiters.size).toBe(3);
  expect([0, 32, 32, 32, 0].map((number) => waiters.take(number))).toEqual(
    ["a", "b", "c", undefined, undefined],
  );
  expect(waiters.size).toBe(0);
});
