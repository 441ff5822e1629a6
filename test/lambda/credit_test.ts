/**
 * Credit is conserved: failed and abandoned calls cost none.
 *
 * Covers src/lambda/buy/call_queue.ts.
 */
import { expect, test } from "vitest";
import { inProcessTransport, type Link, type Listener, type Transport } from "../../mod.ts";
import { readMessage } from "../../src/lambda/bus/messages.ts";
import type { Body } from "../../src/model/body.ts";
import { decodeMessage } from "../../src/model/envelope.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

function expectConserved(listener: Listener): void {
  const { capacity, granted, channels } = listener.stats();
  expect(granted).toBeLessThanOrEqual(capacity);
  for (const { issued, used, outstanding, revoked, running, grant } of channels) {
    expect(issued).toBe(used + outstanding + revoked);
    expect(outstanding + running).toBeLessThanOrEqual(grant);
  }
}

async function sellerOf2(options: { lowWatermark?: number } = {}) {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  const listener = a.publish(calc(gate), { capacity: 2, ...options });
  const proxy = await b.discover("calc", { capacity: 2 });
  return { made, a, b, gate, listener, proxy };
}

test("failing calls don't use up credit", async () => {
  const { a, listener, proxy } = await sellerOf2();
  for (let n = 0; n < 20; n++) {
    await expect(proxy.fail()).rejects.toMatchObject({
      code: "app",
      message: "failed on purpose",
      maybeExecuted: true,
    });
  }
  expect(proxy.$plb.capacity()).toBe(2);
  expectConserved(listener);
  const stats = a.stats();
  expect(stats.creditsIssued).toBe(22);
  expect(stats.creditsUsed).toBe(20);
  expect(stats.creditsOutstanding).toBe(2);
});

test("calls that are abandoned while they wait spend no credit", async () => {
  const { gate, listener, proxy } = await sellerOf2();
  const running = [proxy.hold(1), proxy.hold(2)];
  await until(() => gate.running === 2, "both run");
  const controller = new AbortController();
  const given = [
    ...Array.from({ length: 5 }, () => proxy.$plb.call("hold", [0], { timeoutMs: 20 })),
    ...Array.from({ length: 5 }, () => proxy.$plb.call("hold", [0], { signal: controller.signal })),
  ].map((call) => call.catch((error) => error));
  controller.abort();
  for (const error of await Promise.all(given)) {
    expect(error).toMatchObject({ code: "timeout", maybeExecuted: false });
  }
  await expect(proxy.$plb.call("hold", [0], { noWait: true })).rejects.toMatchObject({
    code: "overloaded",
    maybeExecuted: false,
  });
  gate.open();
  await Promise.all(running);
  expect(gate.served).toBe(2);
  expect(proxy.$plb.stats()).toMatchObject({ tokens: 2, waiting: 0, running: 0 });
  expectConserved(listener);
});

test("a running call that is abandoned is aborted, and its credit is issued again", async () => {
  const { gate, proxy } = await sellerOf2();
  await expect(proxy.$plb.call("hold", [1], { timeoutMs: 30 })).rejects.toMatchObject({
    code: "timeout",
    maybeExecuted: true,
  });
  await until(() => gate.aborted === 1, "the function saw the signal");
  await until(() => proxy.$plb.capacity() === 2, "the credit is back");
});

test("a slow call does not delay fast ones, at any low watermark", async () => {
  for (const lowWatermark of [0, 0.5, 1]) {
    const { gate, proxy, listener } = await sellerOf2({ lowWatermark });
    const slow = proxy.hold(1);
    for (let n = 0; n < 50; n++) await proxy.pi(1);
    expect(gate.served).toBe(50);
    expectConserved(listener);
    gate.open();
    await slow;
  }
});

test("capacity is conserved and never exceeded while buyers come and go", async () => {
  const made = market();
  const a = await made.node("a");
  const gate = new CallGate();
  const listener = a.publish(calc(gate), { capacity: 3 });
  const buyers = [await made.node("b"), await made.node("c"), a];
  await Promise.all(buyers.map(async (buyer) => {
    for (let n = 0; n < 4; n++) {
      const proxy = await buyer.discover("calc", { capacity: 2 });
      await Promise.all(Array.from({ length: 10 }, () => proxy.pi(1)));
      expectConserved(listener);
      await proxy.$plb.close();
    }
  }));
  expect(gate.most).toBeLessThanOrEqual(3);
  expect(gate.served).toBe(120);
  await until(() => listener.stats().granted === 0, "all capacity is back");
  const { creditsIssued, creditsUsed, creditsRevoked, creditsOutstanding } = a.stats();
  expect([creditsUsed, creditsOutstanding]).toEqual([120, 0]);
  expect(creditsIssued).toBe(creditsUsed + creditsRevoked);
});

/** A transport that loses the next `count` credit messages of sellers. */
function lossy(inner: Transport, loses: { count: number }): Transport {
  const isLost = (tuple: readonly unknown[], body: Body): boolean => {
    const message = decodeMessage(tuple, body);
    if (loses.count === 0 || message.kind !== "process") return false;
    const isCredit = readMessage(message.content, message.body, "").kind === "credit";
    if (isCredit) loses.count--;
    return isCredit;
  };
  const over = (link: Link): Link => ({
    peer: link.peer,
    start: (handlers) => link.start(handlers),
    send: (tuple, body) => isLost(tuple, body) || link.send(tuple, body),
    close: (reason) => link.close(reason),
  });
  return {
    get address() {
      return inner.address;
    },
    open: (self, accept) => inner.open(self, (link) => accept(over(link))),
    dial: async (peer) => over(await inner.dial(peer)),
    close: () => inner.close(),
  };
}

test("lost credit is probed for, even if some is left and no call waits", async () => {
  const made = market();
  const loses = { count: 0 };
  const transport = lossy(inProcessTransport(made.network), loses);
  const a = await made.node("a", { ...LASTING, transport });
  const b = await made.node("b", LASTING);
  const listener = a.publish(calc(new CallGate()), { capacity: 2, lowWatermark: 0 });
  const proxy = await b.discover("calc", { capacity: 2 });
  await until(() => proxy.$plb.capacity() === 2, "all credit is here");
  // The credit that its call leaves is above the watermark: it comes later, in a message of its own.
  loses.count = 1;
  await proxy.pi(1);
  await until(() => loses.count === 0, "the message was lost");
  expect(proxy.$plb.stats()).toMatchObject({ tokens: 1, granted: 2, waiting: 0 });
  await until(() => proxy.$plb.stats().tokens === 2, "the credit is back");
  expectConserved(listener);
});
