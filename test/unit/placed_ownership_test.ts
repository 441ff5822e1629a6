/** Covers src/model/ownership.ts: ownerships that share what those of one node have in common. */
import { expect, test } from "vitest";
import { PlacedOwnership, Places } from "../../src/model/ownership.ts";

/** The ownership as a table would give it back. */
const through = (places: Places, key: string, rrp: string, incarnation: string) =>
  new PlacedOwnership(key, 7, places.of(key, { rrp, incarnation })).plain;

test("an ownership comes back as it was", () => {
  const places = new Places();
  for (
    const [key, rrp, incarnation] of [
      ["t/1", "rrp:r/n/t/1", "i"],
      ["t/2", "rrp:r/n/t/2", "i"],
      // The same incarnation under another name, and RRPs that don't end with their key.
      ["t/3", "rrp:r/m/t/3", "i"],
      ["t/1", "rrp:r/n/t/11", "i"],
      ["t/1", "", "i"],
      ["t/2", "t/2", "j"],
    ] as const
  ) {
    expect(through(places, key, rrp, incarnation)).toEqual({ rrp, incarnation, epoch: 7 });
  }
});

test("the ownerships of a node share its place, whose number is bounded", () => {
  const places = new Places();
  const of = (n: number) => places.of("t/1", { rrp: `rrp:r/n${n}/t/1`, incarnation: `i${n}` });
  const first = of(0);
  expect(of(0)).toBe(first);
  for (let n = 1; n <= 4_096; n++) of(n);
  expect(of(0)).not.toBe(first);
  expect(of(0)).toEqual(first);
});
