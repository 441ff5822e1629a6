/**
 * Two regions that share one registry under two names: no key moves, so no state is lost.
 *
 * Covers adapters/store/regional/registry_identity.ts.
 */
import { afterEach, expect, test } from "vitest";
import { memoryStore } from "../../adapters/store/memory.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { MemberInfo } from "../../src/model/member.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Store } from "../../src/ports/store.ts";
import { claimOf, freshKey, freshMember, own, refuses } from "../conformance/store_kit.ts";
import { contents, lost, Regions, write } from "./regions.ts";

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const it of opened.splice(0)) await it.close();
});

/** `us` and `eu` are one, `ap` has a registry of its own. */
class Shared {
  readonly book: Store = memoryStore();
  readonly events: NodeEvent[] = [];
  now = 0;
  /** Which copy of the shared registry gives its members. */
  copy = "";
  readonly #regions: Regions;

  constructor() {
    const { book } = this;
    const members = async () => ({ ...await book.members(), lineage: this.copy });
    const shared: Store = new Proxy(book, {
      get: (it, name) => name === "members" ? members : Reflect.get(it, name)?.bind(it),
    });
    this.#regions = new Regions({ us: shared, eu: shared, ap: memoryStore() });
    opened.push(this.#regions);
  }

  async handle(
    self: string,
    after: (region: string, step: string) => void = () => {},
  ): Promise<Store> {
    const onEvent = (event: NodeEvent) => void this.events.push(event);
    return await this.#regions.handle(self, { now: () => this.now, onEvent, after });
  }

  /** The store of a node that is registered and has read all members. */
  async joined(self: string): Promise<[Store, MemberInfo]> {
    const store = await this.handle(self);
    const member = freshMember({ region: self, node: `node-${self}` });
    await store.register(member, { ifFree: false });
    await this.read(store);
    return [store, member];
  }

  /** Makes a node read the members of its own region and of the others. */
  async read(store: Store): Promise<void> {
    this.now += 5_000;
    await store.members();
    await Promise.all(["us", "eu", "ap"].map((region) => store.membersIn?.(region)));
  }
}

/** A key of `us` with something in it. */
async function filled(us: Store) {
  const key = freshKey();
  const owner = await own(us, key);
  expect(await write(us, key, owner, 1, { "s:seq": "2" })).toBe("committed");
  return { key, owner };
}

test("a departed key is not copied onto itself, and its old home gets it back with all of its state", async () => {
  const shared = new Shared();
  const [us, eu] = [await shared.handle("us"), await shared.handle("eu")];
  const { key, owner } = await filled(us);
  // No node has read members so far.
  expect(await us.depart?.(key, owner.incarnation, owner.epoch, "eu")).toBe(true);
  const why = "it says that a key went from us to eu, as only another region's can";
  const message = `the registry of region eu is not its own: ${why}`;
  for (let i = 0; i < 2; i++) {
    await refuses(eu.lookup(key), "unavailable", message);
    await refuses(eu.claim(claimOf(key)), "unavailable");
    await refuses((await shared.handle("us")).claim(claimOf(key)), "unavailable", message);
  }
  await refuses((await shared.handle("ap")).lookup(key), "unavailable", message);
  expect(await contents(shared.book, key)).toEqual({ "s:seq": "2" });
  expect(await us.recall?.(key, null)).toBe(true);
  const again = await own(us, key);
  expect(again.epoch).toBeGreaterThan(owner.epoch);
  expect(await contents(us, key)).toEqual({ "s:seq": "2" });
  const fields = { region: "eu", reason: why };
  const event = { level: "error", event: "registry shared by regions", fields };
  // It is logged once by each node that found it.
  expect(shared.events).toEqual(Array(4).fill(event));
});

test("a signed departure is not copied onto itself either, when both registries become one", async () => {
  const [book, other] = [memoryStore(), memoryStore()];
  const apart = new Regions({ us: book, eu: other, ap: memoryStore() });
  opened.push(apart);
  const us = await apart.handle("us");
  const { key, owner } = await filled(us);
  await us.depart?.(key, owner.incarnation, owner.epoch, "eu");
  const eu = await apart.handle("eu");
  await eu.lookup(key);
  const moved = await own(eu, key);
  expect(await write(eu, key, moved, 1, { "s:seq": "3" })).toBe("committed");

  const joined = new Regions({ us: book, eu: book, ap: memoryStore() });
  const astray = await joined.handle("eu");
  await refuses(astray.lookup(key), "unavailable", "the registry of region eu is not its own");
  await refuses(astray.claim(claimOf(key)), "unavailable");
  expect(await contents(book, key)).toEqual({ "s:seq": "2" });
  expect(await contents(eu, key)).toEqual({ "s:seq": "3" });
});

test("an interrupted move does not go on if its source is its own target", async () => {
  const [book, other] = [memoryStore(), memoryStore()];
  const apart = new Regions({ us: book, eu: other, ap: memoryStore() });
  opened.push(apart);
  const us = await apart.handle("us");
  const { key, owner } = await filled(us);
  await us.depart?.(key, owner.incarnation, owner.epoch, "eu");
  const before = (region: string, step: string) => {
    if (region === "us" && step === "range") throw lost("the process has ended");
  };
  const interrupted = await apart.handle("eu", { before });
  await interrupted.lookup(key);
  await refuses(interrupted.claim(claimOf(key)), "unavailable", "the process has ended");

  const joined = new Regions({ us: other, eu: other, ap: memoryStore() });
  const astray = await joined.handle("eu");
  const { incarnation, epoch } = await astray.lookup(key) as Ownership;
  const claim = claimOf(key, { expected: { incarnation, epoch } });
  const message = "the registry of region us is not its own";
  for (let i = 0; i < 2; i++) await refuses(astray.claim(claim), "unavailable", message);
  const eu = await apart.handle("eu");
  await eu.lookup(key);
  await own(eu, key, { expected: { incarnation, epoch } });
  expect(await contents(eu, key)).toEqual({ "s:seq": "2" });
});

test("a node that is also a member of another region begins no move, and its error has the reason", async () => {
  const shared = new Shared();
  const [us] = await shared.joined("us");
  const { key, owner } = await filled(us);
  const why = "this node, of region us, is a member there";
  const message = `the registry of region eu is not its own: ${why}`;
  expect(us.obstacleTo?.("eu")).toBe(message);
  expect(us.obstacleTo?.("us")).toBe(
    "the registry of region us is not its own: it is also the registry of eu",
  );
  expect(us.obstacleTo?.("ap")).toBeNull();
  const depart = (to: string) =>
    us.depart?.(key, owner.incarnation, owner.epoch, to) as Promise<boolean>;
  await refuses(depart("eu"), "unavailable", message);
  expect(await us.lookup(key)).toEqual(owner);
  expect(await write(us, key, owner, 2, { "s:seq": "3" })).toBe("committed");
  await shared.read(us);
  const about = shared.events.filter(({ fields }) => fields?.region === "eu");
  expect(about).toEqual([{
    level: "error",
    event: "registry shared by regions",
    fields: { region: "eu", reason: why },
  }]);
  expect(await depart("ap")).toBe(true);
});

test("a node that knows that its registry is shared signs no departure", async () => {
  const shared = new Shared();
  const ap = await shared.handle("ap");
  const key = "channels/ap~room";
  const owner = await own(ap, key);
  expect(await ap.depart?.(key, owner.incarnation, owner.epoch, "us")).toBe(true);
  const [us] = await shared.joined("us");
  expect(await us.lookup(key)).toBeNull();
  await refuses(us.claim(claimOf(key)), "unavailable", "region us is not its own");
  expect(await ap.recall?.(key, null)).toBe(true);
});

test("members of another region show that a registry is shared while their heartbeats advance, dead entries never do", async () => {
  const shared = new Shared();
  const stray = freshMember({ region: "eu", node: "stray" });
  await shared.book.register(stray, { ifFree: false });
  // The stray member is found by a third region among the members that it reads, and by the region
  // itself among its own.
  const [ap] = await shared.joined("ap");
  const us = await shared.handle("us");
  await shared.read(us);
  await shared.read(ap);
  const message = "the registry of region us is not its own: node eu/stray is a member there";
  expect([ap.obstacleTo?.("us"), us.obstacleTo?.("us")]).toEqual([null, null]);
  await shared.book.renew(stray.incarnation, 1, []);
  await shared.read(ap);
  const { watched } = await us.renew("nobody", 1, []);
  expect(watched).toEqual([]);
  expect([ap.obstacleTo?.("us"), us.obstacleTo?.("us")]).toEqual([message, message]);
  expect(ap.obstacleTo?.("eu")).toBeNull();
  const owner = await own(ap, "channels/ap~a");
  const departing = ap.depart?.("channels/ap~a", owner.incarnation, owner.epoch, "us");
  await refuses(departing as Promise<boolean>, "unavailable", message);

  shared.now += 61_000;
  expect([ap.obstacleTo?.("us"), us.obstacleTo?.("us")]).toEqual([null, null]);
  await shared.book.renew(stray.incarnation, 2, []);
  await us.renew("nobody", 2, []);
  expect(us.obstacleTo?.("us")).toBe(message);
  await shared.book.leave(stray);
  await shared.read(us);
  expect(us.obstacleTo?.("us")).toBeNull();
});

test("no departure is written in the registry of the key's home", async () => {
  const shared = new Shared();
  const ap = await shared.handle("ap");
  const key = "channels/ap~room";
  const first = await own(ap, key);
  await ap.depart?.(key, first.incarnation, first.epoch, "us");
  let looks = 0;
  const us = await shared.handle("us", (region, step) => {
    if (region === "eu" && step === "lookup") looks++;
  });
  await us.lookup(key);
  const owner = await own(us, key);
  // When another copy of the registry answers, the key is looked up in `eu`, which is the same
  // registry.
  for (let seen = 0; seen < 2; seen++) {
    await expect.poll(async () => {
      shared.copy = crypto.randomUUID();
      await shared.read(us);
      return looks;
    }, { timeout: 20_000 }).toBeGreaterThan(seen);
  }
  expect(await us.lookup(key)).toEqual(owner);
});
