/**
 * The fair share of purchases over HTTP: a caller that keeps all it can buy doesn't starve
 * another.
 *
 * Covers adapters/http/purchase_sharing.ts.
 */
import { describe, expect, onTestFinished, test } from "vitest";
import { callerOf } from "../../adapters/http/route.ts";
import {
  Purchases,
  type PurchasesOptions,
  type PurchaseView,
} from "../../adapters/http/purchases.ts";
import { type AtlasNode, defineModule, type Listener } from "../../mod.ts";
import { calc, CallGate, LASTING, market, until } from "../lambda/market.ts";
import { counter } from "./counter.ts";

/** Short enough for a test, and in the same order as the defaults. */
const SOON: PurchasesOptions = { waitMs: 40, leastMs: 300 };
const LONG_MS = 60_000;

interface Setup {
  readonly node: AtlasNode;
  readonly listener: Listener;
  readonly shop: CallGate;
  readonly room: Purchases;
  buy(caller: string, options?: object): Promise<PurchaseView>;
}

async function setUp(capacity: number, options: PurchasesOptions = {}): Promise<Setup> {
  const node = await market().node("a", LASTING) as unknown as AtlasNode;
  const shop = new CallGate();
  const listener = node.publish(calc(shop), { capacity });
  const room = new Purchases({ ...SOON, ...options });
  onTestFinished(() => room.stop());
  const buy: Setup["buy"] = (caller, options = {}) =>
    room.open(node, "calc", { timeoutMs: LONG_MS, ...options }, caller);
  return { node, listener, shop, room, buy };
}

/** Whether a purchase is there. */
function stands(room: Purchases, id: string): boolean {
  try {
    return room.view(id).id === id;
  } catch {
    return false;
  }
}

test("a caller with all of a module's capacity gives another caller half of it, or less if that asks for less", async () => {
  const { room, buy } = await setUp(8);
  const hog = await buy("hog", { capacity: 65_536 });
  expect(hog.capacity).toBe(8);
  expect((await buy("modest", { capacity: 1 })).capacity).toBe(1);
  await expect.poll(() => room.view(hog.id).capacity).toBe(7);
  const other = await buy("other", { capacity: 100 });
  expect(other.capacity).toBeGreaterThan(0);
  await expect.poll(() => room.view(other.id).capacity).toBe(4);
  await expect.poll(() => room.view(hog.id).capacity).toBe(3);
});

test("capacity that was given back is bought again once it is free", async () => {
  const { room, buy } = await setUp(4);
  const hog = await buy("hog", { capacity: 4 });
  const other = await buy("other", { capacity: 4 });
  await expect.poll(() => room.view(hog.id).capacity).toBe(2);
  await room.close(other.id);
  await expect.poll(() => room.view(hog.id)).toMatchObject({ wanted: 4, capacity: 4 });
});

test("among many purchases the unused ones end first; running calls finish", async () => {
  const { room, buy, shop } = await setUp(4);
  const hogs = await Promise.all([0, 1, 2, 3].map(() => buy("hog")));
  const used = hogs[0] as PurchaseView;
  const running = room.call(used.id, "calc", "hold", [7], {});
  await until(() => shop.running === 1, "it runs");
  const others = [await buy("other"), await buy("other")];
  expect(others.map(({ capacity }) => capacity)).toEqual([1, 1]);
  expect(hogs.filter(({ id }) => stands(room, id))).toHaveLength(2);
  expect(stands(room, used.id)).toBe(true);
  shop.open();
  expect(await running).toMatchObject({ result: 7 });
});

test("two callers take turns on a capacity of one", async () => {
  const { room, buy } = await setUp(1);
  for (let turn = 0; turn < 3; turn++) {
    const hog = await buy("hog");
    const other = await buy("other");
    expect(stands(room, hog.id)).toBe(false);
    expect(await room.call(other.id, "calc", "pi", [1], {})).toMatchObject({ result: "3.1" });
  }
});

test("earlier orders don't take capacity that was freed for another caller", async () => {
  const { buy, room } = await setUp(2);
  const hogs = [await buy("hog"), await buy("hog")];
  const refused = Array.from({ length: 50 }, () => buy("hog").then(() => null, (error) => error));
  const other = await buy("other");
  expect(other.capacity).toBe(1);
  expect(hogs.filter(({ id }) => stands(room, id))).toHaveLength(1);
  for (const error of await Promise.all(refused)) {
    expect(error).toMatchObject({
      code: "overloaded",
      message: "another caller waits for capacity of calc, of which this one holds more",
      retryable: true,
      maybeExecuted: false,
    });
  }
});

