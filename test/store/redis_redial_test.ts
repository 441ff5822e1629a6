/**
 * Reconnection to a Redis that was unreachable: before the end of a lease that can still be
 * renewed. By fake timers, with a client that never connects twice.
 */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { RedisAddress, RedisClient } from "../../adapters/store/redis/client.ts";
import { type MasterLocator, RedisConnection } from "../../adapters/store/redis/connection.ts";
import { refusalOf } from "../../src/model/refusal.ts";
import { timing } from "../../src/registry/lease.ts";

const ADDRESS: RedisAddress = {
  host: "127.0.0.1",
  port: 6379,
  username: "",
  password: "",
  database: 0,
  tls: false,
};

const GUIDE: MasterLocator = {
  name: "the master",
  find: () => Promise.resolve(ADDRESS),
  invalidate: () => {},
  elsewhere: () => Promise.resolve(null),
  close: () => {},
};

const CLIENT: RedisClient = {
  send: (command) =>
    Promise.resolve(command === "INFO" ? "role:master\r\nmaxmemory_policy:noeviction\r\n" : "sha"),
  close: () => {},
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

for (const [kind, target] of [["a server", ADDRESS], ["a master of sentinels", GUIDE]] as const) {
  test(`reconnects to ${kind} often enough for the shortest lease`, async () => {
    const dialled: number[] = [];
    let end: (why: string) => void = () => {};
    const connection = new RedisConnection(target, {
      timeoutMs: 5_000,
      scripts: [],
      dial: (_address, _timeoutMs, ended) => {
        dialled.push(Date.now());
        if (dialled.length > 1) return Promise.reject(new Error("ECONNREFUSED"));
        end = ended;
        return Promise.resolve(CLIENT);
      },
    });
    await connection.open();
    end("it was killed");
    await vi.advanceTimersByTimeAsync(10_000);
    const gaps = dialled.slice(1).map((at, i) => at - (dialled[i] as number));
    const { heartbeatMs, leaseMs } = timing("fast");
    // When Redis becomes unreachable the last renewal is at most one heartbeat old, and it is
    // retried every 250 ms.
    expect(Math.max(...gaps)).toBeLessThanOrEqual((leaseMs - heartbeatMs) / 8);
    expect(dialled.length).toBeLessThan(100);
    const error = await connection.send("GET", ["x"]).then(() => null, (reason) => reason);
    // A step that was never sent has certainly not been done.
    expect(refusalOf(error)).toBe("unsent");
    connection.close();
  });
}
