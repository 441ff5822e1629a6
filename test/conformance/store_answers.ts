/**
 * The store suite on answers for idempotency keys: kept, compared and dropped over each store.
 *
 * Covers src/resource/turn_commit.ts.
 */
import { describe, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { IDEMPOTENCY_MS } from "../../src/limits.ts";
import type { Call } from "../../src/model/call.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Stamp, Store } from "../../src/ports/store.ts";
import { ownershipOf } from "../../src/resource/reconciliation.ts";
import { noTurns } from "../../src/resource/activation_host.ts";
import { TurnCommit } from "../../src/resource/turn_commit.ts";
import type { Stores } from "./store.ts";
import { claimOf, freshKey } from "./store_kit.ts";

/** The system's clock, with a wall time that a test sets. */
function wallClock(): Clock & { ms: number } {
  return {
    ms: 1_800_000_000_000,
    now: () => systemClock.now(),
    wall() {
      return this.ms;
    },
    after: (ms, run) => systemClock.after(ms, run),
  };
}

/** Makes a new owner's commits on a key, without anything that earlier owners have read. */
async function ledgerOf(store: Store, key: string, clock: Clock): Promise<{
  commits: TurnCommit;
  owner: Ownership;
  last: Stamp;
}> {
  const { owner, last = { epoch: 0, turn: 0 } } = await store.claim(claimOf(key));
  const life = { incarnation: owner?.incarnation ?? "", lease: { holds: () => true } };
  const host = { stats: noTurns(), tell: () => {} };
  const ownership = ownershipOf(host, key, owner as Ownership, life as never, last);
  const parts = { store, clock, random: systemRandom, stats: { commits: 0 }, lineage: undefined };
  return { commits: new TurnCommit(parts, ownership), owner: owner as Ownership, last };
}

const callOf = (method: string, ...args: unknown[]) =>
  ({ method, arguments: () => args }) as unknown as Call;

export function answersTests(stores: Stores): void {
  const everything = (key: string) =>
    stores.store.range(key, { start: "", end: "\u{10ffff}", limit: 100, reverse: false });

  const release = (key: string, { incarnation, epoch }: Ownership) =>
    stores.store.release(key, incarnation, epoch);

  async function answer(
    commits: TurnCommit,
    name: string,
    call: Call,
    result: unknown,
  ): Promise<void> {
    commits.begin();
    expect(await commits.find(call, name)).toBeUndefined();
    await commits.commitAnswer(call, name, result);
  }

  describe("answers for idempotency keys", () => {
    test("are repeated for equal arguments, and refused for others, by every later owner", async () => {
      const key = freshKey();
      const clock = wallClock();
      const first = await ledgerOf(stores.store, key, clock);
      const asked = { a: 1, b: [new Date(5), new Map([[1, "x"], [2, "y"]])] };
      await answer(first.commits, "k", callOf("add", asked, "é"), { total: 7 });
      await release(key, first.owner);
      const { commits, owner } = await ledgerOf(stores.handles.at(-1) as Store, key, clock);
      const same = { b: [new Date(5), new Map([[2, "y"], [1, "x"]])], a: 1, c: undefined };
      expect(await commits.find(callOf("add", same, "é"), "k")).toEqual({ result: { total: 7 } });
      const refused = (message: string) =>
        expect.objectContaining({ code: "bad_request", message: expect.stringContaining(message) });
      const others = [[asked, "e"], [asked], [{ ...asked, a: "1" }, "é"], [asked, "é", null], []];
      for (const args of others) {
        await expect(commits.find(callOf("add", ...args), "k"))
          .rejects.toEqual(refused(`"k" was already used for "add" with other arguments`));
      }
      await expect(commits.find(callOf("sub", asked, "é"), "k"))
        .rejects.toEqual(refused(`can't be used for "sub"`));
      await release(key, owner);
    });

    test("are dropped once they have expired, without a keyed call, and leave nothing behind", async () => {
      const key = freshKey();
      const clock = wallClock();
      const { commits, owner } = await ledgerOf(stores.store, key, clock);
      await answer(commits, "old", callOf("add", 1), 1);
      clock.ms += IDEMPOTENCY_MS / 2;
      await answer(commits, "young", callOf("add", 2), 2);
      const fields = async () => (await everything(key)).map(([field]) => field);
      expect((await fields()).filter((field) => field.startsWith("i:"))).toEqual([
        "i:old",
        "i:young",
      ]);
      clock.ms += IDEMPOTENCY_MS / 2 + 1;
      const tidy = async () => {
        commits.begin();
        await commits.prune();
        await commits.commit();
      };
      await tidy();
      expect((await fields()).filter((field) => field.startsWith("i:"))).toEqual(["i:young"]);
      expect(await commits.find(callOf("add", 3), "old")).toBeUndefined();
      await release(key, owner);
      // Another owner, which has not read the kept answers.
      const later = await ledgerOf(stores.store, key, clock);
      clock.ms += IDEMPOTENCY_MS;
      later.commits.begin();
      await later.commits.prune();
      await later.commits.commit();
      expect(await everything(key)).toEqual([]);
      await release(key, later.owner);
    });
  });
}
