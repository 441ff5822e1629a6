/**
 * Modules over HTTP: routes show the sellers' counters, and each failure has its documented answer.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Answer, ask, type AskOptions } from "./calls.ts";
import { type Registry, SQLITE } from "./cluster.ts";
import { startTrader, tally, type Trader } from "./market_traders.ts";
import { endAll } from "./process.ts";
import { until } from "../support/until.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

/** A node that doesn't answer within two seconds is left out of a listing, which is then taken again. */
const PATIENCE = { timeout: 20_000 };

let registry: Registry;
/** The seller of `calc` with capacity 2, and the node that gets all requests. */
let ann: Trader;
let node: Trader;

beforeAll(async () => {
  registry = await SQLITE.open();
  const shared = { registry: registry.url, lease: "frugal" };
  [ann, node] = await Promise.all([
    startTrader({ ...shared, name: "ann", runtime: "deno", sells: true }),
    startTrader({ ...shared, name: "node", runtime: "bun" }),
  ]);
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

function request(path: string, body: unknown, options: AskOptions = {}): Promise<Answer> {
  return ask(node.url, `/v1/modules/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    ...options,
  });
}

async function held(trader: Trader, count: number): Promise<void> {
  await until(async () => (await trader.count()).running === count, `${count} are held`);
}
/** Releases held calls until none is left. */
async function releaseAll(trader: Trader): Promise<void> {
  await until(async () => {
    await trader.release();
    return (await trader.count()).running === 0;
  }, "nobody is held");
}

test("modules, exchanges and authorities are listed", async () => {
  const proxy = await node.discover({ capacity: 2, waitFor: "all" });
  const batch = await proxy.begin("hold", { times: 2 });
  await held(ann, 2);
  const [truth] = await ann.listeners();
  await expect.poll(() => ask(node.url, "/v1/modules"), PATIENCE).toEqual({
    status: 200,
    body: {
      modules: [{
        name: "calc",
        versions: ["1.0.0"],
        nodes: ["local/ann"],
        capacity: 2,
        inFlight: 2,
        sellers: [{
          region: "local",
          node: "ann",
          incarnation: ann.line.incarnation,
          version: "1.0.0",
          hash: truth?.hash,
          capacity: 2,
          granted: 2,
          inFlight: 2,
        }],
      }],
    },
  });
  const further = await node.discover({ capacity: 1, timeoutMs: 100 }).catch(({ code }) => code);
  expect(further).toBe("unavailable");
  await releaseAll(ann);
  await batch.all();
  await proxy.close();

  await until(async () => {
    const { body } = await ask(node.url, "/v1/exchanges/calc");
    expect(body.module).toBe("calc");
    return body.exchanges.length === 2 &&
      body.exchanges.every(({ orders }: { orders: { quantity: number }[] }) =>
        orders.length === 1 && orders[0]?.quantity === 2
      );
  }, "both books offer two again");
  const place = { region: "local", authorities: 1, brokers: 2, modules: ["calc"] };
  const mesh = async () => (await ask(node.url, "/v1/authorities")).body;
  await expect.poll(mesh, PATIENCE).toEqual({
    authorities: [ann, node].map(({ line: { node, incarnation } }) => ({
      ...place,
      node,
      incarnation,
    })),
  });
});

test("metrics show the counters of sellers and buyers", async () => {
  await ann.publish({ name: "counted", capacity: 2 });
  const proxy = await node.discover({ name: "counted", capacity: 2, waitFor: "all" });
  expect(tally(await proxy.many("pi", { args: [2], times: 20 }))).toEqual({ ok: 20 });
  const holding = await proxy.begin("hold", { times: 5 });
  await held(ann, 2);
  const [shop] = (await ann.listeners()).filter(({ module }) => module === "counted");
  expect(shop?.channels).toMatchObject([{ issued: 22, used: 22, outstanding: 0, revoked: 0 }]);
  expect(await samples(ann, "counted")).toMatchObject({
    credits_issued_total: 22,
    credits_used_total: 22,
    credits_revoked_total: 0,
    credits_outstanding: 0,
    capacity_granted: 2,
    requests_running: 2,
  });
  const { waits, waitedMs } = await proxy.plb();
  expect(await samples(node, "counted")).toMatchObject({
    calls_total: 25,
    call_waits_total: waits,
    call_wait_seconds_total: waitedMs / 1_000,
    calls_waiting: 3,
  });
  await until(async () => {
    await ann.release();
    return (await holding.outcomes()).length === 5;
  }, "those who wait are served");
  await proxy.close();
  await until(async () => (await samples(ann, "counted"))["capacity_granted"] === 0, "it is free");
  expect(await samples(ann, "counted")).toMatchObject({
    credits_issued_total: 27,
    credits_used_total: 25,
    credits_revoked_total: 2,
    credits_outstanding: 0,
  });
});

/** A module's samples in a node's `/metrics`, by name without `atlas_module_`. */
async function samples({ url }: Trader, module: string): Promise<Record<string, number>> {
  const { body } = await ask(url, "/metrics");
  const line = new RegExp(`^atlas_module_(\\w+)\\{module="${module}"\\} (\\S+)$`, "gm");
  return Object.fromEntries(
    [...(body as string).matchAll(line)].map(([, name, value]) => [name, Number(value)]),
  );
}

describe("a request over HTTP", () => {
  const failed = (code: string, maybeExecuted: boolean, message: RegExp) => ({
    error: {
      code,
      maybeExecuted,
      message: expect.stringMatching(message),
      retryable: expect.any(Boolean),
    },
  });
  const within = (ms: number) => ({ headers: { "atlas-timeout-ms": String(ms) } });

  test("is one call, by version", async () => {
    const { status, body } = await request("calc/pi?version=%5E1", [4]);
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body).toEqual({ result: "3.1415", node: "ann", version: "1.0.0" });
  });

  test("runs with ninety-nine others two at a time", async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => request("calc/pi", [2])),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(200));
    expect((await ann.count()).most).toBeLessThanOrEqual(2);
  });

  test("is answered with unavailable if there is no seller", async () => {
    const unheard = await request("unheard/pi", [1], within(1_000));
    expect(unheard.status).toBe(503);
    expect(unheard.body).toEqual(failed("unavailable", false, /unheard/));
    const never = await request("calc/pi?version=%5E9", [1], within(1_000));
    expect(never.status).toBe(503);
    expect(never.body).toEqual(failed("unavailable", false, /calc.*>=9\.0\.0|\^9/));
  });

  test("is answered with overloaded if there is no credit in time", async () => {
    const holding = [1, 2].map((n) => request("calc/hold", [n]));
    await held(ann, 2);
    const { status, body } = await request("calc/pi", [1], within(1_000));
    expect(status).toBe(504);
    expect(body).toEqual(failed("timeout", false, /calc/));
    await releaseAll(ann);
    const answers = await Promise.all(holding);
    expect(answers.map(({ body }) => body.result)).toEqual([1, 2]);
  });

  test("is answered with timeout if the call takes too long", async () => {
    // Capacity for the call may have to be bought first.
    const { status, body } = await request("calc/hold", [1], within(3_000));
    expect(status).toBe(504);
    expect(body).toEqual(failed("timeout", true, /calc\.hold/));
    await until(async () => (await ann.count()).running === 0, "it is called off");
  });

  test("is answered with an error if the function throws, is absent, or has a result that can't be encoded", async () => {
    const thrown = await request("calc/fail", ["on purpose"]);
    expect(thrown.status).toBe(500);
    expect(thrown.body).toEqual(failed("app", true, /^on purpose$/));
    const missing = await request("calc/tau", [1]);
    expect(missing.status).toBe(404);
    expect(missing.body).toEqual(failed("not_found", false, /calc.*has no function "tau"/));
    const symbol = await request("calc/unencodable", []);
    expect(symbol.status).toBe(500);
    expect(symbol.body).toEqual(failed("app", true, /^unencodable: the result can't be encoded/));
  });

  test.for(
    [
      ["a body that is not an array", "calc/pi", { digits: 2 }],
      ["an invalid version", "calc/pi?version=newest", [2]],
      ["an invalid name", "%2F/pi", [2]],
    ] as const,
  )("is a bad request with %s", async ([, path, body]) => {
    const answer = await request(path, body);
    expect(answer.status).toBe(400);
    expect(answer.body.error).toMatchObject({ maybeExecuted: false });
  });

  test("is answered as maybe executed if the seller dies during the call", async () => {
    const mortal = await startTrader({
      registry: registry.url,
      lease: "frugal",
      name: "mortal",
      runtime: "node",
    });
    await mortal.publish({ name: "mortal", capacity: 1 });
    const call = request("mortal/hold", [1]);
    await held(mortal, 1);
    await mortal.kill();
    const { status, body } = await call;
    expect(status).toBe(503);
    expect(body).toEqual(failed("unavailable", true, /mortal\.hold on mortal/));
  });

  test("is answered if its listener is closed during the call", async () => {
    const shop = await ann.publish({ name: "brief", capacity: 1 });
    const call = request("brief/hold", [1]);
    await held(ann, 1);
    await shop.close({ drainMs: 50 });
    const { status, body } = await call;
    expect(status).toBe(503);
    expect(body).toEqual(failed("unavailable", true, /closed/));
    await releaseAll(ann);
  });

  test("a purchase is bought, used, shown and ended", async () => {
    const bought = await request("calc", { capacity: 2, version: "1.x", waitFor: "all" });
    expect(bought.status, JSON.stringify(bought.body)).toBe(201);
    const { id } = bought.body;
    expect(bought.body).toMatchObject({ version: "1.0.0", capacity: 2 });
    expect(bought.body.functions).toContain("pi");
    const headers = { "atlas-purchase": id };
    expect((await request("calc/pi", [1], { headers })).body.result).toBe("3.1");
    const path = `/v1/purchases/${encodeURIComponent(id)}`;
    expect((await ask(node.url, path)).status).toBe(200);
    const ended = await ask(node.url, path, { method: "DELETE" });
    expect(ended.status).toBeLessThan(300);
    const gone = await ask(node.url, path);
    expect(gone.status).toBe(404);
    expect(gone.body.error.code).toBe("not_found");
    expect((await request("calc/pi", [1], { headers })).status).toBe(404);
    await until(async () => (await ann.listeners())[0]?.granted === 0, "all is given back");
  });
});
