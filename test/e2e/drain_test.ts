/**
 * Draining under load: the node hands its resources over and stops, and no acknowledged call is
 * lost.
 *
 * The lease is `frugal` (30 s), so that a test that had to wait for its end would fail.
 */
import { afterEach, describe, expect, test } from "vitest";
import { ask, result } from "./calls.ts";
import {
  type Cluster,
  liveOf,
  REDIS,
  type Registry,
  type RegistryKind,
  SQLITE,
  startCluster,
} from "./cluster.ts";
import { checkHistory, type Load, startLoad } from "./load.ts";
import { endAll, type NodeProcess, runScript } from "./process.ts";
import { until } from "../support/until.ts";

/** No node may take over before the lease of 30 s has ended. */
const WELL_BEFORE_LEASE_MS = 15_000;
const CALLERS = 25;

let registry: Registry | null = null;
afterEach(async () => {
  await endAll();
  await registry?.close();
  registry = null;
});

async function open(kind: RegistryKind): Promise<Cluster> {
  registry = await kind.open();
  return await startCluster({
    registry: registry.url,
    lease: "frugal",
    runtimes: ["bun", "deno", "node"],
  });
}

/** Callers with and without keys on two channels that one node owns. */
async function loadOf({ nodes }: Cluster, victim: NodeProcess): Promise<[Load, Load]> {
  for (const channel of ["keyed", "plain"]) {
    const at = await result<{ node: string }>(victim.url, `channels/${channel}`, "whereami");
    expect(at.node).toBe(victim.line.node);
  }
  const urls = () => nodes.map(({ url }) => url);
  const loads: [Load, Load] = [
    startLoad({ channel: "keyed", callers: CALLERS, urls }),
    startLoad({ channel: "plain", callers: CALLERS, keyed: false, urls }),
  ];
  await until(
    () => loads.every(({ receipts }) => receipts.length >= 100),
    "calls before the drain",
    40_000,
  );
  return loads;
}

/** Both channels are served by another node; gives when that began, monotonic ms. */
async function servedElsewhere(loads: readonly Load[]): Promise<number> {
  const first = (load: Load) => {
    const { epoch } = load.receipts[0] as { epoch: number };
    return load.receipts.find((receipt) => receipt.epoch > epoch)?.ended;
  };
  await until(() => loads.every((load) => first(load) !== undefined), "the handover", 40_000);
  return Math.max(...loads.map((load) => first(load) as number));
}

/** No acknowledged message was lost, and refused calls are safe to repeat. */
async function settle(survivor: NodeProcess, [keyed, plain]: [Load, Load]): Promise<void> {
  await Promise.all([keyed.finish(), plain.finish()]);
  const unsafe = [...keyed.refusals, ...plain.refusals].filter(({ body }) =>
    body.error?.retryable !== true || body.error.maybeExecuted !== false
  );
  expect(unsafe.map((refusal) => JSON.stringify(refusal))).toEqual([]);
  await checkHistory(survivor.url, "keyed", keyed.receipts);
  await checkHistory(survivor.url, "plain", plain.receipts, false);
}

describe("a drain under load", () => {
  const signalled = [SQLITE, REDIS].flatMap((kind) =>
    [0, 1, 2].map((place) => ({ kind, place, runtime: ["bun", "deno", "node"][place] }))
  );
  test.for(signalled)(
    "by SIGTERM of $runtime on $kind.name hands over at once, and exits with 0",
    { timeout: 120_000 },
    async ({ kind, place }, { skip }) => {
      if (kind.missing) skip(kind.missing);
      const cluster = await open(kind);
      const victim = cluster.nodes[place] as NodeProcess;
      const survivor = cluster.nodes[(place + 1) % 3] as NodeProcess;
      const loads = await loadOf(cluster, victim);
      const began = performance.now();
      victim.signal("SIGTERM");
      const served = await servedElsewhere(loads);
      expect(served - began).toBeLessThan(WELL_BEFORE_LEASE_MS);
      expect(await victim.ended).toBe(0);
      const { body } = await ask(survivor.url, "/v1/nodes");
      expect(liveOf(body.nodes)).toHaveLength(2);
      await settle(survivor, loads);
    },
  );

  const asked = [
    {
      how: "POST /v1/drain",
      drain: async ({ url }: NodeProcess) => {
        const { status } = await ask(url, "/v1/drain", { method: "POST" });
        expect(status).toBe(202);
      },
    },
    {
      how: "atlas drain",
      drain: async ({ line }: NodeProcess, through: NodeProcess) => {
        const env = { ATLAS_URL: through.url };
        const words = ["drain", `${line.region}/${line.node}`];
        expect(await runScript("bun", "cli.ts", env, words).ended).toBe(0);
      },
    },
  ];
  const title = "$how: the node hands over, and goes on forwarding";
  test.for(asked)(title, { timeout: 120_000 }, async ({ drain }) => {
    const cluster = await open(SQLITE);
    const [victim, survivor] = cluster.nodes as [NodeProcess, NodeProcess];
    const loads = await loadOf(cluster, victim);
    const began = performance.now();
    await drain(victim, survivor);
    const served = await servedElsewhere(loads);
    expect(served - began).toBeLessThan(WELL_BEFORE_LEASE_MS);
    await settle(survivor, loads);

    expect((await ask(victim.url, "/readyz")).status).toBe(503);
    expect((await ask(victim.url, "/healthz")).status).toBe(200);
    const { node } = await result<{ node: string }>(victim.url, "channels/keyed", "whereami");
    expect(node).not.toBe(victim.line.node);
    victim.signal("SIGTERM");
    expect(await victim.ended).toBe(0);
  });
});
