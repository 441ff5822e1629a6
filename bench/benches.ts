/**
 * The benches by name, the runtimes that each one runs on, and running a choice of them. Gives the
 * figures of each run as it ends; progress and skipped benches with the reason go to standard error.
 */
import { type RuntimeCommand, RUNTIMES, versionOf } from "../scripts/runtimes.ts";
import { type Bench, type BenchOptions, type Figure, PeerMissing } from "./kit.ts";

interface Entry {
  readonly about: string;
  readonly runtimes: readonly RuntimeCommand["name"][];
  readonly load: () => Promise<Bench>;
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
  },
  memory: {
    about: "bytes of an idle resource, against the bare object in a Map",
    runtimes: ALL,
    load: async () => (await import("./memory.ts")).runMemory,
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

/** A bench on a runtime that failed. */
export interface Failed {
  readonly name: string;
  readonly runtime: string;
}

export function list(): string {
  return Object.entries(BENCHES)
    .map(([name, { about, runtimes }]) => `${name.padEnd(8)} ${about} (${runtimes.join(" ")})`)
    .join("\n");
}

/** Runs the benches one after the other; gives those that failed. */
export async function runAll(
  { names, runtimes }: Work,
  pace: Pick<BenchOptions, "runs" | "seconds">,
  onFigures: (figures: Figure[], bench: string, runtime: RuntimeCommand["name"]) => void,
): Promise<Failed[]> {
  const failed: Failed[] = [];
  for (const name of new Set(names.length > 0 ? names : Object.keys(BENCHES))) {
    const { runtimes: own, load } = BENCHES[name] as Entry;
    for (const runtimeOf of own.filter((it) => runtimes?.includes(it) ?? true)) {
      const runtime = RUNTIMES.find((it) => it.name === runtimeOf) as RuntimeCommand;
      const log = (line: string) => console.error(`${name} on ${runtime.name}: ${line}`);
      const version = versionOf(runtime);
      if (version === null) {
        log("skipped: the runtime can't be started");
        continue;
      }
      try {
        const run = await load();
        const runtimeName = `${runtime.name} ${version}`;
        onFigures(await run({ ...pace, runtime, runtimeName, log }), name, runtime.name);
      } catch (error) {
        if (error instanceof PeerMissing) {
          log(`skipped: ${error.message}`);
          continue;
        }
        failed.push({ name, runtime: runtime.name });
        log(`failed: ${error instanceof Error ? error.stack : error}`);
      }
    }
  }
  return failed;
}
