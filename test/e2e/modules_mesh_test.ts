/**
 * Authorities, exchanges and brokers in separate processes: a mesh forms from any one address,
 * workers have links to each other only as seller and buyer, and orders survive authorities.
 *
 * Leases are long, so that a dead peer is detected by a closed link, not by the end of its lease.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Registry, SQLITE } from "./cluster.ts";
import { PATIENCE_MS, startTrader, tally, type Trader, UNTIL_FINISHED } from "./market_traders.ts";
import { endAll, type RuntimeName } from "./process.ts";
import { until } from "../support/until.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

let registry: Registry;
let folder: string;
/** Three authorities, and three workers. */
let authorities: Trader[];
let workers: Trader[];

function start(
  name: string,
  runtime: RuntimeName,
  role: "authority" | "worker",
  bootstrap: Record<string, string>,
): Promise<Trader> {
  const env = { ATLAS_ROLE: role, ...bootstrap };
  return startTrader({ registry: registry.url, lease: "frugal", name, runtime, env });
}

/** A custom function that finds the nodes whose URLs are in a file. */
function byFunction(name: string, ...urls: string[]): Record<string, string> {
  const path = join(folder, name);
  writeFileSync(path, urls.join("\n"));
  return { BOOTSTRAP_FILE: path };
}

