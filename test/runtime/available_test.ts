/**
 * Types with `partition: "available"` on a real Redis, on the runtime that runs this: one node
 * loses its connection to Redis, while other nodes, and its links to them, keep theirs.
 */
import { afterEach, expect, test } from "vitest";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import { defineApp } from "../../mod.ts";
import { type DelayProxy, Route, startDelayProxy } from "../support/delay_proxy.ts";
import { Notes } from "../support/notes_sample.ts";
import { redisMissing, startRedis, type TestRedis } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const TEST_MS = 90_000;
const SECRET = "s".repeat(32);
const app = defineApp({
  resources: { notes: { class: Notes, partition: "available" }, fenced: Notes },
});

let redis: TestRedis | null = null;
let proxy: DelayProxy | null = null;
const served: ServedNode<typeof app>[] = [];
const lines: string[] = [];
afterEach(async () => {
  for (const node of served.splice(0)) await node.close({ drainMs: 0 });
  await proxy?.close();
  await redis?.close();
  redis = proxy = null;
  lines.length = 0;
});

async function open(node: string, port: number): Promise<ServedNode<typeof app>> {
  const opened = await serve(app, {
    registry: `redis://127.0.0.1:${port}`,
    region: "local",
    node,
    port: 0,
    secret: SECRET,
    lease: "fast",
    onEvent: ({ event }) => void lines.push(`${node}: ${event}`),
  });
  served.push(opened);
  return opened;
}

interface Added {
  readonly status: number;
  readonly verdict: string | null;
  readonly rrp: string;
}

async function add(
  { url }: ServedNode<typeof app>,
  key: string,
  line: string,
  idempotencyKey?: string,
): Promise<Added> {
  const answer = await fetch(`${url}/v1/resources/${key}/add`, {
    method: "POST",
    body: JSON.stringify([line]),
    headers: idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey },
    signal: AbortSignal.timeout(15_000),
  });
  const { rrp } = await answer.json();
  return { status: answer.status, verdict: answer.headers.get("atlas-verdict"), rrp };
}

async function isDead(by: ServedNode<typeof app>, name: string): Promise<boolean> {
  return (await by.members()).some(({ node, state }) => node === name && state === "dead");
}

test("calls live owners, and commits its kept turns while it drains", {
  timeout: TEST_MS,
  ...unless(redisMissing),
}, async () => {
  redis = await startRedis();
  const route = new Route(0);
  proxy = await startDelayProxy({ target: redis.port, route: () => route });
  const [a, b] = [await open("a", proxy.port), await open("b", redis.port)];
  for (const node of [b, a]) {
    for (const type of ["notes", "fenced"]) await add(node, `${type}/theirs`, "before");
  }
  await add(a, "notes/mine", "before", "k1");
  route.state = "closed";
  await until(() => a.state === "fenced", "its lease has lapsed");
  await until(() => isDead(b, "a"), "it is dead by the registry's word");
  // Over the link that stayed open, or a new one if that is gone.
  for (const type of ["notes", "fenced"]) {
    expect(await add(a, `${type}/theirs`, "meanwhile")).toEqual({
      status: 200,
      verdict: null,
      rrp: `rrp:local/b/${type}/theirs`,
    });
  }
  expect(await add(a, "notes/mine", "meanwhile", "k2")).toMatchObject({
    status: 200,
    verdict: "suspect",
  });
  const closed = a.close({ drainMs: 30_000 });
  await until(() => a.state === "draining", "it drains");
  route.state = "open";
  await closed;
  expect(lines).toEqual(expect.arrayContaining(["a: reconciled", "a: left"]));
  expect(lines).not.toContain("a: offline turns lost");
  const { result } = await b.call("notes", "mine", "all", []);
  expect(result).toEqual(["before", "meanwhile"]);
  expect((await add(b, "notes/mine", "other", "k2")).status).toBe(400);
});
