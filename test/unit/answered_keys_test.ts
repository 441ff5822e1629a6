/**
 * Covers src/resource/answered_keys.ts: which idempotency keys have answers, and when a key is
 * known to be new.
 */
import { expect, test } from "vitest";
import { AtlasError } from "../../mod.ts";
import { MAX_KNOWN_ANSWERS } from "../../src/limits.ts";
import { AnsweredKeys } from "../../src/resource/answered_keys.ts";
import type { OwnState } from "../../src/resource/own_state.ts";
import type { OfflineLog } from "../../src/resource/offline_log.ts";
import { fakeClock } from "../../testing.ts";

const clock = fakeClock();

/** Keys of a state in which `count` have answers. */
function keysOf(count: number, failures: AtlasError[] = []) {
  const rows = Array.from({ length: count }, (_, i) => `t:${String(i).padStart(14, "0")}:k${i}`);
  const tenure = { offline: null as OfflineLog | null, isOver: false };
  const range: OwnState["range"] = async ({ start, limit }) => {
    const failure = failures.shift();
    if (failure) throw failure;
    const from = rows.findIndex((field) => field >= start);
    return from === -1 ? [] : rows.slice(from, from + limit).map((field) => [field, ""]);
  };
  const keyOf = (field: string): string => field.slice("t:00000000000000:".length);
  return { keys: new AnsweredKeys({ state: { range }, clock, ownership: tenure, keyOf }), tenure };
}

test("no key is known to be new before all keys have been read, page by page", async () => {
  const { keys } = keysOf(2_500);
  expect(keys.isNew("k0")).toBe(false);
  expect(keys.isNew("new")).toBe(false);
  expect(await keys.learn()).toBe(2_500);
  expect([keys.isNew("k0"), keys.isNew("k2499"), keys.isNew("new")]).toEqual([false, false, true]);
  // A second reading starts no other.
  expect(await keys.learn()).toBeNull();
});

test("keys that are answered or dropped during the reading are counted", async () => {
  const { keys } = keysOf(3);
  const learnt = keys.learn();
  keys.wrote(new Map([["i:mine", "[]"], ["t:1:mine", ""], ["s:i:other", "1"]]));
  await learnt;
  expect([keys.isNew("mine"), keys.isNew("other")]).toEqual([false, true]);
  keys.wrote(new Map([["i:k1", null], ["i:mine", null]]));
  expect([keys.isNew("k0"), keys.isNew("k1"), keys.isNew("mine")]).toEqual([false, true, true]);
});

test("reading is repeated while the store is away, until it is gone for good", async () => {
  const away = new AtlasError("unavailable", "away");
  const { keys } = keysOf(2, [away, away]);
  expect(await clock.run(keys.learn())).toBe(2);
  const lost = keysOf(2, [away]);
  const learnt = lost.keys.learn();
  lost.tenure.offline = {} as OfflineLog;
  expect(await clock.run(learnt)).toBeNull();
  expect(lost.keys.isNew("new")).toBe(false);
});

test("no key is known to be new if there are too many", async () => {
  const { keys } = keysOf(MAX_KNOWN_ANSWERS + 1);
  expect(await keys.learn()).toBeNull();
  expect(keys.isNew("new")).toBe(false);
  const full = keysOf(MAX_KNOWN_ANSWERS).keys;
  expect(await full.learn()).toBe(MAX_KNOWN_ANSWERS);
  expect(full.isNew("new")).toBe(true);
  full.wrote(new Map([["i:one more", "[]"]]));
  expect(full.isNew("new")).toBe(false);
});