beforeAll(async () => {
  registry = await SQLITE.open();
  folder = mkdtempSync(join(tmpdir(), "atlas-e2e-"));
  const first = await start("a1", "bun", "authority", byFunction("nobody"));
  const { port } = new URL(first.url);
  // Each of the others knows only the first.
  const [second, third] = await Promise.all([
    start("a2", "deno", "authority", { ATLAS_BOOTSTRAP: `static:${first.url}` }),
    start("a3", "node", "authority", { ATLAS_BOOTSTRAP: `dns:localhost:${port}` }),
  ]);
  authorities = [first, second, third];
  workers = await Promise.all([
    start("w1", "bun", "worker", { ATLAS_BOOTSTRAP: `static:${third.url}` }),
    start("w2", "deno", "worker", byFunction("second", second.url)),
    start("w3", "node", "worker", { ATLAS_BOOTSTRAP: "registry" }),
  ]);
});
afterAll(async () => {
  await endAll();
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Waits until all nodes see a full mesh of these authorities, which know this many brokers. */
async function meshed(all: readonly Trader[], mesh: readonly Trader[], brokers: number) {
  const expected = mesh.map(({ line }) => `${line.node}: ${mesh.length - 1}, ${brokers}`).sort();
  for (const trader of all) {
    await until(
      async () => {
        const views = await trader.authorities();
        const seen = views.map((view) => `${view.node}: ${view.authorities}, ${view.brokers}`);
        return String(seen.sort()) === String(expected);
      },
      `${trader.line.node} sees ${expected.join("; ")}`,
      PATIENCE_MS,
    );
  }
}

/** One side of each order book of a module: `<node>: <quantity>`, sorted. */
async function books(asker: Trader, side: "buy" | "sell", name?: string): Promise<string[]> {
  const views = await asker.exchange(name);
  return views.map(({ orders }) =>
    orders.filter((order) => order.side === side && order.quantity > 0)
      .map(({ node, quantity }) => `${node}: ${quantity}`).sort().join(", ")
  );
}

/**
 * Waits until there are two exchanges of the module, and both order books have these orders on one
 * side.
 */
async function bothSay(asker: Trader, side: "buy" | "sell", text: string, name?: string) {
  let seen: string[] = [];
  await until(async () => {
    seen = await books(asker, side, name);
    return seen.length === 2 && seen.every((book) => book === text);
  }, `both books say ${side} ${text}`).catch((error: Error) => {
    throw new Error(`${error.message}; they say ${JSON.stringify(seen)}`);
  });
}

async function links(): Promise<number[]> {
  return await Promise.all(workers.map(async (worker) => (await worker.stats()).links));
}

test("a full mesh forms from any one address: a list, DNS, the registry, a function", async () => {
  await meshed([...authorities, ...workers], authorities, 6);
});

test("workers have links to authorities only, until a channel joins two of them", async () => {
  const [seller, buyer] = workers as [Trader, Trader];
  await until(async () => String(await links()) === "3,3,3", "links to the three authorities");
  await seller.publish({ name: "joined", capacity: 2 });
  const proxy = await buyer.discover({ name: "joined", capacity: 2, waitFor: "all" });
  expect(tally(await proxy.many("pi", { args: [4], times: 50 }), ({ node }) => node)).toEqual({
    w1: 50,
  });
  await until(async () => String(await links()) === "4,4,3", "one link more, of those two");
  await proxy.close();
});

test("orders, also several of one trader, stay in the book until they are filled, in parts, or cancelled", async () => {
  const [seller, buyer, other] = workers as [Trader, Trader, Trader];
  const shops = [
    await seller.publish({ name: "parts", capacity: 1 }),
    await seller.publish({ name: "parts", capacity: 2 }),
  ];
  const big = await buyer.discover({ name: "parts", capacity: 6 });
  await big.granted(3);
  await bothSay(other, "buy", "w2: 3", "parts");
  await bothSay(other, "sell", "", "parts");
  const sold = await other.publish({ name: "parts", capacity: 2 });
  await big.granted(5);
  await bothSay(buyer, "buy", "w2: 1", "parts");
  // The second order of the same trader is in the book beside the first.
  const small = buyer.discover({ name: "parts", capacity: 2, waitFor: "all" });
  await bothSay(buyer, "buy", "w2: 1, w2: 2", "parts");
  await sold.close();
  await big.granted(3);
  await bothSay(buyer, "buy", "w2: 2, w2: 3", "parts");
  await big.close();
  const second = await small;
  await bothSay(buyer, "buy", "", "parts");
  await bothSay(buyer, "sell", "w1: 1", "parts");
  await second.close();
  for (const shop of shops) await shop.close();
  // If there are no orders, there is no exchange.
  await until(async () => (await seller.exchange("parts")).length === 0, "the books are closed");
});

test("orders of a lost broker vanish from all books", async () => {
  const [seller, buyer] = workers as [Trader, Trader];
  const lost = await start("lost", "bun", "worker", { ATLAS_BOOTSTRAP: "registry" });
  await lost.publish({ name: "vanish", capacity: 5 });
  await seller.publish({ name: "vanish", capacity: 1 });
  const wants = lost.discover({ name: "vanish", version: "^9" });
  wants.catch(() => {});
  await bothSay(buyer, "sell", "lost: 5, w1: 1", "vanish");
  await bothSay(buyer, "buy", "lost: 1", "vanish");
  await lost.kill();
  await bothSay(buyer, "sell", "w1: 1", "vanish");
  await bothSay(buyer, "buy", "", "vanish");
  await meshed([buyer], authorities, 6);
});

test("no order is lost when an authority is killed and another started", async () => {
  const [seller, buyer, other] = workers as [Trader, Trader, Trader];
  await seller.publish({ name: "kept", capacity: 2 });
  const proxy = await buyer.discover({ name: "kept", capacity: 5 });
  await proxy.granted(2);
  await bothSay(other, "buy", "w2: 3", "kept");
  const load = await proxy.begin("slow", { args: [5], times: UNTIL_FINISHED, callers: 4 });
  // The authority that dies is one of the two that keep the order's books.
  const [book] = await other.exchange("kept");
  const victim = authorities.find(({ line }) => line.node === book?.node) as Trader;
  const rest = authorities.filter((authority) => authority !== victim);
  await victim.kill();
  await meshed([...rest, ...workers], rest, 5);
  const next = await start("a4", "node", "authority", {
    ATLAS_BOOTSTRAP: `static:${(rest[0] as Trader).url}`,
  });
  authorities = [...rest, next];
  await meshed([...authorities, ...workers], authorities, 6);
  const outcomes = await load.finish();
  expect(tally(outcomes), "calls go on meanwhile").toEqual({ ok: outcomes.length });
  await bothSay(next, "buy", "w2: 3", "kept");
  await other.publish({ name: "kept", capacity: 3 });
  await proxy.granted(5);
  await bothSay(next, "buy", "", "kept");
  await proxy.close();
});
