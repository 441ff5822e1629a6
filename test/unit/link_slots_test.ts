/**
 * Covers adapters/transport/link_slots.ts: which sockets get a slot for their handshake, and which
 * lose it to others.
 */
import { expect, it } from "vitest";
import {
  LinkSlots,
  MAX_ACCEPTED_LINKS,
  MAX_HANDSHAKES,
  MAX_HANDSHAKES_EACH,
  MAX_LINKS_EACH,
  networkOf,
  type Slot,
  SLOW_MS,
} from "../../adapters/transport/link_slots.ts";
import type { Clock } from "../../src/ports/clock.ts";

function counted() {
  let now = 0;
  const clock: Clock = {
    now: () => now,
    wall: () => now,
    after: () => ({ cancel() {} }),
  };
  const slots = new LinkSlots(clock);
  const dropped: string[] = [];
  /** A socket from an address; `name` is noted when its handshake is ended. */
  const take = (remote: string | undefined, name = "") =>
    slots.take(remote, () => dropped.push(name));
  return { slots, dropped, take, pass: (ms: number) => void (now += ms) };
}

const fill = (take: (remote: string) => Slot | string, from: string, count: number): Slot[] =>
  Array.from({ length: count }, () => take(from) as Slot);

it("one address has 64 slots, however many others there are", () => {
  const { take, dropped } = counted();
  fill(take, "10.0.0.1", MAX_HANDSHAKES_EACH);
  expect(take("10.0.0.1")).toBe("too many handshakes are under way from this address");
  expect(take("10.0.0.2")).toMatchObject({ from: "10.0.0.2" });
  expect(dropped).toEqual([]);
});

it("if four addresses hold all slots, another address gets one: the oldest handshake of the address with most is ended", () => {
  const { take, dropped } = counted();
  for (let i = 0; i < MAX_HANDSHAKES; i++) take(`10.0.0.${i % 4}`, `${i % 4} ${i}`);
  for (let i = 0; i < 40; i++) expect(take(`10.1.0.${i}`)).toMatchObject({ peer: null });
  expect(dropped).toHaveLength(40);
  // All four lose equally many, each its oldest first.
  const counts = [0, 1, 2, 3].map((each) => dropped.filter((it) => it.startsWith(`${each} `)));
  expect(counts.map(({ length }) => length)).toEqual([10, 10, 10, 10]);
  for (const each of counts) {
    const numbers = each.map((it) => Number(it.slice(2)));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  }
});

it("addresses that hold equally many don't end each other's handshakes", () => {
  const { take, dropped } = counted();
  for (let i = 0; i < MAX_HANDSHAKES; i++) take(`10.0.${i}.1`);
  expect(take("10.9.9.9")).toBe("too many handshakes are under way");
  expect(dropped).toEqual([]);
});

it("a slow handshake is ended for a new one, from the same address or from another", () => {
  const { take, dropped, pass } = counted();
  fill(take, "10.0.0.1", MAX_HANDSHAKES_EACH);
  pass(SLOW_MS);
  expect(take("10.0.0.1")).toMatchObject({ from: "10.0.0.1" });
  for (let i = 0; i < MAX_HANDSHAKES - MAX_HANDSHAKES_EACH; i++) take(`10.0.${i}.2`);
  expect(dropped).toHaveLength(1);
  for (let i = 0; i < MAX_HANDSHAKES_EACH; i++) take(`10.1.${i}.3`);
  pass(SLOW_MS);
  expect(take("10.9.9.9")).toMatchObject({ from: "10.9.9.9" });
});

it("a slot is free once its socket is closed, not before", () => {
  const { slots, take } = counted();
  const taken = fill(take, "10.0.0.1", MAX_HANDSHAKES_EACH);
  expect(take("10.0.0.1")).toBeTypeOf("string");
  slots.closed(taken[0] as Slot);
  slots.closed(taken[0] as Slot);
  expect(take("10.0.0.1")).toMatchObject({ peer: null });
  expect(take("10.0.0.1")).toBeTypeOf("string");
});

it("counts stay right in any order of opening and closing", () => {
  const { slots, take, pass } = counted();
  const open: Slot[] = [];
  let seed = 7;
  const next = (limit: number) => (seed = (seed * 48_271) % 2_147_483_647) % limit;
  for (let i = 0; i < 20_000; i++) {
    pass(next(20));
    if (next(3) > 0) {
      const taken = take(`10.0.0.${next(9)}`);
      if (typeof taken !== "string") open.push(taken);
    } else if (open.length > 0) {
      slots.closed(open.splice(next(open.length), 1)[0] as Slot);
    }
  }
  for (const slot of open) slots.closed(slot);
  for (const from of ["a", "b", "c", "d"].slice(0, MAX_HANDSHAKES / MAX_HANDSHAKES_EACH)) {
    expect(fill(take, from, MAX_HANDSHAKES_EACH).every((it) => typeof it !== "string")).toBe(true);
    expect(take(from)).toBeTypeOf("string");
  }
});

it("one incarnation of a peer has 32 links, and all peers 4,096, until their sockets are closed", () => {
  const { slots, take } = counted();
  const links: Slot[] = [];
  const link = (incarnation: string): string | null => {
    const slot = take("10.0.0.1");
    if (typeof slot === "string") return slot;
    const refusal = slots.linkRefusal(incarnation);
    if (refusal !== null) return (slots.closed(slot), refusal);
    slots.linked(slot, incarnation);
    links.push(slot);
    return null;
  };
  for (let i = 0; i < MAX_LINKS_EACH; i++) expect(link("ann")).toBeNull();
  expect(link("ann")).toBe("this peer has 32 links open already");
  for (let i = MAX_LINKS_EACH; i < MAX_ACCEPTED_LINKS; i++) expect(link(`peer ${i}`)).toBeNull();
  expect(link("bob")).toBe("too many links are open");
  slots.closed(links[0] as Slot);
  expect(link("ann")).toBeNull();
  for (const slot of links) slots.closed(slot);
  expect(link("ann")).toBeNull();
});

it.each([
  ["127.0.0.1", "127.0.0.1"],
  ["::ffff:127.0.0.1", "127.0.0.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:DB8:1:2::9", "2001:db8:1:2"],
  ["fe80::1%eth0", "fe80:0:0:0"],
  ["::1", "0:0:0:0"],
])("the address %s counts as %s", (remote, network) => expect(networkOf(remote)).toBe(network));
