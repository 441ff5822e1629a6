/** Covers what only adapters/store/memory.ts and store_state.ts do. */
import { expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";

test("a repeated claim whose id is forgotten is lost to its own entry, and can be made anew", async () => {
  const store = memoryStore();
  const claim = (
    n: number,
    opId: string,
    expected: { incarnation: string; epoch: number } | null,
  ) => store.claim({ key: `t/${n}`, rrp: `rrp:r/n/t/${n}`, incarnation: "i", opId, expected });
  const first = await claim(0, "first", null);
  expect(await claim(0, "first", null)).toEqual(first);
  for (let n = 1; n <= 1_024; n++) await claim(n, `claim-${n}`, null);
  const repeated = await claim(0, "first", null);
  expect(repeated).toEqual({ won: false, owner: first.owner });
  const { incarnation, epoch } = first.owner as { incarnation: string; epoch: number };
  const again = await claim(0, "again", { incarnation, epoch });
  expect(again.won).toBe(true);
  expect(again.owner?.epoch).toBeGreaterThan(epoch);
});
