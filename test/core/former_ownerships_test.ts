/**
 * Covers src/resource/former_ownerships.ts: ownerships that have ended are remembered until the
 * store has failed over, and checked against the new copy.
 */
import { expect, test } from "vitest";
import { fakeClock } from "../../testing.ts";
import { MAX_FORMER_OWNERSHIPS } from "../../src/limits.ts";
import type { LineageName, Stamp, Store } from "../../src/ports/store.ts";
import { markOf } from "../../src/registry/lineage.ts";
import { FormerOwnerships } from "../../src/resource/former_ownerships.ts";
import { noTurns } from "../../src/resource/activation_host.ts";

const REMEMBERED_MS = 600_000;

/** A store whose lineage and last turns a test can set. */
function setUp() {
  const clock = fakeClock();
  const events: Record<string, unknown>[] = [];
  const stats = noTurns();
  const state = {
    present: { id: "first", term: 0 } as LineageName,
    isReachable: true,
    last: { epoch: 0, turn: 0 } as Stamp,
    fails: 0,
    asked: 0,
  };
  const kept: Store["kept"] = async (turns, { id }) => {
    state.asked += turns.length;
    if (state.fails-- > 0) throw new Error("away");
    return id === state.present.id ? turns.map(() => state.last) : null;
  };
  const formers = new FormerOwnerships(
    {
      store: { kept } as Store,
      clock,
      random: { next: () => 0.5, uuid: () => "" },
      stats,
      tell: (_level, event, fields) => void events.push({ event, ...fields }),
    },
    {
      get present() {
        return state.present;
      },
      get isReachable() {
        return state.isReachable;
      },
    },
  );
  const end = (key: string, epoch: number, turn: number, lineage = markOf(state.present)): void => {
    const owner = { rrp: `rrp:a/b/${key}`, incarnation: "i", epoch };
    formers.add({ key, owner, last: { epoch, turn }, lineage });
  };
  const failOver = (last: Stamp): void => {
    state.present = { id: `${state.present.id}+`, term: state.present.term + 1 };
    state.last = last;
    formers.check();
  };
  return { clock, events, stats, state, formers, end, failOver };
}

test("each turn that the copy lacks is logged and counted once", async () => {
  const { events, stats, end, failOver } = setUp();
  end("notes/a", 3, 7);
  failOver({ epoch: 3, turn: 5 });
  await expect.poll(() => events).toEqual([{
    event: "state lost",
    key: "notes/a",
    epoch: 3,
    turns: 2,
    acknowledged: "3.7",
    kept: "3.5",
  }]);
  failOver({ epoch: 3, turn: 5 });
  end("notes/b", 9, 1);
  failOver({ epoch: 9, turn: 0 });
  await expect.poll(() => events.length).toBe(2);
  expect(stats.lostTurns).toBe(3);
});

test("a store with the same id and a new term has lost all data: every turn is logged as lost", async () => {
  const { events, state, formers, end } = setUp();
  end("notes/a", 3, 7);
  state.present = { ...state.present, term: 1 };
  formers.check();
  await expect.poll(() => events).toMatchObject([{ event: "state lost", turns: 7, kept: "0.0" }]);
});

test("turns that the copy has are not logged", async () => {
  const { events, state, end, failOver } = setUp();
  end("notes/a", 3, 7);
  failOver({ epoch: 3, turn: 7 });
  failOver({ epoch: 4, turn: 1 });
  await expect.poll(() => state.asked).toBe(2);
  expect(events).toEqual([]);
});

test("an ownership that ends after the failover is checked at once", async () => {
  const { events, end, failOver } = setUp();
  failOver({ epoch: 3, turn: 1 });
  end("notes/a", 3, 2, markOf({ id: "first", term: 0 }));
  await expect.poll(() => events.length).toBe(1);
});

test("the check is repeated until the store can answer", async () => {
  const { clock, events, state, end, failOver } = setUp();
  end("notes/a", 3, 2);
  state.fails = 2;
  failOver({ epoch: 3, turn: 1 });
  await expect.poll(async () => {
    await clock.advance(500);
    return events.length;
  }).toBe(1);
});

test("ownerships without turns are not remembered, and for each epoch only the last turn is", () => {
  const { formers, end } = setUp();
  end("notes/a", 0, 0);
  expect(formers.size).toBe(0);
  end("notes/a", 3, 2);
  end("notes/a", 3, 4);
  end("notes/a", 5, 1);
  expect(formers.size).toBe(2);
});

test("an old ownership is forgotten, unless the store was away since", async () => {
  const { clock, state, formers, end } = setUp();
  end("notes/a", 3, 2);
  await clock.advance(REMEMBERED_MS + 1);
  state.isReachable = false;
  end("notes/b", 4, 1);
  expect(formers.size).toBe(2);
  state.isReachable = true;
  end("notes/c", 5, 1);
  expect(formers.size).toBe(2);
});

test("the number of remembered ownerships is bounded", () => {
  const { formers, end } = setUp();
  for (let i = 0; i <= MAX_FORMER_OWNERSHIPS; i++) end(`notes/${i}`, 1, 1);
  expect(formers.size).toBe(MAX_FORMER_OWNERSHIPS);
});