test("a caller that waits for a version which no other caller holds takes nothing from others", async () => {
  const { buy, room } = await setUp(2);
  const hog = await buy("hog", { capacity: 2 });
  await expect(buy("other", { version: "^9", timeoutMs: 400 })).rejects.toMatchObject({
    code: "unavailable",
  });
  expect(room.view(hog.id)).toMatchObject({ wanted: 2, capacity: 2 });
});

test("a caller takes nothing from others if there is enough, and never from itself", async () => {
  const { buy, room } = await setUp(3);
  const bought = [await buy("one", { capacity: 2 }), await buy("two")];
  await expect(buy("one", { timeoutMs: 400 })).rejects.toMatchObject({ code: "unavailable" });
  expect(bought.map(({ id }) => room.view(id).capacity)).toEqual([2, 1]);
});

describe("a full table", () => {
  test("makes room for a caller with less, until all have equally many", async () => {
    const { buy, room } = await setUp(100, { most: 4 });
    const hogs = [];
    for (let n = 0; n < 4; n++) hogs.push(await buy("hog"));
    const full = {
      code: "overloaded",
      message: "this node keeps 4 purchases already, " +
        "and no other caller has more of them than this one",
    };
    await expect(buy("hog")).rejects.toMatchObject(full);
    await room.call((hogs[0] as PurchaseView).id, "calc", "pi", [1], {});
    await buy("other");
    await buy("other");
    await expect(buy("other")).rejects.toMatchObject(full);
    // The purchases that were called longest ago.
    expect(hogs.map(({ id }) => stands(room, id))).toEqual([true, false, false, true]);
  });

  test("makes room also if its entries are waiting orders", async () => {
    const { node, room, buy } = await setUp(1, { most: 3 });
    const waiting = Array.from(
      { length: 3 },
      () => room.open(node, "nothing", { timeoutMs: LONG_MS }, "hog").then(() => null, (it) => it),
    );
    expect((await buy("other")).capacity).toBe(1);
    expect(await Promise.race(waiting)).toMatchObject({ code: "overloaded" });
    room.stop();
    await node.close({ drainMs: 0 });
    await Promise.all(waiting);
  });
});

test("long unused capacity goes to buyers of other nodes that find none", async () => {
  const made = market();
  const seller = await made.node("seller", LASTING);
  const near = await made.node("near", LASTING) as unknown as AtlasNode;
  const far = await made.node("far", LASTING) as unknown as AtlasNode;
  seller.publish(calc(new CallGate()), { capacity: 2 });
  const room = new Purchases({ ...SOON, askMs: 30, unusedMs: 100 });
  onTestFinished(() => room.stop());
  const hog = await room.open(near, "calc", { capacity: 2 }, "hog");
  // Reading alone keeps it as long as no other buyer wants it.
  const looks = performance.now() + 400;
  await until(() => stands(room, hog.id) && performance.now() > looks, "it was looked at for long");
  const other = await far.discover("calc", { timeoutMs: LONG_MS });
  expect(other.$plb.stats().granted).toBe(1);
  expect(stands(room, hog.id)).toBe(false);
});

test("callers are distinguished by address over HTTP", async () => {
  const { http, seller } = await counter();
  const functions = { one: () => 1 };
  seller.publish(defineModule({ version: "1.0.0", functions }), { name: "m", capacity: 3 });
  const buy = async (remote: string) => {
    const body = JSON.stringify({ capacity: 3 });
    const request = new Request("http://atlas.test/v1/modules/m", { method: "POST", body });
    const answer = await http.fetch(request, { remote });
    expect(answer.status).toBe(201);
    return await answer.json() as PurchaseView;
  };
  expect((await buy("192.0.2.1")).capacity).toBe(3);
  const other = await buy("192.0.2.2");
  expect(other.capacity).toBeGreaterThan(0);
});

test("a caller is an IPv4 address, or the first half of an IPv6 address", () => {
  expect(callerOf("192.0.2.1")).toBe("192.0.2.1");
  expect(callerOf("::ffff:192.0.2.1")).toBe("192.0.2.1");
  expect(callerOf("2001:DB8::1")).toBe("2001:db8:0:0");
  expect(callerOf("2001:db8:0:0:ffff:1:2:3")).toBe("2001:db8:0:0");
  expect(callerOf("2001:0db8:0000:0001::")).toBe("2001:db8:0:1");
  expect(callerOf("fe80::1%eth0")).toBe("fe80:0:0:0");
  expect(callerOf("::1")).toBe("0:0:0:0");
});
