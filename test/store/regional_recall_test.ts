/** Moves that are taken back: allowed until the new home has signed the departure. */
import { afterEach, describe, expect, test } from "vitest";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Store } from "../../src/ports/store.ts";
import { claimOf, freshKey, own } from "../conformance/store_kit.ts";
import { contents, lost, REGIONS, Regions, write } from "./regions.ts";

const worlds: Regions[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

/** Fields enough for several pages. */
const many: Record<string, string> = Object.fromEntries(
  Array.from({ length: 90 }, (_, i) => [`s:${String(i).padStart(3, "0")}`, `value ${i}`]),
);

/** A key of `us` with state that has departed to `eu`. */
async function gone(fields: Record<string, string> = { "s:a": "1", "s:b": "2" }) {
  const world = new Regions();
  worlds.push(world);
  const key = freshKey();
  const us = await world.handle("us");
  const owner = await own(us, key);
  expect(await write(us, key, owner, 1, fields)).toBe("committed");
  expect(await us.depart?.(key, owner.incarnation, owner.epoch, "eu")).toBe(true);
  return { world, key, us, owner, fields };
}

/** Looks a key up and then claims it, as the core does. */
async function take(store: Store, key: string): Promise<Ownership> {
  const present = await store.lookup(key);
  const expected = present && { incarnation: present.incarnation, epoch: present.epoch };
  return await own(store, key, { expected });
}

describe("a departure", () => {
  test("is taken back with the state, and under a higher epoch; the new home is fenced", async () => {
    const { world, key, us, owner, fields } = await gone();
    const eu = await world.handle("eu");
    expect(await eu.lookup(key)).toBeNull();
    expect(eu.homeOf?.(key)).toBe("eu");
    world.away.add("eu");
    expect(await us.recall?.(key, "eu")).toBe(false);
    expect(await us.recall?.(key, "ap")).toBe(true);
    expect(await us.recall?.(key, "ap")).toBe(false);
    const again = await take(us, key);
    expect(again.epoch).toBeGreaterThan(owner.epoch);
    expect(await contents(us, key)).toEqual(fields);
    expect(await write(us, key, owner, 2, { "s:a": "late" })).toBe("fenced");
    world.away.delete("eu");
    expect(await eu.claim(claimOf(key))).toEqual({ won: false, owner: again });
    expect(eu.homeOf?.(key)).toBe("us");
  });

  test("to a third region is taken back from anywhere, whichever other region is unreachable", async () => {
    const { world, key, fields } = await gone();
    const eu = await world.handle("eu");
    const second = await take(eu, key);
    await eu.depart?.(key, second.incarnation, second.epoch, "ap");
    world.away.add("ap");
    expect(await (await world.handle("us")).recall?.(key, null)).toBe(true);
    const third = await take(eu, key);
    expect(third.epoch).toBeGreaterThan(second.epoch);
    expect(await contents(eu, key)).toEqual(fields);
    await eu.depart?.(key, third.incarnation, third.epoch, "ap");
    world.away.add("us");
    expect(await eu.recall?.(key, null)).toBe(true);
    world.away.clear();
    const ap = await world.handle("ap");
    expect(await ap.lookup(key)).toBeNull();
    expect(ap.homeOf?.(key)).toBe("eu");
  });

  test("is not restored elsewhere while it can be taken back", async () => {
    const { world, key, fields } = await gone();
    const registry = world.backends.us as Store;
    const eu = await world.handle("eu");
    const second = await take(eu, key);
    await eu.depart?.(key, second.incarnation, second.epoch, "ap");
    const { incarnation, epoch } = await registry.lookup(key) as Ownership;
    expect(await registry.release(key, incarnation, epoch)).toBe(true);
    // This renewal reads the other regions' registries, and restores missing departures there.
    await eu.renew(second.incarnation, 1, []);
    await expect.poll(() => registry.lookup(key)).not.toBeNull();
    expect(await (await world.handle("us")).recall?.(key, null)).toBe(true);
    for (const region of REGIONS) {
      const handle = await world.handle(region);
      expect(await handle.lookup(key)).toBeNull();
      expect(handle.homeOf?.(key)).toBe("eu");
    }
    const third = await take(await world.handle("eu"), key);
    expect(third.epoch).toBeGreaterThan(second.epoch);
    expect(await contents(eu, key)).toEqual(fields);
  });

  test("is not restored in a region to which its key has since returned, owned or not", async () => {
    const { world, key, us } = await gone();
    const steps: string[] = [];
    const after = (region: string, step: string) => void steps.push(`${region} ${step}`);
    const eu = await world.handle("eu", { after });
    const second = await take(eu, key);
    await eu.depart?.(key, second.incarnation, second.epoch, "us");
    const third = await take(us, key);
    await us.depart?.(key, third.incarnation, third.epoch, "ap");
    expect(await us.recall?.(key, null)).toBe(true);
    steps.length = 0;
    await eu.renew(second.incarnation, 1, []);
    await expect.poll(() => steps)
      .toContainEqual(expect.stringMatching(/^us (read|claim)$/));
    expect(await world.backends.us?.lookup(key)).toBeNull();
  });

  test("can't be taken back if the key was never moved, or has an owner at its new home", async () => {
    const { world, key, us } = await gone();
    const plain = freshKey();
    expect(await us.recall?.(plain, null)).toBe(false);
    await own(us, plain);
    expect(await us.recall?.(plain, null)).toBe(false);
    const moved = await take(await world.handle("eu"), key);
    for (const region of REGIONS) {
      expect(await (await world.handle(region)).recall?.(key, null)).toBe(false);
    }
    expect(await us.lookup(key)).toEqual(moved);
  });

  test("can be taken back until the new home has signed it, at whichever step the claim was interrupted", async () => {
    const outcomes = new Set<boolean>();
    for (const when of ["before", "after"] as const) {
      let steps = 1;
      for (let stopAt = 1; stopAt <= steps; stopAt++) {
        const { world, key, us, owner } = await gone(many);
        let count = 0;
        let isDead = false;
        const guard = () => {
          if (isDead || ++count === stopAt) {
            isDead = true;
            throw lost("the taker has ended");
          }
        };
        const taker = await world.handle("eu", { [when]: guard });
        await taker.lookup(key).catch(() => {});
        await taker.claim(claimOf(key)).catch(() => {});
        if (isDead) steps = stopAt + 1;
        const isBack = await us.recall?.(key, null) as boolean;
        outcomes.add(isBack);
        const home = isBack ? us : await world.handle("eu");
        const other = isBack ? await world.handle("eu") : us;
        isDead = false;
        count = -Infinity;
        const next = await take(home, key);
        expect(next.epoch).toBeGreaterThan(owner.epoch);
        expect(await contents(home, key), `stopped ${when} step ${stopAt}`).toEqual(many);
        // The interrupted node, and nodes that know nothing of the move, find the one owner.
        for (const handle of [taker, other, await world.handle("ap")]) {
          expect(await handle.lookup(key)).toEqual(next);
          const claim = handle.claim(claimOf(key));
          const reply = await claim.catch((error) => error.message);
          if (typeof reply === "string") expect(reply).toMatch("at home in");
          else expect(reply).toEqual({ won: false, owner: next });
        }
      }
    }
    expect(outcomes).toEqual(new Set([true, false]));
  });
});

test("of two owners the one that stays keeps its own state, also after it has released it", async () => {
  const { world, key } = await gone();
  const registry = world.backends.us as Store;
  const eu = await world.handle("eu");
  const second = await take(eu, key);
  expect(await write(eu, key, second, 1, { "s:c": "lost" })).toBe("committed");
  const survivor = await world.handle("us");
  expect(await survivor.lookup(key)).toEqual(second);
  const { incarnation, epoch } = await registry.lookup(key) as Ownership;
  expect(await registry.release(key, incarnation, epoch)).toBe(true);
  const late = await world.handle("us");
  const { lineage } = await registry.renew("observer", 0, []);
  const rival = await own(late, key, { lineage: { id: lineage.id, term: 1 } });
  expect(rival.epoch).toBeGreaterThan(second.epoch);
  expect(await write(late, key, rival, 1, { "s:d": "kept" })).toBe("committed");
  await eu.renew(second.incarnation, 1, []);
  await expect.poll(async () => (await eu.renew(second.incarnation, 2, [])).overtaken)
    .toHaveLength(1);
  expect(await eu.depart?.(key, second.incarnation, second.epoch, "us")).toBe(true);
  expect(await late.release(key, rival.incarnation, rival.epoch)).toBe(true);
  // This node knows that the key was in `eu`, and finds that it has returned from there.
  await take(survivor, key);
  expect(await contents(survivor, key)).toMatchObject({ "s:d": "kept" });
  expect(await contents(survivor, key)).not.toHaveProperty("s:c");
});
