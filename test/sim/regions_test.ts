/** Worlds with regions: a store in each, long distances between them, and keys that move. */
import { describe, expect, test } from "vitest";
import { parseArguments } from "../../sim/cli/arguments.ts";
import { replayCommand } from "../../sim/cli/one.ts";
import { makeRegionalPlan } from "../../sim/draw/draw_regions.ts";
import { distanceMs } from "../../sim/engine/regional_stores.ts";
import { atHome } from "../../sim/engine/regional_observer.ts";
import { fanOut, type Step } from "../../sim/engine/observer.ts";
import { parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { planOf } from "../../sim/draw/draw.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";
import type { ClaimReply } from "../../src/ports/store.ts";

describe("a world with regions", { timeout: 300_000 }, () => {
  test("no rule is broken while keys move and regions fail", async () => {
    const kinds = new Set<string>();
    let moved = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const plan = makeRegionalPlan(seed);
      const { violations, answered, remarks } = await runPlan(plan, { remarks: 100_000 });
      expect(violations, `seed ${seed}`).toEqual([]);
      expect(answered).toBeGreaterThan(0);
      for (const { kind } of plan.faults) kinds.add(kind);
      moved += remarks.filter((remark) => / moved journals/.test(remark)).length;
    }
    expect(moved).toBeGreaterThan(20);
    for (
      const kind of ["move", "move_crash", "region_outage", "region_partition", "addresses_lost"]
    ) {
      expect(kinds).toContain(kind);
    }
  });

  test("runs the same each time, and from a file", async () => {
    const plan = makeRegionalPlan(3);
    const { hash } = await runPlan(plan);
    const kept = { bug: "", rule: "", message: "", from: "", edits: [], plan };
    const again = parseSchedule(printSchedule(kept)).plan;
    expect((await runPlan(again)).hash).toBe(hash);
  });

  test("latencies between regions are as planned", () => {
    const shape = { names: ["east", "west", "south"], nearMs: 40, farMs: 75 };
    expect(distanceMs(shape, "west", "west")).toBe(0);
    expect(distanceMs(shape, "west", "east")).toBe(40);
    expect(distanceMs(shape, "east", "south")).toBe(75);
    expect(distanceMs(shape, "south", "west")).toBe(75);
  });

  test("is selected by its name, also in the command that replays a seed", () => {
    const options = parseArguments(["--world", "regions", "--seed", "7"]);
    expect(options.worlds).toEqual(["regions"]);
    expect(replayCommand(7, "regions")).toBe("npm run sim -- --world regions --seed 7");
    expect(planOf("regions", 7).shape.regions?.names).toHaveLength(3);
    expect(planOf("resources", 7).shape.regions).toBeUndefined();
  });
});

describe("checkers of a world with regions", () => {
  const key = "journals/k0";
  const told: string[] = [];
  const inRegion = atHome(fanOut([{
    asked: ({ name, args }) => told.push(`asked ${name} ${JSON.stringify(args)}`),
    applied: ({ name }, reply) => told.push(`applied ${name} ${JSON.stringify(reply)}`),
    replyReceived: ({ name }, reply) => told.push(`heard ${name} ${JSON.stringify(reply)}`),
    missed: ({ name }) => told.push(`missed ${name}`),
  }]));
  const observer = inRegion(() => true);
  const claim = (rrp: string, incarnation: string, expected: object | null): Step => {
    const args = [{ key, rrp, incarnation, opId: "op", expected }];
    return { name: "claim", args, process: "p", at: 0 } as unknown as Step;
  };

  test("observe a departure as one release", () => {
    told.length = 0;
    const step = claim(`rrp:west/|east||/${key}`, "departed", { incarnation: "a", epoch: 5 });
    const owner = { rrp: `rrp:west/|east||/${key}`, incarnation: "departed", epoch: 6 };
    const reply: ClaimReply = { won: true, owner };
    observer.asked(step);
    observer.applied(step, reply, 1);
    observer.applied(step, reply, 2);
    observer.replyReceived(step, reply, 3);
    expect(told).toEqual([
      `asked release ["${key}","a",5]`,
      "applied release true",
      "heard release true",
    ]);
  });

  test("don't observe a claim that finds a forwarding address, or a shortened address", () => {
    told.length = 0;
    const owner = { rrp: `rrp:west/|east||/${key}`, incarnation: "departed", epoch: 6 };
    const lost = claim(`rrp:east/n/${key}`, "b", null);
    observer.asked(lost);
    observer.replyReceived(lost, { won: false, owner }, 1);
    const shorter = claim(`rrp:south/|west|9|/${key}`, "departed", {
      incarnation: "departed",
      epoch: 6,
    });
    observer.asked(shorter);
    observer.applied(shorter, { won: true, owner }, 2);
    expect(told).toHaveLength(2);
    expect(told[1]).toBe("missed claim");
  });

  test("count a lookup without an owner only in the key's home region", () => {
    for (const [region, heard] of [[observer, "heard lookup null"], [inRegion(() => false), ""]]) {
      told.length = 0;
      const { asked, applied, replyReceived: hear } = region as typeof observer;
      const step = { name: "lookup", args: [key], process: "p", at: 0 } as unknown as Step;
      asked(step);
      applied(step, null, 1);
      hear(step, null, 2);
      expect(told.at(-1)).toBe(heard || "missed lookup");
    }
  });

  test("observe an arrival as a claim of an unowned key", () => {
    told.length = 0;
    const rrp = `rrp:west/|east|6|n/${key}`;
    const step = claim(rrp, "arriving:b", { incarnation: "departed", epoch: 2 });
    const reply = { won: true, owner: { rrp, incarnation: "arriving:b", epoch: 7 } };
    observer.asked(step);
    observer.replyReceived(step, reply, 1);
    const owner = { rrp: `rrp:west/n/${key}`, incarnation: "b", epoch: 7 };
    expect(told[0]).toContain(`"incarnation":"b"`);
    expect(told[0]).toContain(`"expected":null`);
    expect(told[1]).toBe(`heard claim ${JSON.stringify({ won: true, owner })}`);
  });
});
