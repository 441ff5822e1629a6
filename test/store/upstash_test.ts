/**
 * How the HTTP store handles answers that are lost, mangled or late.
 *
 * Covers adapters/store/redis/http_connection.ts.
 */
import { describe, expect, test } from "vitest";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { MAX_DEAD_MEMBERS } from "../../src/limits.ts";
import type { MemberInfo } from "../../src/model/member.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Store } from "../../src/ports/store.ts";
import {
  claimOf,
  eventually,
  freshKey,
  freshMember,
  own,
  refuses,
} from "../conformance/store_kit.ts";
import { redisMissing, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { type Fault, inOrder } from "../upstash/faults.ts";
import { cleanups, furtherStores, setUpStore } from "../upstash/store_setup.ts";
import type { TestUpstash } from "../upstash/server.ts";

/** Applies `fault` to every request that contains `mark`. */
function onlyFor(server: TestUpstash, mark: string, fault: Fault): void {
  server.faults = () => server.requests.at(-1)?.body.includes(mark) ? fault : null;
}

warnIfRedisMissing("the HTTP store's lost and mangled answers");

describe("an answer that is lost or mangled", unless(redisMissing), () => {
  const LOSSES: readonly Fault[] = [
    "reset",
    "lost",
    "refused",
    "failed",
    "truncated",
    "broken",
    "twice",
    "late",
    "slow",
  ];
  for (const fault of LOSSES) {
    test(`(${fault}, once): every step gets the same answer as without the fault`, async () => {
      const { server, store } = await setUpStore();
      const faulty = <T>(step: () => Promise<T>): Promise<T> => {
        server.faults = inOrder(fault);
        return step();
      };
      const [member, key] = [freshMember(), freshKey()];
      const { incarnation } = member;
      expect((await faulty(() => store.register(member, { ifFree: true }))).outcome)
        .toBe("registered");
      expect((await faulty(() => store.renew(incarnation, 4, [incarnation]))).watched)
        .toEqual([{ incarnation, seq: 4, state: "live" }]);
      const reply = await faulty(() => store.claim(claimOf(key, { incarnation })));
      expect(reply.won).toBe(true);
      const owner = reply.owner as NonNullable<typeof reply.owner>;
      expect(await faulty(() => store.lookup(key))).toEqual(owner);
      for (const [turn, puts] of [[1, [["a", "1"]]], [2, [["a", "2"]]]] as const) {
        const commit = { key, incarnation, epoch: owner.epoch, turn, puts, deletes: [] };
        expect(await faulty(() => store.commit(commit))).toBe("committed");
      }
      expect(await faulty(() => store.read(key, ["a", "b"]))).toEqual(["2", null]);
      const range = { start: "", end: "~", limit: 9, reverse: false };
      expect(await faulty(() => store.range(key, range))).toEqual([["a", "2"]]);
      expect((await faulty(() => store.list("rrp:test/node/", null, 100))).entries)
        .toEqual([owner]);
      const [one, other] = [freshMember(), freshMember()];
      for (const info of [one, other]) await store.register(info, { ifFree: true });
      expect(await faulty(() => store.kill(one.incarnation, 0))).toBe("dead");
      await faulty(() => store.leave(other));
      const { members } = await faulty(() => store.members());
      expect(Object.fromEntries(members.map((it) => [it.incarnation, it.state])))
        .toEqual({ [incarnation]: "live", [one.incarnation]: "dead", [other.incarnation]: "left" });
      expect(store.status()).toBe("up");
    });
  }

  test("(always): every step is unavailable, and none answers that nothing exists", async () => {
    const { server, store, sendCommand } = await setUpStore();
    const [key, member] = [freshKey(), freshMember()];
    const owner = await own(store, key);
    await store.register(member, { ifFree: true });
    const stores = await furtherStores(server, 11);
    for (const fault of ["lost", "failed", "refused", "truncated", "broken", "reset"] as const) {
      server.faults = () => fault;
      const { incarnation, epoch } = owner;
      const range = { start: "", end: "~", limit: 1, reverse: false };
      const turn = { key, incarnation, epoch, turn: 9, puts: [], deletes: [] };
      const steps: ((store: Store) => Promise<unknown>)[] = [
        (it) => it.lookup(key),
        (it) => it.read(key, ["a"]),
        (it) => it.range(key, range),
        (it) => it.commit(turn),
        (it) => it.claim(claimOf(freshKey())),
        (it) => it.list("rrp:", null, 1),
        (it) => it.members(),
        (it) => it.kill(freshMember().incarnation, 0),
        (it) => it.renew(member.incarnation, 1, []),
        (it) => it.register(freshMember(), { ifFree: true }),
        (it) => it.leave(freshMember()),
      ];
      await Promise.all(steps.map(async (step, i) => {
        const it = stores[i] as Store;
        await refuses(step(it), "unavailable", "the Redis at 127.0.0.1");
        expect(it.status()).toBe("down");
      }));
    }
    server.faults = () => null;
    expect(await store.lookup(key)).toEqual(owner);
    expect(store.status()).toBe("up");
    expect(await sendCommand("EXISTS", `atlas:{s${slotOf(key)}}:own:${key}`)).toBe(1);
  });

  test("a step that hangs is unavailable in time, and may have been done", async () => {
    const { server } = await setUpStore();
    const { url, token } = server;
    const store = await upstashStore({ url, token, timeoutMs: 3_000 });
    cleanups.push(() => store.close());
    const claim = claimOf(freshKey());
    onlyFor(server, claim.opId, "hung");
    await refuses(store.claim(claim), "unavailable", "no answer within 3000 ms");
    expect(store.status()).toBe("down");
    server.release();
    server.faults = () => null;
    const owner = await eventually(async () => await store.lookup(claim.key) ?? undefined);
    expect(await store.claim(claim)).toMatchObject({ won: true, owner });
  });

  test("an answer that is there at the timeout counts: this process may have been suspended", async () => {
    const { server } = await setUpStore();
    const { url, token } = server;
    const store = await upstashStore({ url, token, timeoutMs: 2_000 });
    cleanups.push(() => store.close());
    const key = freshKey();
    const owner = await own(store, key);
    const original = globalThis.fetch;
    cleanups.push(() => (globalThis.fetch = original));
    // The answer arrives, but is read only after the time is up.
    globalThis.fetch = (async (...args: Parameters<typeof fetch>) => {
      const answer = await original(...args);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_500);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return answer;
    }) as typeof fetch;
    expect(await store.lookup(key)).toEqual(owner);
  });

  test("a release whose answer is lost is not sent again", async () => {
    const { server, store } = await setUpStore();
    const key = freshKey();
    const { incarnation, epoch } = await own(store, key);
    onlyFor(server, incarnation, "failed");
    let before = server.requests.length;
    await refuses(store.release(key, incarnation, epoch), "unavailable");
    expect(server.requests.length).toBe(before + 1);
    onlyFor(server, incarnation, "reset");
    before = server.requests.length;
    await refuses(store.release(key, incarnation, epoch), "unavailable");
    // Deno's fetch resends a request that is cut off on a reused connection, which can't be
    // prevented.
    expect(server.requests.length).toBeLessThanOrEqual(before + 2);
    server.faults = () => null;
    expect(await store.lookup(key)).toBeNull();
  });

  const INVALID_BODIES: Record<string, string> = {
    "an object": "{}",
    "null": "null",
    "a number": "7",
    "an empty list": "[]",
    "a list of null": "[null]",
    "a nil result": '[{"result":null}]',
    "no result": "[{}]",
    "two results": '[{"result":[null]},{"result":[null]}]',
    "an object as result": '[{"result":{}}]',
    "text as result": '[{"result":""}]',
    "too short a list": '[{"result":[]}]',
    "too long a list": '[{"result":[null,null]}]',
    "an object in the list": '[{"result":[{}]}]',
    "half of it": '[{"result":[nu',
    "nothing": "",
    "HTML": "<html>Hello</html>",
  };
  test("an answer of another shape is unavailable", async () => {
    const { server } = await setUpStore();
    let replaced: string | null = null;
    const original = globalThis.fetch;
    cleanups.push(() => (globalThis.fetch = original));
    globalThis.fetch = ((...args: Parameters<typeof fetch>) =>
      replaced === null
        ? original(...args)
        : Promise.resolve(new Response(replaced))) as typeof fetch;
    const stores = await furtherStores(server, 6);
    const key = freshKey();
    const { incarnation, epoch } = await own(stores[0] as Store, key);
    const turn = { key, incarnation, epoch, turn: 1, puts: [], deletes: [] };
    for (const body of Object.values(INVALID_BODIES)) {
      replaced = body;
      const steps: ((store: Store) => Promise<unknown>)[] = [
        (it) =>
          it.lookup(key),
        (it) => it.claim(claimOf(key)),
        (it) => it.kill(incarnation, 0),
        (it) => it.commit(turn),
        (it) => it.renew(incarnation, 1, []),
        (it) => it.read(key, ["a"]),
      ];
      await Promise.all(steps.map((step, i) => refuses(step(stores[i] as Store), "unavailable")));
    }
  });
});

