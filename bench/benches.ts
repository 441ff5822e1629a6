/**
 * The benches by name, the runtimes that each one runs on, and running one of them. Progress and
 * skipped benches with the reason go to standard error.
 */
import { type RuntimeCommand, RUNTIMES, versionOf } from "../scripts/runtimes.ts";
import { type Bench, type BenchOptions, type Figure, PeerMissing } from "./kit.ts";

interface Entry {
  readonly about: string;
  readonly runtimes: readonly RuntimeCommand["name"][];
  readonly load: () => Promise<Bench>;
  /** It measures sizes, which don't depend on what else runs. */
  readonly isUntimed?: true;
}

const ALL = ["bun", "node", "deno"] as const;

export const BENCHES: Record<string, Entry> = {
  http: {
    about: "calls over HTTP, against a bare Hono route on the same server",
    runtimes: ALL,
    load: async () => (await import("./http.ts")).runHttp,
  },
  calls: {
    about: "remote calls, against Moleculer, NATS and a bare WebSocket",
    runtimes: ALL,
    load: async () => (await import("./calls.ts")).runCalls,
  },
  modules: {
    about: "remote calls of a module, against those of a resource",
    runtimes: ALL,
    load: async () => (await import("./calls.ts")).runModules,
  },
  local: {
    about: "local calls, cached lookups, picks of a channel",
    runtimes: ALL,
    load: async () => (await import("./local.ts")).runLocal,
  },
  writes: {
    about: "remote calls that write, against two processes with the same script or statements",
    runtimes: ALL,
    load: async () => (await import("./writes.ts")).runWrites,
  },
  claims: {
    about: "claims of new names on Redis, against redis-benchmark with the same script",
    runtimes: ALL,
    load: async () => (await import("./claims.ts")).runClaims,
  },
  upstash: {
    about: "claims of new names on an HTTP Redis, against @upstash/redis with the same script",
    runtimes: ["bun"],
    load: async () => (await import("./upstash.ts")).runUpstash,
  },
  fanout: {
    about: "events to 1,000 client sockets, against Bun's publish, Socket.IO or Deno's sockets",
    runtimes: ALL,
    load: async () => (await import("./sockets.ts")).runFanOut,
  },
  sockets: {
    about: "bytes of an idle client socket, against the runtime's own and Socket.IO's",
    runtimes: ALL,
    load: async () => (await import("./sockets.ts")).runIdleSockets,
    isUntimed: true,
  },
  memory: {
    about: "bytes of an idle resource, against the bare object in a Map",
    runtimes: ALL,
    load: async () => (await import("./memory.ts")).runMemory,
    isUntimed: true,
  },
  start: {
    about: "start of a process until the node is ready, against an empty script",
    runtimes: ALL,
    load: async () => (await import("./start.ts")).runStart,
  },
};

/** Which benches to run: no names means all, no runtimes all that a bench names. */
export interface Work {
  readonly names: readonly string[];
  readonly runtimes: readonly string[] | undefined;
}

export function list(): string {
  return Object.entries(BENCHES)
    .map(([name, { about, runtimes }]) => `${name.padEnd(8)} ${about} (${runtimes.join(" ")})`)
    .join("\n");
}

/** One bench on one runtime. */
export interface Unit {
  readonly name: string;
  readonly runtime: RuntimeCommand;
}

export function workOf({ names, runtimes }: Work): Unit[] {
  const chosen = [...new Set(names.length > 0 ? names : Object.keys(BENCHES))];
  return chosen.flatMap((name) =>
    (BENCHES[name] as Entry).runtimes
      .filter((runtime) => runtimes?.includes(runtime) ?? true)
      .map((runtime) => ({
        name,
        runtime: RUNTIMES.find((it) => it.name === runtime) as RuntimeCommand,
      }))
  );
}

/** Runs one bench on one runtime; null if something that it needs is missing. Rejects if it fails. */
export async function runOne(
  name: string,
  runtime: RuntimeCommand,
  pace: Pick<BenchOptions, "runs" | "seconds" | "floorsOnly">,
): Promise<Figure[] | null> {
  const log = (line: string) => console.error(`${name} on ${runtime.name}: ${line}`);
  const version = versionOf(runtime);
  if (version === null) {
    log("skipped: the runtime can't be started");
    return null;
  }
  try {
    const run = await (BENCHES[name] as Entry).load();
    return await run({ ...pace, runtime, runtimeName: `${runtime.name} ${version}`, log });
  } catch (error) {
    if (error instanceof PeerMissing) {
      log(`skipped: ${error.message}`);
      return null;
    }
    log(`failed: ${error instanceof Error ? error.stack : error}`);
    throw error;
  }
}
