/**
 * The suite for stores whose backend is full: renewals and steps that free memory succeed, steps
 * that would grow it are refused as a whole, and the caller gets the reason. For every backend
 * that can be filled.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { detailOf } from "../../src/errors.ts";
import { refusalOf } from "../../src/model/refusal.ts";
import type { Commit, Store } from "../../src/ports/store.ts";
import { guardedStore } from "../../src/registry/guarded_store.ts";
import { systemClock } from "../../adapters/system/clock.ts";
import { unless } from "../support/unless.ts";
import { claimOf, freshKey, freshMember, own } from "./store_kit.ts";

/** A store whose backend can be filled to its limit, and be given room again. */
export interface FullBackend {
  readonly store: Store;
  /** Texts that callers must not get; the first one is logged. */
  readonly secrets: readonly string[];
  fill(): Promise<void>;
  free(): Promise<void>;
  dispose(): Promise<void>;
}

export interface FullOptions {
  /** The error that callers get, by the kind of the backend. */
  readonly reason: RegExp;
  /** Whether a backend that is full has no room for a new name. */
  readonly refusesNames: boolean;
  readonly missing?: string | null;
}

const BIG = "x".repeat(200_000);
const FIELDS: readonly [string, string][] = Array.from(
  { length: 100 },
  (_, i): [string, string] => [`s:${i}`, "y".repeat(4_000)],
);

export function fullConformance(
  name: string,
  open: () => Promise<FullBackend>,
  options: FullOptions,
): void {
  describe(`a store that is full: ${name}`, unless(options.missing ?? null), () => {
    let backend: FullBackend;
    let store: Store;

    beforeEach(async () => {
      backend = await open();
      store = guardedStore(backend.store, systemClock, () => {});
    });

    afterEach(async () => {
      await store.close();
      await backend.dispose();
    });

    /** An owner with 100 fields, in a backend that is full by now. */
    async function full(): Promise<Omit<Commit, "turn" | "puts" | "deletes">> {
      const key = freshKey();
      const { incarnation, epoch } = await own(store, key);
      const fence = { key, incarnation, epoch };
      await store.commit({ ...fence, turn: 1, puts: FIELDS, deletes: [] });
      await backend.fill();
      return fence;
    }

    /** Checks that `step` was refused for lack of room, and that its caller gets only that. */
    async function refuses(step: Promise<unknown>): Promise<void> {
      const error = await step.then((reply) => JSON.stringify(reply), (reason) => reason);
      expect(refusalOf(error), detailOf(error)).toBe("lasting");
      expect(error).toMatchObject({ code: "unavailable", retryable: true });
      expect(error.message).toMatch(options.reason);
      for (const secret of backend.secrets) expect(error.message).not.toContain(secret);
      expect(detailOf(error)).toContain(backend.secrets[0]);
    }

    test("a turn that needs more room is refused as a whole", async () => {
      const idle = freshKey();
      const { incarnation, epoch } = await own(store, idle);
      const fence = await full();
      const puts: [string, string][] = [["s:big", BIG], ["s:0", "new"]];
      const commit = () => store.commit({ ...fence, turn: 2, puts, deletes: ["s:1"] });
      await refuses(commit());
      // A step of the same tick that succeeds makes no difference.
      const released = store.release(idle, incarnation, epoch);
      await refuses(commit());
      expect(await released).toBe(true);
      expect(await store.read(fence.key, ["s:big", "s:0", "s:1"]))
        .toEqual([null, FIELDS[0]?.[1], FIELDS[1]?.[1]]);
      await backend.free();
      expect(await commit()).toBe("committed");
      expect(await store.read(fence.key, ["s:big", "s:0", "s:1"])).toEqual([BIG, "new", null]);
    });

    test("a turn that deletes is committed, also if it writes some data, but less than it deletes", async () => {
      const fence = await full();
      const deletes = FIELDS.slice(10).map(([field]) => field);
      expect(await store.commit({ ...fence, turn: 2, puts: [["s:n", "1"]], deletes }))
        .toBe("committed");
      expect((await store.range(fence.key, { start: "s:", end: "s;", limit: 200, reverse: false }))
        .map(([field]) => field)).toEqual([..."0123456789"].map((i) => `s:${i}`).concat("s:n"));
      expect(await store.commit({ ...fence, turn: 3, puts: [["s:n", "2"]], deletes: [] }))
        .toBe("committed");
    });

    test("leases are renewed, members leave, and keys are released and taken over", async () => {
      const [one, other] = [freshMember(), freshMember()];
      await store.register(one, { ifFree: true });
      await store.register(other, { ifFree: true });
      const fence = await full();
      expect(await store.renew(one.incarnation, 1, [other.incarnation]))
        .toMatchObject({ outcome: "renewed" });
      expect(await store.kill(other.incarnation, 0)).toBe("dead");
      const expected = { incarnation: fence.incarnation, epoch: fence.epoch };
      const taken = await store.claim(claimOf(fence.key, { expected }));
      expect(taken.won).toBe(true);
      const { incarnation = "", epoch = 0 } = taken.owner ?? {};
      expect(await store.release(fence.key, incarnation, epoch)).toBe(true);
      const again = await store.claim(claimOf(fence.key));
      expect(again.won).toBe(true);
      await store.leave(one);
      expect(await store.renew(one.incarnation, 2, [])).toMatchObject({ outcome: "fenced" });
    });

    if (!options.refusesNames) return;
    test("a claim of a key without state is refused", async () => {
      await full();
      const key = freshKey();
      await refuses(store.claim(claimOf(key)));
      expect(await store.lookup(key)).toBeNull();
      await backend.free();
      await own(store, key);
    });
  });
}
