/**
 * Publish and discover across processes and runtimes: published from the app file by `node.ts` and
 * from a program by `node.publish`; discovered by a node, a resource, a client, and over HTTP.
 */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test, vi } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import type app from "./apps/market.ts";
import { ask, result } from "./calls.ts";
import { type Cluster, type Registry, SQLITE, startCluster } from "./cluster.ts";
import { startTrader, tally, type Trader } from "./market_traders.ts";
import { endAll, type RuntimeName } from "./process.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

const APP = fileURLToPath(new URL("./apps/market.ts", import.meta.url));
const RUNTIMES: readonly RuntimeName[] = ["bun", "deno", "node"];
const FUNCTIONS = ["fail", "hold", "mark", "pi", "slow", "unencodable"];

let registry: Registry;
/** `node.ts` on each runtime, with the app that offers `calc` with capacity 2. */
let cluster: Cluster;
let traders: Trader[];

beforeAll(async () => {
  registry = await SQLITE.open();
  const shared = { registry: registry.url, lease: "frugal" };
  cluster = await startCluster({ ...shared, runtimes: RUNTIMES, env: { ATLAS_APP: APP } });
  traders = await Promise.all(
    RUNTIMES.map((runtime) => startTrader({ ...shared, runtime, name: `trader-${runtime}` })),
  );
  await Promise.all(
    traders.map((trader) => trader.publish({ name: `of-${trader.runtime}`, capacity: 2 })),
  );
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

describe.for(RUNTIMES)("discover on %s", (runtime) => {
  const buyer = () => traders.find((trader) => trader.runtime === runtime) as Trader;

  test("finds modules of app files, on all three runtimes at once", async () => {
    const proxy = await buyer().discover({ capacity: 6, waitFor: "all" });
    expect(proxy.exports, "exactly the module's functions").toEqual(FUNCTIONS);
    const outcomes = await proxy.many("pi", { args: [5], times: 300 });
    expect(tally(outcomes, ({ result }) => result)).toEqual({ "3.14159": 300 });
    expect(Object.keys(tally(outcomes, ({ node }) => node)).sort()).toEqual(["n0", "n1", "n2"]);
    await proxy.close();
  });

  test.for(RUNTIMES)("finds a module that a program on %s published", async (seller) => {
    const proxy = await buyer().discover({ name: `of-${seller}`, capacity: 2, waitFor: "all" });
    const outcomes = await proxy.many("pi", { args: [5], times: 20 });
    expect(tally(outcomes, ({ node }) => node)).toEqual({ [`trader-${seller}`]: 20 });
    await proxy.close();
  });

  test("finds modules for a client of any node", async () => {
    for (const { url } of cluster.nodes) {
      const proxy = await buyer().discover({ via: url, capacity: 2, waitFor: "all" });
      expect(proxy.exports).toEqual(FUNCTIONS);
      const outcomes = await proxy.many("pi", { args: [5], times: 20 });
      expect(tally(outcomes, ({ result }) => result)).toEqual({ "3.14159": 20 });
      await proxy.close();
    }
  });
});

describe.for([0, 1, 2])("at node n%s", (place) => {
  const url = () => cluster.nodes[place]?.url as string;

  test("one request over HTTP is one call", async () => {
    const { status, body } = await ask(url(), "/v1/modules/calc/pi", {
      method: "POST",
      body: "[5]",
    });
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body).toEqual({
      result: "3.14159",
      node: expect.stringMatching(/^n[012]$/),
      version: "1.0.0",
    });
  });

  test("a resource discovers a module as a program does", async () => {
    expect(await result(url(), `callers/c${place}`, "pi", [4])).toBe("3.1415");
  });

  test("a client's proxy is typed, and has exactly the module's functions", async () => {
    const calc = await connect<typeof app>(url()).discover("calc", { version: "^1" });
    expectTypeOf(calc.pi).toEqualTypeOf<(digits: number) => Promise<string>>();
    expectTypeOf(calc).not.toHaveProperty("tau");
    expect(Object.keys(calc)).toEqual(FUNCTIONS);
    expect("pi" in calc).toBe(true);
    expect("tau" in calc).toBe(false);
    expect(await calc.pi(3)).toBe("3.141");
    await calc.$plb.close();
  });
});
