/** Covers src/lambda/bus/restarts.ts: processes that throw are restarted if they must exist. */
import { expect, test } from "vitest";
import { Channel } from "../../src/lambda/sell/channel.ts";
import { Authority } from "../../src/lambda/exchange/authority.ts";
import { Bootstrap } from "../../src/lambda/exchange/bootstrap.ts";
import { Broker } from "../../src/lambda/exchange/broker.ts";
import { Exchange } from "../../src/lambda/exchange/exchange.ts";
import { ListenerProcess } from "../../src/lambda/sell/listener.ts";
import type { BusMessage } from "../../src/lambda/bus/messages.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { PlbProcess } from "../../src/lambda/buy/plb.ts";
import { SeededRandom } from "../../sim/engine/random.ts";
import { fakeClock } from "../../testing.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";
import { loneBus } from "../support/lone_market.ts";

type Made = new (...args: never[]) => Process;

/** Makes a process of this class throw once, at the next message of the given kind. */
function failOnce(kind: Made): { readonly done: () => boolean } {
  const prototype = kind.prototype as Process;
  const receive = prototype.receive;
  let isDone = false;
  prototype.receive = function (message: BusMessage, from: string): void {
    prototype.receive = receive;
    isDone = true;
    // It throws after half of its work.
    receive.call(this, message, from);
    throw new Error("tripped");
  };
  return { done: () => isDone };
}

const PROCESSES: [string, Made][] = [
  ["authority", Authority as Made],
  ["broker", Broker as Made],
  ["bootstrap", Bootstrap as Made],
  ["exchange", Exchange as Made],
  ["listener", ListenerProcess as Made],
  ["channel", Channel as Made],
  ["load balancer", PlbProcess as Made],
];

for (const [name, kind] of PROCESSES) {
  test(`the market goes on after its ${name} failed`, async () => {
    const made = market();
    const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
    const gate = new CallGate();
    gate.open();
    const listener = a.publish(calc(gate), { capacity: 3 });
    const proxy = await b.discover("calc", { capacity: 2, waitFor: "all" });
    await until(async () => (await b.exchange("calc")).length === 2, "the market is whole");
    const trap = failOnce(kind);
    await until(async () => {
      // Every process must receive a message.
      await proxy.pi(1).catch(() => {});
      const other = await a.discover("calc").catch(() => null);
      await other?.$plb.close();
      if (name === "bootstrap") a.members();
      return trap.done();
    }, "it failed");
    await until(() => proxy.$plb.capacity() === 2, "all capacity is bought again");
    expect(await Promise.all([proxy.pi(1), proxy.pi(2)])).toEqual(["3.1", "3.14"]);
    const third = await a.discover("calc");
    expect(await third.pi(1)).toBe("3.1");
    await until(async () => (await b.exchange("calc")).length === 2, "it is whole again");
    await until(async () => {
      const mesh = await a.authorities();
      return mesh.length === 2 && mesh.every((it) => it.authorities === 1 && it.brokers === 2);
    }, "everybody knows everybody again");
    expect(listener.stats()).toMatchObject({ granted: 3, free: 0 });
    const logged = made.events.map(({ event }) => event);
    expect(logged.filter((event) => event === "process failed")).toHaveLength(1);
    // Exchanges and channels are opened again by the processes that need them.
    const isKept = !["exchange", "channel"].includes(name);
    expect(logged.filter((event) => event === "process restarted")).toHaveLength(isKept ? 1 : 0);
  });
}

for (const [name, kind] of [["listener", ListenerProcess], ["channel", Channel]] as const) {
  test(`capacity is not exceeded while calls of a failed ${name} go on`, async () => {
    const made = market();
    const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
    const gate = new CallGate();
    const listener = a.publish(calc(gate), { capacity: 2 });
    const proxy = await b.discover("calc", { capacity: 2, waitFor: "all" });
    const running = [proxy.hold(1), proxy.hold(2)].map((call) => call.catch(() => 0));
    await until(() => gate.running === 2, "two run");
    const trap = failOnce(kind as unknown as Made);
    const more = Array.from({ length: 6 }, (_, n) => proxy.hold(n).catch(() => 0));
    const other = a.discover("calc", { timeoutMs: 500 }).catch(() => null);
    await until(async () => {
      await a.modules();
      return trap.done();
    }, "it failed");
    expect(gate.running).toBe(2);
    gate.release(1);
    await until(() => gate.served >= 1, "one ends");
    gate.open();
    await (await other)?.$plb.close();
    await Promise.all([...running, ...more]);
    expect(gate.most).toBeLessThanOrEqual(2);
    await until(() => proxy.$plb.capacity() === 2, "all capacity is there again");
    expect(listener.stats()).toMatchObject({ granted: 2, running: 0 });
    const { creditsGranted, creditsIssued, creditsUsed, creditsOutstanding, creditsRevoked } = a
      .stats();
    expect(creditsGranted).toBe(2);
    expect(creditsIssued).toBe(creditsUsed + creditsOutstanding + creditsRevoked);
  });
}

test("a proxy and a listener whose process failed can be closed", async () => {
  const made = market();
  const a = await made.node("a", LASTING);
  const gate = new CallGate();
  gate.open();
  const listener = a.publish(calc(gate), { capacity: 1 });
  const proxy = await a.discover("calc");
  const traps = [
    failOnce(PlbProcess as unknown as Made),
    failOnce(ListenerProcess as unknown as Made),
  ];
  await proxy.pi(1).catch(() => {});
  await until(async () => {
    const other = await a.discover("calc", { timeoutMs: 50 }).catch(() => null);
    await other?.$plb.close();
    return traps.every(({ done }) => done());
  }, "both failed");
  await proxy.$plb.close();
  await listener.close();
  expect(a.listeners()).toEqual([]);
});

test("a process that keeps failing is restarted with growing backoff, and each restart is logged", async () => {
  const clock = fakeClock();
  const events: string[] = [];
  const bus = loneBus(clock, {
    random: new SeededRandom(1, "bus"),
    onEvent: ({ event }) => events.push(event),
  });
  const starts: number[] = [];
  class Faulty extends Process {
    protected override started(): void {
      starts.push(clock.now());
      this.context.defer(() => {
        throw new Error("again");
      });
    }
    receive(): void {}
  }
  const restarts: number[] = [];
  bus.keep("faulty", () => new Faulty(), () => restarts.push(clock.now()));
  await clock.advance(1_000);
  const [first = 0] = starts;
  expect(starts.map((at) => at - first)).toEqual([0, 0, 100, 300, 700]);
  expect(restarts.length).toBe(4);
  expect(events.filter((event) => event === "process restarted")).toHaveLength(4);
  await clock.advance(100_000);
  expect((starts.at(-1) as number) - (starts.at(-2) as number)).toBe(10_000);
  bus.stop();
  const count = starts.length;
  await clock.advance(100_000);
  expect(starts.length).toBe(count);
});
