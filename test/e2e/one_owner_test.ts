/**
 * A thousand keys called through every node at once: each has one owner, one epoch and a sequence
 * without gaps, whichever node was asked.
 */
import { afterEach, describe, expect, test } from "vitest";
import { type Answer, ask, call, history } from "./calls.ts";
import { type Cluster, placeOf, REDIS, type Registry, SQLITE, startCluster } from "./cluster.ts";
import { endAll, type RuntimeName } from "./process.ts";

const NAMES = 1_000;
/** Keys called at the same time, each through all nodes. */
const AT_ONCE = 40;

const CLUSTERS = [
  { title: "three Bun nodes on one SQLite file", kind: SQLITE, runtimes: ["bun", "bun", "bun"] },
  {
    title: "Bun, Deno and Node on one SQLite file",
    kind: SQLITE,
    runtimes: ["bun", "deno", "node"],
  },
  { title: "three Bun nodes on one Redis", kind: REDIS, runtimes: ["bun", "bun", "bun"] },
  { title: "Bun, Deno and Node on one Redis", kind: REDIS, runtimes: ["bun", "deno", "node"] },
] as const;

let registry: Registry | null = null;
afterEach(async () => {
  await endAll();
  await registry?.close();
  registry = null;
});

/** Calls one key through every node at once; gives the answers. */
function callAll({ nodes }: Cluster, id: string): Promise<Answer[]> {
  return Promise.all(
    nodes.map(({ url, line }) => call(url, `channels/${id}`, "send", [line.node, id])),
  );
}

/** The owner and epoch that all answers of one key share, and checks their order. */
function checkAnswers(answers: Answer[]): { rrp: string; epoch: number } {
  expect(answers.filter(({ status }) => status !== 200), "refused").toEqual([]);
  const rrps = new Set(answers.map(({ body }) => body.rrp));
  const epochs = new Set(answers.flatMap(({ body }) => [body.epoch, body.result.epoch]));
  expect([...rrps]).toHaveLength(1);
  expect([...epochs]).toHaveLength(1);
  const seqs = answers.map(({ body }) => body.result.seq).sort((a, b) => a - b);
  expect(seqs).toEqual(answers.map((_, i) => i + 1));
  return { rrp: [...rrps][0], epoch: [...epochs][0] };
}

describe("a thousand keys have one owner each, whichever node is asked,", () => {
  test.for(CLUSTERS)("$title", { timeout: 180_000 }, async ({ kind, runtimes }, { skip }) => {
    if (kind.missing) skip(kind.missing);
    registry = await kind.open();
    const cluster = await startCluster({
      registry: registry.url,
      // A node that stalled for longer than its lease would own nothing, which is correct.
      lease: "frugal",
      runtimes: runtimes as readonly RuntimeName[],
    });
    const ids = Array.from({ length: NAMES }, (_, i) => `name:${i}`);
    const owners = new Map<string, { rrp: string; epoch: number }>();
    const queue = [...ids];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
        owners.set(id, checkAnswers(await callAll(cluster, id)));
      }
    }));

    const places = new Set([...owners.values()].map(({ rrp }) => placeOf(rrp)));
    expect([...places].sort(), "every node owns some").toEqual([0, 1, 2]);

    const queued = [...ids];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let id = queued.pop(); id !== undefined; id = queued.pop()) {
        const { url } = cluster.nodes[queued.length % 3] as { url: string };
        const messages = await history(url, id);
        expect(messages.map(({ seq }) => seq)).toEqual([1, 2, 3]);
        expect(messages.map(({ from }) => from).sort()).toEqual(["n0", "n1", "n2"]);
        const { body } = await ask(url, `/v1/resources/channels/${id}?require=confirmed`);
        expect(body).toMatchObject({ ...owners.get(id), verdict: "confirmed" });
      }
    }));
  });
});
