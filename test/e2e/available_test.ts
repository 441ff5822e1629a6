/**
 * `partition: "available"` in real processes on a real Redis: Redis is killed and restarted, or one
 * node alone loses its connection to it and another takes over.
 */
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { type DelayProxy, Route, startDelayProxy } from "../support/delay_proxy.ts";
import { redisMissing, startRedis, type TestRedis } from "../support/redis.ts";
import { result } from "./calls.ts";
import { endAll, type NodeProcess, type RuntimeName, startNode } from "./process.ts";
import { until } from "../support/until.ts";

/** The time limit for the end of a lease, a claim and a merge on a busy machine, in ms. */
const PATIENCE_MS = 40_000;
const APP = fileURLToPath(new URL("apps/baskets.ts", import.meta.url));

let redis: TestRedis | null = null;
let proxy: DelayProxy | null = null;
afterEach(async () => {
  await endAll();
  await proxy?.close();
  await redis?.close();
  redis = proxy = null;
});

function start(runtime: RuntimeName, name: string, port: number): Promise<NodeProcess> {
  return startNode({
    runtime,
    env: {
      ATLAS_APP: APP,
      ATLAS_NODE: name,
      ATLAS_REGISTRY_URL: `redis://127.0.0.1:${port}`,
      ATLAS_LEASE: "fast",
    },
  });
}

interface Added {
  readonly status: number;
  readonly verdict: string | null;
  readonly rrp: string;
  readonly items: string[];
}

async function add(url: string, basket: string, item: string): Promise<Added> {
  const response = await fetch(`${url}/v1/resources/baskets/${basket}/add`, {
    method: "POST",
    body: JSON.stringify([item]),
    headers: { "atlas-timeout-ms": "4000" },
    signal: AbortSignal.timeout(15_000),
  });
  const body = await response.json();
  const verdict = response.headers.get("atlas-verdict");
  return { status: response.status, verdict, rrp: body.rrp, items: body.result ?? [] };
}

/** Adds items one by one until an answer has the wanted mark; gives the added items. */
async function addUntil(
  url: string,
  basket: string,
  prefix: string,
  isEnough: (added: Added) => boolean,
): Promise<string[]> {
  const acknowledged: string[] = [];
  let n = 0;
  await until(
    async () => {
      const item = `${prefix}${n++}`;
      const added = await add(url, basket, item);
      if (added.status === 200) acknowledged.push(item);
      return added.status === 200 && isEnough(added);
    },
    `an answer of ${basket} as wanted`,
    PATIENCE_MS,
  );
  return acknowledged;
}

const isMarked = ({ verdict }: Added): boolean => verdict === "suspect";
const isPlain = ({ verdict }: Added): boolean => verdict === null;

describe("types with partition `available` on Redis", () => {
  test.for<RuntimeName>(["bun", "node"])(
    "on %s: if Redis is killed and restarted, nothing acknowledged is lost, and all kept turns are committed",
    { timeout: 120_000 },
    async (runtime, { skip }) => {
      if (redisMissing) skip(redisMissing);
      redis = await startRedis({ durable: true });
      const { url } = await start(runtime, "a", redis.port);
      const before = await add(url, "x", "before");
      expect(before).toMatchObject({ status: 200, verdict: null });
      await redis.kill();
      const during = await addUntil(url, "x", "during", isMarked);
      const more = (await add(url, "x", "more")).items;
      expect(more).toEqual(expect.arrayContaining(["before", ...during, "more"]));
      await redis.restart();
      const after = await addUntil(url, "x", "after", isPlain);
      const all = await result<string[]>(url, "baskets/x", "all");
      expect(all).toEqual(expect.arrayContaining([...more, ...after]));
    },
  );

  test(
    "if one node is cut off and another takes over, both serve, and their writes are reconciled",
    {
      timeout: 120_000,
    },
    async ({ skip }) => {
      if (redisMissing) skip(redisMissing);
      redis = await startRedis({ durable: true });
      const route = new Route(0);
      proxy = await startDelayProxy({ target: redis.port, route: () => route });
      const [a, b] = await Promise.all([
        start("bun", "a", proxy.port),
        start("node", "b", redis.port),
      ]);
      const first = await add(a.url, "x", "first");
      expect(first.rrp).toBe("rrp:local/a/baskets/x");
      route.state = "closed";
      const mine = await addUntil(a.url, "x", "a", isMarked);
      const theirs = await addUntil(b.url, "x", "b", ({ rrp }) => rrp === "rrp:local/b/baskets/x");
      const split = await add(a.url, "x", "split");
      expect(split).toMatchObject({ status: 200, verdict: "suspect", rrp: first.rrp });
      route.state = "open";
      const wanted = ["first", ...mine, ...theirs, "split"];
      await until(
        async () => {
          const all = await result<string[]>(b.url, "baskets/x", "all");
          return wanted.every((item) => all.includes(item));
        },
        "both are merged",
        PATIENCE_MS,
      );
      const conflicts = () => a.output.stderr.match(/^conflict .*$/gm) ?? [];
      await until(() => conflicts().length > 0, "the loser's log");
      expect(conflicts()).toEqual(["conflict baskets/x with rrp:local/b/baskets/x"]);
      expect(b.output.stderr).not.toContain("conflict baskets/x");
      await until(() => b.output.stderr.includes("conflict won"), "the winner's log");
      const answers = await Promise.all([a, b].map(({ url }) => add(url, "x", "last")));
      for (const answer of answers) {
        expect(answer).toMatchObject({ verdict: null, rrp: "rrp:local/b/baskets/x" });
      }
    },
  );
});
