/**
 * Checks after healing that the cluster has recovered within three takeover times: every node
 * serves every name, the membership shows exactly the running processes, replaced processes have
 * ended, and nodes agree about owners.
 */
import type { Member } from "../src/model/member.ts";
import type { CallRecord } from "../sim/engine/history.ts";
import { LASTING } from "./app.ts";
import type { ChaosCall, Recorder } from "./callers.ts";
import type { ManagedNode, NodeRun } from "./managed_node.ts";
import type { Report } from "./report.ts";
import { type FaultRunner, TAKEOVER_MS } from "./fault_runner.ts";

// One takeover time is for a restarted Redis, which is another lineage, in which claims wait.
const WITHIN_MS = 3 * TAKEOVER_MS;
const AGAIN_MS = 100;
const PROBE_TIMEOUT_MS = 1_000;

/** Checks the cluster after healing. Gives how long it took to recover, in ms. */
export async function checkHealing(
  runner: FaultRunner,
  recorder: Recorder,
  keys: readonly string[],
  report: Report,
): Promise<number> {
  const began = performance.now();
  const { nodes } = runner;
  const formers = nodes.flatMap(({ former }) => [...former]);
  const isDue = (): boolean => performance.now() - began > WITHIN_MS;
  const expect = async (what: () => string | Promise<string>): Promise<void> => {
    for (;;) {
      const trouble = await what();
      if (trouble === "") return;
      if (isDue()) return report("healing", `${WITHIN_MS.toFixed(0)} ms after healing ${trouble}`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  };
  const ask = (node: ManagedNode, question: (run: NodeRun) => Promise<string>) =>
    expect(() => {
      const { current, state, name } = node;
      return current && state === "up" ? question(current) : `${name} is ${state}`;
    });
  const living = (): NodeRun[] => nodes.flatMap(({ current }) => current ?? []);
  await Promise.all([
    ...nodes.map((node) => ask(node, (run) => membershipError(run, living()))),
    ...nodes.flatMap((node) => keys.map((key) => ask(node, (run) => probe(recorder, run, key)))),
    ...formers.map((former) => expect(() => formerProcessError(former, runner))),
  ]);
  const lasting = keys.filter((key) => key.startsWith(`${LASTING}/`));
  await Promise.all(lasting.map((key) => expect(() => quarrel(recorder, living(), key))));
  return performance.now() - began;
}

/**
 * The difference between this process's membership and the running processes; empty if there is
 * none.
 */
async function membershipError(run: NodeRun, all: readonly NodeRun[]): Promise<string> {
  try {
    const response = await fetch(`${run.url}/v1/nodes`, {
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    const { nodes = [] } = await response.json() as { nodes?: Member[] };
    const living = nodes.filter(({ state }) => state === "live" || state === "superseded");
    const shown = living.map(({ node, address, state }) => `${node} ${portOf(address)} ${state}`);
    const wanted = all.map(({ id, url }) => `${id.split("#")[0]} ${portOf(url)} live`);
    if (shown.sort().join() === wanted.sort().join()) return "";
    return `${run.id} shows the members ${shown.join(", ")}, not ${wanted.join(", ")}`;
  } catch (error) {
    return `${run.id} does not show its members: ${error}`;
  }
}

function portOf(url: string): string {
  return new URL(url).port;
}

/** Appends once; gives the error, or an empty text. */
async function probe(recorder: Recorder, run: NodeRun, key: string): Promise<string> {
  const { id, outcome, code } = await recorder.call(
    run,
    probeOf(recorder, run, key, "append"),
  );
  return outcome === "ok" ? "" : `${run.id} does not serve ${key}: call ${id}, ${code}`;
}

function probeOf(
  recorder: Recorder,
  run: NodeRun,
  key: string,
  what: CallRecord["what"],
): ChaosCall {
  return {
    what,
    key,
    value: recorder.value(),
    idempotencyKey: null,
    caller: `probe ${run.id}`,
    timeoutMs: PROBE_TIMEOUT_MS,
    isConfirmed: true,
  };
}

/** Whether confirmed lookups of a key by several nodes differ. */
async function quarrel(
  recorder: Recorder,
  runs: readonly NodeRun[],
  key: string,
): Promise<string> {
  const records = await Promise.all(
    runs.map((run) => recorder.call(run, probeOf(recorder, run, key, "lookup"))),
  );
  const said = records.map(({ id, verdict, rrp, epoch, code }) =>
    `(call ${id}) ${verdict ?? code} ${rrp} ${epoch}`
  );
  const views = new Set(said.map((it) => it.replace(/^\(.*?\) /, "")));
  const isConfirmed = records.every(({ verdict }) => verdict === "confirmed");
  return views.size === 1 && isConfirmed
    ? ""
    : `the nodes don't agree on ${key}: ${said.join(", ")}`;
}

function formerProcessError(former: NodeRun, runner: FaultRunner): string {
  const isThere = runner.nodes.some((node) => node.former.has(former));
  return isThere ? `${former.id} still runs, though ${former.id.split("#")[0]} was taken` : "";
}
