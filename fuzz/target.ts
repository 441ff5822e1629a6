/**
 * A node under attack, as a real process, and its registry: a SQLite file, a Redis, or an HTTP
 * Redis with wrong replies. Gives the node, its address, and the secrets that some inputs use.
 *
 * The cluster's secret is short on purpose: such a node dials only loopback addresses, whatever
 * addresses hostile rows and peers name.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type NodeProcess, type RuntimeName, startNode } from "../test/e2e/process.ts";
import { startRedis, type TestRedis } from "../test/support/redis.ts";
import type { Part } from "./attack.ts";
import { LyingUpstash } from "./lying_upstash.ts";

const TOKEN = "a-token-that-most-input-knows";
const SECRET = "shorter-than-32-bytes";
/**
 * Limits the heap as in a container of 512 MiB: by default V8 lets garbage accumulate on a large
 * machine. JavaScriptCore has no such setting, and collects sooner.
 */
const HEAP: Readonly<Record<RuntimeName, Readonly<Record<string, string>>>> = {
  node: { NODE_OPTIONS: "--max-old-space-size=256" },
  deno: { DENO_V8_FLAGS: "--max-old-space-size=256" },
  bun: {},
};
const APP = fileURLToPath(new URL("./app.ts", import.meta.url));

export interface Target {
  readonly node: NodeProcess;
  readonly port: number;
  /** The valid value of `Authorization`. */
  readonly authorization: string;
  readonly secret: string;
  /** The SQLite file; null if the registry is not SQLite. */
  readonly file: string | null;
  readonly redis: TestRedis | null;
  readonly upstash: LyingUpstash | null;
  /** Starts another node on the same registry. */
  join(name: string): Promise<NodeProcess>;
  /** Stops the registry and removes its files, after the node has ended. */
  close(): Promise<void>;
}

/** Starts a registry and a node on it. */
export async function openTarget(
  runtime: RuntimeName,
  kind: Part["registry"],
  seed: number,
): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), "atlas-fuzz-"));
  const redis = kind === "file" ? null : await startRedis();
  const upstash = kind === "upstash"
    ? await LyingUpstash.start((redis as TestRedis).port, seed)
    : null;
  const file = kind === "file" ? join(folder, "registry.db") : null;
  const close = async (): Promise<void> => {
    await upstash?.close();
    await redis?.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const start = (name: string): Promise<NodeProcess> =>
    startNode({
      runtime,
      env: {
        ...HEAP[runtime],
        ATLAS_APP: APP,
        ATLAS_NODE: name,
        ATLAS_TOKEN: TOKEN,
        ATLAS_SECRET: SECRET,
        ATLAS_REGISTRY_URL: upstash?.url ?? redis?.url ?? `file:${file}`,
        ...upstash && { ATLAS_REGISTRY_TOKEN: upstash.token },
      },
    });
  try {
    const node = await start("target");
    return {
      node,
      port: Number(new URL(node.url).port),
      authorization: `Bearer ${TOKEN}`,
      secret: SECRET,
      file,
      redis,
      upstash,
      join: start,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
