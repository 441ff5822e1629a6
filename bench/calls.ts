/**
 * Benches: an echo call to a named resource in another process, and to a module there.
 *
 * Two served nodes in two Bun processes share a SQLite file; one owns the names or offers the
 * module, the other calls. Peers, measured alternately: Moleculer's TCP transporter between two Bun
 * processes with 512 calls in flight, and the round trip of 100 bytes over a bare batched
 * WebSocket.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../test/support/ports.ts";
import { type Bench, type BenchOptions, byTurns, type Figure, figure } from "./kit.ts";
import { startBunWorker, type Worker } from "./worker.ts";

const IN_FLIGHT = 512;
/** The number of names; calls use them in turn. */
const IDS: string[] = Array.from({ length: 64 }, (_, i) => `wall_${i}`);

/** Remote calls of resources. */
export const runCalls: Bench = (options) =>
  compare(options, { bench: "calls", what: "remote call" }, async (owner) => {
    await owner.ask({ do: "own", ids: IDS });
  });

/** Remote calls of a module, each of which spends a credit. */
export const runModules: Bench = (options) =>
  compare(options, { bench: "modules", what: "module call" }, async (owner, caller) => {
    await owner.ask({ do: "publish", capacity: IN_FLIGHT });
    await caller.ask({ do: "discover", capacity: IN_FLIGHT });
  });

interface Subject {
  readonly bench: string;
  readonly what: string;
}

async function compare(
  options: BenchOptions,
  subject: Subject,
  prepare: (owner: Worker, caller: Worker) => Promise<void>,
): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-"));
  const workers: Worker[] = [];
  const start = async (script: string, ...args: string[]) => {
    const worker = await startBunWorker(script, ...args);
    workers.push(worker);
    return worker;
  };
  try {
    const registry = `file:${join(folder, "registry.db")}`;
    const owner = await start("atlas_node.ts", "owner", registry);
    const caller = await start("atlas_node.ts", "caller", registry);
    await prepare(owner, caller);
    const [port, otherPort] = [String(await freePort()), String(await freePort())];
    await start("peers/moleculer.ts", "server", port, otherPort);
    const moleculer = await start("peers/moleculer.ts", "client", otherPort, port);
    const server = await start("peers/raw_websocket.ts", "server");
    const socket = await start("peers/raw_websocket.ts", "client", String(server.ready["port"]));
    return [
      await many(subject, caller, moleculer, options),
      await single(subject, caller, socket, options),
    ];
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function many(
  { bench, what }: Subject,
  caller: Worker,
  moleculer: Worker,
  { quick, log }: BenchOptions,
): Promise<Figure> {
  const load = { do: "throughput", inFlight: IN_FLIGHT, ids: IDS };
  await caller.ask({ ...load, seconds: 0.5 });
  await moleculer.ask({ ...load, seconds: 0.5 });
  const seconds = quick ? 1 : 4;
  log(`${what}s, ${IN_FLIGHT} in flight`);
  const { ours, theirs } = await byTurns(
    quick ? 3 : 5,
    () => caller.ask<number>({ ...load, seconds }),
    () => moleculer.ask<number>({ ...load, seconds }),
  );
  return figure(
    {
      bench,
      metric: `${what}s, ${IN_FLIGHT} in flight`,
      unit: "calls/s",
      peer: "Moleculer 0.15 over TCP",
    },
    ours,
    theirs,
  );
}

async function single(
  { bench, what }: Subject,
  caller: Worker,
  socket: Worker,
  { quick, log }: BenchOptions,
): Promise<Figure> {
  const load = { do: "latency", count: quick ? 5_000 : 20_000, ids: IDS.slice(0, 1) };
  await caller.ask(load);
  await socket.ask(load);
  log(`${what}s, one at a time`);
  const { ours, theirs } = await byTurns(
    quick ? 3 : 5,
    () => caller.ask<number>(load),
    () => socket.ask<number>(load),
  );
  return figure(
    {
      bench,
      metric: `${what}, one at a time, p50`,
      unit: "µs",
      peer: "bare batched WebSocket round trip",
    },
    ours,
    theirs,
  );
}
