/**
 * The owner is frozen past its lease with calls in flight, and resumes: another node has taken
 * over meanwhile. The former owner commits nothing, answers none of its calls, and comes back as a
 * new incarnation.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { type Answer, ask, call, result } from "./calls.ts";
import { type Cluster, placeOf, REDIS, type Registry, SQLITE, startCluster } from "./cluster.ts";
import { freeze } from "./freeze.ts";
import { checkHistory, type Receipt, startLoad } from "./load.ts";
import { endAll, type NodeProcess } from "./process.ts";
import { until } from "../support/until.ts";

const APP = fileURLToPath(new URL("./apps/notes.ts", import.meta.url));
const CALLERS = 20;
/** The number of requests that wait in the frozen process's socket. */
const WAITING = 5;
/** The time limit of calls whose owner may be frozen, in ms: longer than the freeze. */
const PATIENT = { timeoutMs: 60_000, patienceMs: 90_000 };

const folder = mkdtempSync(join(tmpdir(), "atlas-e2e-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let registry: Registry | null = null;
afterEach(async () => {
  await endAll();
  await registry?.close();
  registry = null;
});

/** A waiting request that was answered is checked against the history like any other. */
function receiptsOf(answers: readonly Answer[]): Receipt[] {
  return answers.flatMap(({ status, body }, i) =>
    status === 200
      ? [{
        text: `waiting ${i}`,
        ...body.result as { seq: number; epoch: number },
        began: 0,
        ended: 0,
      }]
      : []
  );
}

/** Sends a message over a new connection, because a resumed process closes idle ones. */
function sendApart(url: string, message: string): Promise<Answer> {
  const headers = { "atlas-timeout-ms": String(PATIENT.timeoutMs) };
  const how = { method: "POST", agent: false, headers };
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/v1/resources/channels/room/send`, how, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
    });
    sent.on("error", reject);
    sent.end(JSON.stringify(["w", message]));
  });
}

async function freezeAndThaw(cluster: Cluster, place: number, registryUrl: string): Promise<void> {
  const victim = cluster.nodes[place] as NodeProcess;
  const others = cluster.nodes.filter((node) => node !== victim);
  const survivor = others[0] as NodeProcess;
  const old = await result<{ epoch: number }>(victim.url, "channels/room", "whereami");
  await result(victim.url, "notes/pad", "write", ["early", folder]);

  const load = startLoad({
    channel: "room",
    callers: CALLERS,
    urls: () => others.map(({ url }) => url),
  });
  await until(() => load.receipts.length >= 100, "calls before the freeze");
  // It is frozen during this turn, and would write as soon as it resumes.
  const gate = join(folder, crypto.randomUUID());
  const late = call(victim.url, "notes/pad", "write", ["late", gate], PATIENT);
  await until(() => victim.output.stderr.includes("begun late"), "the slow call");
  await freeze(victim, registryUrl);
  writeFileSync(gate, "");
  const waiting = Array.from(
    { length: WAITING },
    (_, i) => sendApart(victim.url, `waiting ${i}`),
  );

  const taken = () => load.receipts.filter(({ epoch }) => epoch > old.epoch).length;
  await until(() => taken() >= 100, "the takeover", 40_000);
  // The call has a key, because it may be on its way to the frozen owner when that is declared
  // dead.
  expect(await result(survivor.url, "notes/pad", "read", [], { key: "r" })).toEqual(["early"]);
  victim.signal("SIGCONT");

  // The old owner began this turn and can't know its outcome: the error says so, and no answer is
  // kept.
  expect(await late).toMatchObject({
    status: 503,
    body: { error: { code: "unavailable", maybeExecuted: true } },
  });
  // Requests that waited unread are forwarded to the new owner, or refused; the former owner answers none.
  const answers = await Promise.all(waiting);
  for (const { status, body } of answers) {
    if (status === 200) expect(body.epoch).toBeGreaterThan(old.epoch);
    else expect(body.error).toMatchObject({ retryable: true, maybeExecuted: false });
  }
  await load.finish();
  expect(await result(survivor.url, "notes/pad", "read")).toEqual(["early"]);

  await until(async () => (await ask(victim.url, "/readyz")).status === 200, "it is back");
  const { body: { self, nodes } } = await ask(victim.url, "/v1/nodes");
  expect(self).not.toBe(victim.line.incarnation);
  const stateOf = (incarnation: string) =>
    nodes.find((member: { incarnation: string }) => member.incarnation === incarnation)?.state;
  expect(stateOf(self)).toBe("live");
  expect(stateOf(victim.line.incarnation)).toMatch(/^(?:dead|left)$/);
  const { body: owned } = await call(victim.url, "channels/another", "whereami");
  expect(placeOf(owned.rrp), "it owns again").toBe(place);
  await checkHistory(survivor.url, "room", [...load.receipts, ...receiptsOf(answers)]);
  expect(new Set(load.receipts.map(({ epoch }) => epoch)).size).toBe(2);
}

describe("SIGSTOP of the owner past its lease, then SIGCONT", () => {
  const kinds = [REDIS, SQLITE].flatMap((kind) =>
    ["bun", "deno", "node"].map((runtime, place) => ({ kind, runtime, place }))
  );
  test.for(kinds)(
    "$runtime on $kind.name: the former owner commits nothing, and the next owner serves",
    { timeout: 120_000 },
    async (it, { skip }) => {
      if (it.kind.missing) skip(it.kind.missing);
      registry = await it.kind.open();
      const cluster = await startCluster({
        registry: registry.url,
        runtimes: ["bun", "deno", "node"],
        env: { ATLAS_APP: APP },
      });
      await freezeAndThaw(cluster, it.place, registry.url);
    },
  );
});
