/**
 * Drains and calls that wait for credit: calls from outside of turns are rejected, calls of turns
 * are not.
 */
import { expect, test } from "vitest";
import { type App, type AtlasError, defineApp, Resource } from "../../mod.ts";
import { calc, type CalcApp, CallGate, LASTING, market, until } from "./market.ts";

const notRun = expect.objectContaining({
  code: "unavailable",
  retryable: true,
  maybeExecuted: false,
});

/** A node whose only capacity of a module is in use. */
async function busy() {
  const a = await market().node("a", LASTING);
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 1 });
  const running = a.request("calc", "hold", [1]);
  await until(() => gate.running === 1, "one runs");
  return { a, gate, running };
}

test("a drain rejects calls that wait for credit, and lets running calls finish", async () => {
  const { a, gate, running } = await busy();
  const waiting = a.request("calc", "hold", [2]).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "another waits");
  const drained = a.drain();
  expect(await waiting).toEqual(notRun);
  expect(gate.running).toBe(1);
  gate.open();
  expect(await running).toMatchObject({ result: 1 });
  await drained;
});

test("calls made while a drain waits for running calls are rejected at its end", async () => {
  const { a, gate, running } = await busy();
  const early = a.request("calc", "hold", [2]).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "another waits");
  const drained = a.drain();
  expect(await early).toEqual(notRun);
  const late = a.request("calc", "hold", [3]).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "a late one waits");
  gate.open();
  await running;
  await drained;
  expect(await late).toEqual(notRun);
});

/** Errors of turns' own calls. */
const failures: unknown[] = [];

class Buyer extends Resource {
  async buy(): Promise<unknown> {
    try {
      return (await this.node.request("calc", "hold", [7])).result;
    } catch (error) {
      failures.push(error);
      throw error;
    }
  }
}

const buyers = defineApp({ resources: { buyers: Buyer }, modules: {} }) as App as CalcApp;

test("a turn that waits for credit may finish during a drain", async () => {
  const made = market();
  const a = await made.node("a", LASTING, buyers);
  const b = await made.node("b", LASTING);
  const turn = a.call("buyers", "x", "buy", []);
  await until(() => a.stats().moduleWaiting === 1, "the turn waits");
  const drained = a.drain();
  const gate = new CallGate();
  gate.open();
  b.publish(calc(gate), { capacity: 1 });
  expect(await turn).toMatchObject({ result: 7 });
  await drained;
});

test("closing the node rejects a turn's call that waits for credit, and the turn's caller", async () => {
  const made = market();
  const a = await made.node("a", LASTING, buyers);
  const turn = a.call("buyers", "x", "buy", []).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "the turn waits");
  await a.close({ drainMs: 1 });
  expect(await turn).toMatchObject({ code: "unavailable", maybeExecuted: true });
  expect(failures).toEqual([notRun]);
  expect(failures[0]).toMatchObject({ message: "the node was closed" });
});
