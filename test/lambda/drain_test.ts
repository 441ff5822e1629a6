/** What a drain means for calls that wait for credit: callers are sent away, turns are not. */
import { expect, test } from "vitest";
import { type App, type AtlasError, defineApp, Resource } from "../../mod.ts";
import { calc, type CalcApp, LASTING, market, Shop, until } from "./market.ts";

const notRun = expect.objectContaining({
  code: "unavailable",
  retryable: true,
  maybeExecuted: false,
});

/** A node whose only capacity of a module is in use. */
async function busy() {
  const a = await market().node("a", LASTING);
  const shop = new Shop();
  a.publish(calc(shop), { capacity: 1 });
  const running = a.request("calc", "hold", [1]);
  await until(() => shop.running === 1, "one runs");
  return { a, shop, running };
}

test("a drain refuses whoever waits for credit, and lets run what runs", async () => {
  const { a, shop, running } = await busy();
  const waiting = a.request("calc", "hold", [2]).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "another waits");
  const drained = a.drain();
  expect(await waiting).toEqual(notRun);
  expect(shop.running).toBe(1);
  shop.open();
  expect(await running).toMatchObject({ result: 1 });
  await drained;
});

test("those that came while what runs was waited for are refused in the end", async () => {
  const { a, shop, running } = await busy();
  const early = a.request("calc", "hold", [2]).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "another waits");
  const drained = a.drain();
  expect(await early).toEqual(notRun);
  const late = a.request("calc", "hold", [3]).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "a late one waits");
  shop.open();
  await running;
  await drained;
  expect(await late).toEqual(notRun);
});

/** What turns' own calls failed with. */
const troubles: unknown[] = [];

class Buyer extends Resource {
  async buy(): Promise<unknown> {
    try {
      return (await this.node.request("calc", "hold", [7])).result;
    } catch (error) {
      troubles.push(error);
      throw error;
    }
  }
}

const buyers = defineApp({ resources: { buyers: Buyer }, modules: {} }) as App as CalcApp;

test("a turn that waits for credit goes on waiting: its drain lets it end", async () => {
  const made = market();
  const a = await made.node("a", LASTING, buyers);
  const b = await made.node("b", LASTING);
  const turn = a.call("buyers", "x", "buy", []);
  await until(() => a.stats().moduleWaiting === 1, "the turn waits");
  const drained = a.drain();
  const shop = new Shop();
  shop.open();
  b.publish(calc(shop), { capacity: 1 });
  expect(await turn).toMatchObject({ result: 7 });
  await drained;
});

test("a turn that waits for credit when its node is closed is told so, and so is its caller", async () => {
  const made = market();
  const a = await made.node("a", LASTING, buyers);
  const turn = a.call("buyers", "x", "buy", []).catch((error: AtlasError) => error);
  await until(() => a.stats().moduleWaiting === 1, "the turn waits");
  await a.close({ drainMs: 1 });
  expect(await turn).toMatchObject({ code: "unavailable", maybeExecuted: true });
  expect(troubles).toEqual([notRun]);
  expect(troubles[0]).toMatchObject({ message: "the node was closed" });
});
