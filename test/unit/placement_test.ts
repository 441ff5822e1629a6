/**
 * Covers src/routing/placement.ts: keys are spread evenly over nodes, whatever their names look
 * like.
 */
import { expect, test } from "vitest";
import type { Member } from "../../src/model/member.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Membership } from "../../src/registry/membership.ts";
import { Placement } from "../../src/routing/placement.ts";

const COUNT = 40_000;
const NODES = ["n0", "n1", "n2", "n3"];

/** Incarnations whose names differ in a few characters, as those of nodes may. */
const members = NODES.map((node, i) => ({
  incarnation: `3f2c8a10-5d1e-4b7a-9c33-0a1b2c3d4e5${i}`,
  region: "us",
  node,
  state: "live",
  hosts: ["rooms"],
})) as unknown as Member[];

const membership = { members: () => members, isStalled: () => false } as unknown as Membership;
const clock = { now: () => 0 } as Clock;

const patterns: Record<string, (i: number) => string> = {
  "id0": (i) => `id${i}`,
  "room-0": (i) => `room-${i}`,
  "user_0": (i) => `user_${i}`,
  "00000000": (i) => String(i).padStart(8, "0"),
};

test.each(Object.entries(patterns))(
  "keys such as %s are spread evenly over all nodes",
  (_, name) => {
    const placement = new Placement(membership, clock, "us");
    const picked = new Map<string, number>();
    const spread = new Map<string, number>();
    const count = (counts: Map<string, number>, member: Member | undefined) =>
      counts.set(member?.node ?? "", (counts.get(member?.node ?? "") ?? 0) + 1);
    for (let i = 0; i < COUNT; i++) {
      const key = `rooms/${name(i)}`;
      count(picked, placement.pick("rooms", key, "", null));
      count(spread, placement.spread("rooms", key, "us", null));
    }
    for (const counts of [picked, spread]) {
      for (const node of NODES) {
        const share = (counts.get(node) ?? 0) * NODES.length / COUNT;
        expect(Math.abs(share - 1), `${node}: ${share}`).toBeLessThan(0.05);
      }
    }
  },
);
