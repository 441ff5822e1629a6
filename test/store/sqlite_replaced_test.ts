/** A SQLite file that is deleted, replaced, copied or put back under a store that has it open. */
import { copyFileSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import type { Lineage, Store } from "../../src/ports/store.ts";
import { claimOf, freshKey, freshMember, own } from "../conformance/store_kit.ts";

let folder = "";
let path = "";
const stores: Store[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "atlas-replaced-"));
  path = join(folder, "registry.db");
});
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function open(at = path): Promise<Store> {
  const store = await sqliteStore(at);
  stores.push(store);
  return store;
}

const FILES = ["", "-wal", "-shm"];

const GONE = "was deleted or replaced while it was open";

/**
 * The lineage that a store gives a caller which knows `known`, once it has noticed that its file
 * changed.
 */
async function meet(store: Store, known: Lineage | null = null): Promise<Lineage> {
  const ask = () => store.renew("nobody", 0, [], known && { ...known, waited: false });
  const { lineage } = await ask().catch((error) => {
    expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining(GONE) });
    return ask();
  });
  return lineage;
}

describe("a file that was deleted under a store", () => {
  beforeEach(async () => {
    const store = await open();
    await own(store, "counters/held");
    for (const suffix of FILES) rmSync(path + suffix, { force: true });
  });

  test("is created again, with another lineage and a higher term, whose claims wait", async () => {
    const [store] = stores as [Store];
    const former = { id: "former", term: 3, settled: true };
    const lineage = await meet(store, former);
    expect(lineage).toEqual({ id: expect.any(String), term: 4, settled: false });
    expect(await store.lookup("counters/held")).toBeNull();
    expect(store.status()).toBe("up");
  });

  test("is the same for the stores that had it open, and for new ones", async () => {
    const [first] = stores as [Store];
    const second = await open();
    const { id } = await meet(second);
    expect((await meet(first)).id).toBe(id);
    const { epoch } = await own(second, "counters/new");
    expect((await first.lookup("counters/new"))?.epoch).toBe(epoch);
  });
});

test("steps on a file that was removed since it was opened are `unavailable`, with the reason", async () => {
  const store = await open();
  await own(store, "counters/held");
  const asked = store.lookup("counters/held");
  rmSync(path);
  await expect(asked).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining(GONE),
  });
});

test("a restored backup begins a lineage, so that lost turns are detected", async () => {
  const store = await open();
  const first = await meet(store);
  await store.close();
  copyFileSync(path, `${path}.backup`);
  const again = await open();
  expect((await meet(again, first)).id).toBe(first.id);
  const key = freshKey();
  const { incarnation, epoch } = await own(again, key);
  for (const suffix of FILES) rmSync(path + suffix, { force: true });
  renameSync(`${path}.backup`, path);
  const restored = await meet(again, first);
  expect(restored).toEqual({ id: expect.not.stringMatching(first.id), term: 1, settled: false });
  expect(await again.lookup(key)).toBeNull();
  const claim = claimOf(key, { lineage: restored });
  expect((await again.claim(claim)).owner?.epoch).toBeGreaterThan(epoch);
  const turn = { key, incarnation, epoch, turn: 1, puts: [], deletes: [] };
  expect(await again.commit({ ...turn, lineage: first.id })).toBe("moved");
});

test("a file whose write-ahead log was removed is opened again before the next write, so that other stores see it", async () => {
  const store = await open();
  const { id } = await meet(store);
  rmSync(`${path}-wal`);
  rmSync(`${path}-shm`);
  await meet(store);
  const member = freshMember();
  expect((await store.register(member, { ifFree: false })).outcome).toBe("registered");
  const other = await open();
  expect((await other.members()).members.map(({ incarnation }) => incarnation))
    .toEqual([member.incarnation]);
  expect((await meet(other)).id).toBe(id);
});
