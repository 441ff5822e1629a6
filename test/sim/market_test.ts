/**
 * The market under simulation: no rule is broken, the trace is the same everywhere, and a failing
 * plan is shrunk and kept.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { parseArguments } from "../../sim/cli/arguments.ts";
import { makeMarketPlan } from "../../sim/draw/draw_market.ts";
import { PLAIN_TRADE } from "../../sim/plan/market_plan.ts";
import { type Plan, WORLDS } from "../../sim/plan/plan.ts";
import { scheduleLines } from "../../sim/cli/report.ts";
import { parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { shrink } from "../../sim/cli/shrink.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

/** Simulations share their machine with others. */
const LONG_MS = 300_000;

test("forty markets break no rule, and calls are answered in all of them", async () => {
  let answered = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const result = await runPlan(makeMarketPlan(seed));
    expect(result.violations, `seed ${seed}`).toEqual([]);
    expect(result.world).toBe("market");
    answered += result.answered;
  }
  expect(answered).toBeGreaterThan(2_000);
}, LONG_MS);

test("a seed gives the same trace each time, also with remarks; another seed gives a different one", async () => {
  const first = await runPlan(makeMarketPlan(7));
  const again = await runPlan(makeMarketPlan(7), { remarks: 50 });
  const other = await runPlan(makeMarketPlan(8));
  expect(again.hash).toBe(first.hash);
  expect(again.remarks).toHaveLength(50);
  expect(other.hash).not.toBe(first.hash);
});

test("the trace contains no stack, because that would name folders of this machine", async () => {
  const { remarks } = await runPlan(makeMarketPlan(5), { remarks: 8_000 });
  const thrown = remarks.filter((line) => line.includes("function threw"));
  expect(thrown.length).toBeGreaterThan(0);
  expect(thrown.filter((line) => line.includes("market/modules.ts"))).toEqual([]);
});

test("seeds differ in roles, bootstraps, trades, faults and link conditions", () => {
  const plans = Array.from({ length: 200 }, (_, seed) => makeMarketPlan(seed));
  const kinds = <T>(of: (plan: Plan) => readonly T[]) => new Set(plans.flatMap(of));
  expect([...kinds((plan) => plan.market?.roles ?? [])].sort()).toEqual(["authority", "worker"]);
  expect(kinds((plan) => plan.market?.bootstraps ?? []).size).toBe(4);
  expect([...kinds((plan) => (plan.trades ?? []).map(({ what }) => what))].sort()).toEqual(
    ["call", "close", "discover", "leave", "look", "publish", "update"],
  );
  expect(kinds((plan) => (plan.trades ?? []).map(({ behavior }) => behavior)).size).toBe(6);
  expect(kinds((plan) => plan.faults.map(({ kind }) => kind)).size).toBeGreaterThan(20);
  expect(plans.some(({ market }) => market?.isCalm)).toBe(true);
  expect(plans.some(({ market }) => (market?.lost ?? 0) > 0)).toBe(true);
  for (const { market, trades = [], shape } of plans) {
    expect(market?.roles[0]).toBe("authority");
    expect(market?.roles).toHaveLength(shape.nodes);
    expect(trades[0]?.what).toBe("publish");
  }
});

test("a market plan survives JSON, and missing fields get their defaults", () => {
  const plan = makeMarketPlan(3);
  const schedule = { bug: "b", rule: "r", message: "m", from: "f", edits: [], plan };
  expect(parseSchedule(printSchedule(schedule))).toEqual(schedule);
  const trades = [{ at: 5, what: "publish" }];
  const bare = parseSchedule(JSON.stringify({ shape: { nodes: 1 }, market: {}, trades }));
  expect(bare.plan.market).toMatchObject({ roles: ["authority"], modules: 1, lost: 0 });
  expect(bare.plan.trades).toEqual([{ ...PLAIN_TRADE, at: 5, what: "publish" }]);
  expect(() => parseSchedule('{"shape":{},"market":{},"trades":[{"at":"soon"}]}')).toThrow(
    'plan.trades[0].at is "soon", it must be a number',
  );
});

/** A planted bug: a crash, and later an update. */
async function planted({ faults, trades = [] }: Plan) {
  const crash = faults.find(({ kind }) => kind === "crash");
  const update = trades.find(({ at, what }) => crash && what === "update" && at > crash.at);
  return update ? [{ rule: "planted", message: "is broken", at: update.at }] : [];
}

test("a market plan that breaks a rule is shrunk", async () => {
  let seed = 1;
  while ((await planted(makeMarketPlan(seed))).length === 0) seed++;
  const shrunk = await shrink(makeMarketPlan(seed), "planted", { run: planted });
  expect(shrunk?.plan).toMatchObject({
    shape: { nodes: 1, drift: 0 },
    faults: [{ kind: "crash", ms: 0 }],
    market: { modules: 1, lost: 0, doubled: 0, late: 0 },
    trades: [{ what: "update", behavior: "return", count: 1, node: 0, pick: 0 }],
  });
  const lines = scheduleLines(shrunk?.plan as Plan).join("\n");
  expect(lines).toMatch(/^ +[\d.]+ {2}trade {2}update /m);
  expect(lines).toMatch(/^shape: .* roles\.0=authority/);
});

test("--world selects the world", () => {
  expect(parseArguments([]).worlds).toEqual(WORLDS);
  expect(parseArguments(["--world", "all"]).worlds).toEqual(WORLDS);
  expect(parseArguments(["--world", "market"]).worlds).toEqual(["market"]);
  expect(() => parseArguments(["--world", "moon"])).toThrow(
    `--world is "moon", it must be ${WORLDS.join(", ")} or all`,
  );
});

const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  bun: ["node_modules/.bin/bun"],
  deno: ["node_modules/.bin/deno", "run", "-A"],
  node: ["node_modules/node24/bin/node"],
};

function trace(command: readonly string[], seed: number): Promise<string> {
  const [program = "", ...flags] = command;
  const words = [...flags, "sim/cli/run.ts", "--world", "market", "--seed", String(seed)];
  return new Promise((resolve, reject) =>
    execFile(program, words, (error, out) => {
      const hash = /^trace ([0-9a-f]{16})$/m.exec(out)?.[1];
      if (hash) resolve(hash);
      else reject(error ?? new Error(`no trace in ${out}`));
    })
  );
}

const present = Object.entries(RUNTIMES).filter(([, [program = ""]]) => existsSync(program));
const missing = Object.keys(RUNTIMES).filter((name) => !present.some(([other]) => other === name));
const title = missing.length > 0 ? ` (skipped, not installed: ${missing.join(", ")})` : "";

test(`the same trace on every runtime${title}`, async () => {
  for (const seed of [3, 4, 16]) {
    const traces = await Promise.all(present.map(([, command]) => trace(command, seed)));
    expect(new Set(traces).size, `seed ${seed}: ${traces}`).toBe(1);
  }
}, LONG_MS);