describe("late copies", unless(redisMissing), () => {
  test("a registration repeated after its member was pruned changes nothing", async () => {
    const { server, store, sendCommand } = await setUpStore();
    const old = freshMember();
    await store.register(old, { ifFree: false });
    const late = server.requests.at(-1)?.body as string;
    await store.leave(old);
    const next: MemberInfo = freshMember({ node: old.node });
    await store.register(next, { ifFree: true });
    for (let i = 0; i <= MAX_DEAD_MEMBERS + 1; i++) {
      const info = freshMember();
      await store.register(info, { ifFree: true });
      await store.leave(info);
    }
    expect(await sendCommand("HEXISTS", "atlas:{members}:state", old.incarnation)).toBe(0);
    const [command] = JSON.parse(late) as [string[]];
    expect((await sendCommand(...command.map(String)) as unknown[])[0]).toBe("stale");
    expect(await store.kill(old.incarnation, 0)).toBeNull();
    expect((await store.renew(next.incarnation, 1, [])).outcome).toBe("renewed");
    expect((await store.register(freshMember(), { ifFree: true })).outcome).toBe("registered");
  });

  test("steps repeated after later steps change nothing", async () => {
    const { server, store, sendCommand } = await setUpStore();
    const repeat = async (): Promise<unknown> => {
      const [command] = JSON.parse(server.requests.at(-1)?.body as string) as [string[]];
      return await sendCommand(...command.map(String));
    };
    const key = freshKey();
    const first = await own(store, key);
    const commit = { key, ...first, turn: 1, puts: [["a", "1"]] as const, deletes: ["b"] };
    await store.commit(commit);
    const old = server.requests.at(-1)?.body as string;
    await store.commit({ ...commit, turn: 2, puts: [["a", "2"], ["b", "2"]], deletes: [] });
    const [late] = JSON.parse(old) as [string[]];
    expect(await sendCommand(...late.map(String))).toEqual([1]);
    expect(await store.read(key, ["a", "b"])).toEqual(["2", "2"]);
    const { incarnation, epoch } = first;
    const second = await store.claim(claimOf(key, { expected: { incarnation, epoch } }));
    expect(await sendCommand(...late.map(String))).toEqual([expect.stringContaining(key)]);
    expect(await repeat()).toEqual([[second.owner?.epoch, expect.any(String)]]);
    expect(await store.lookup(key)).toEqual(second.owner);
    expect(await store.read(key, ["a", "b"])).toEqual(["2", "2"]);
  });
});
