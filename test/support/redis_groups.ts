/**
 * Several private Redis servers: a master with replicas and sentinels, and a cluster.
 *
 * Takes how many of each; gives URLs and the processes, which can be killed. All listen on free
 * loopback ports.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./ports.ts";
import { awaitReply, redisEnvironment, startRedis, type TestRedis } from "./redis.ts";
import { type Certificate, tlsArguments } from "./tls.ts";

/** The name by which the sentinels know the master. */
export const MASTER = "mymaster";

/** By default a master waits some seconds for further replicas before it copies. */
const SYNC_AT_ONCE = ["--repl-diskless-sync-delay", "0"];

/** A master, its replicas, and their sentinels. */
export interface TestSentinels {
  /** `redis+sentinel://…` with all sentinels. */
  readonly url: string;
  /** The servers with their first roles, the master first. */
  readonly servers: readonly TestRedis[];
  readonly ports: readonly number[];
  /** The master's port, as the first running sentinel gives it. */
  masterPort(): Promise<number>;
  /** Kills the master; resolves when the sentinels have promoted a replica. */
  failOver(): Promise<void>;
  close(): Promise<void>;
}

export interface TestSentinelsOptions {
  replicas?: number;
  sentinels?: number;
  /** How long a server must be silent before it counts as dead, in ms. Default: a minute. */
  downAfterMs?: number;
  /** Servers keep each acknowledged write on disk, and their role through a restart. */
  durable?: boolean;
  /** All also listen with TLS, with this certificate; then the URL is `rediss+sentinel://…`. */
  tls?: Certificate;
}

/**
 * How long sentinels wait for a silent server, in ms: long enough that no busy one counts as dead.
 */
const PATIENT_MS = 60_000;
/** The same after the master was killed, in ms. */
const QUICK_MS = 1_000;

/** Starts a master with replicas and sentinels, and waits until all know of each other. */
export async function startSentinels(options: TestSentinelsOptions = {}): Promise<TestSentinels> {
  const { replicas = 1, sentinels: count = 3, downAfterMs = PATIENT_MS, tls } = options;
  const { durable = false } = options;
  const kind = { durable, hasFile: durable };
  /** Arguments of a server that listens with TLS, and its TLS port; none if it doesn't. */
  const secured = async (): Promise<{ port: number | null; args: readonly string[] }> => {
    const port = tls ? await freePort() : null;
    return { port, args: tls && port !== null ? tlsArguments(port, tls) : [] };
  };
  const { port: securePort, args } = await secured();
  const master = await startRedis({ ...kind, args: [...SYNC_AT_ONCE, ...args] });
  const masterPort = String(securePort ?? master.port);
  const servers = [master];
  for (let i = 0; i < replicas; i++) {
    const { args } = await secured();
    servers.push(
      await startRedis({
        ...kind,
        args: ["--replicaof", "127.0.0.1", masterPort, ...SYNC_AT_ONCE, ...args],
      }),
    );
  }
  await awaitReply(master.port, "INFO replication", new RegExp(`connected_slaves:${replicas}\\b`));
  for (const { port } of servers.slice(1)) {
    await awaitReply(port, "INFO replication", /master_link_status:up/);
  }
  const quorum = Math.floor(count / 2) + 1;
  const sentinels = await Promise.all(
    Array.from({ length: count }, async () => {
      const { port, args } = await secured();
      return { ...await startSentinel(masterPort, quorum, downAfterMs, args), securePort: port };
    }),
  );
  for (const { port } of sentinels) {
    const others = `num-slaves\\r\\n\\$\\d+\\r\\n${replicas}\\r\\n[^]*num-other-sentinels` +
      `\\r\\n\\$\\d+\\r\\n${count - 1}\\r\\n`;
    await awaitReply(port, `SENTINEL MASTER ${MASTER}`, new RegExp(others));
  }
  const ports = sentinels.map(({ port }) => port);
  const scheme = tls ? "rediss+sentinel" : "redis+sentinel";
  const hosts = sentinels.map(({ port, securePort }) => `127.0.0.1:${securePort ?? port}`);
  const setPatience = async (ms: number): Promise<void> => {
    const command = `SENTINEL SET ${MASTER} down-after-milliseconds ${ms}`;
    for (const port of ports) await awaitReply(port, command, /OK/);
  };
  const named = `SENTINEL GET-MASTER-ADDR-BY-NAME ${MASTER}`;
  return {
    url: `${scheme}://${hosts.join(",")}/${MASTER}`,
    servers,
    ports,
    async masterPort() {
      const answer = await awaitReply(ports[0] as number, named, /127\.0\.0\.1/);
      return Number(/\r\n(\d+)\r\n$/.exec(answer)?.[1]);
    },
    async failOver() {
      await master.kill();
      await setPatience(QUICK_MS);
      await awaitReply(ports[0] as number, named, new RegExp(`\r\n(?!${masterPort}\r)\\d+\r\n$`));
      await setPatience(downAfterMs);
    },
    async close() {
      for (const sentinel of sentinels) await sentinel.close();
      for (const server of servers) await server.close();
    },
  };
}

async function startSentinel(
  master: string,
  quorum: number,
  downAfterMs: number,
  args: readonly string[],
): Promise<{ port: number; close(): Promise<void> }> {
  const directory = mkdtempSync(join(tmpdir(), "atlas-sentinel-"));
  const port = await freePort();
  const file = join(directory, "sentinel.conf");
  writeFileSync(
    file,
    [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir "${directory}"`,
      `sentinel monitor ${MASTER} 127.0.0.1 ${master} ${quorum}`,
      `sentinel down-after-milliseconds ${MASTER} ${downAfterMs}`,
      `sentinel failover-timeout ${MASTER} 3000`,
    ].join("\n"),
  );
  const child = spawn("redis-server", [file, "--sentinel", ...args], {
    stdio: "ignore",
    env: redisEnvironment(),
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = (): void => {
    if (child.exitCode === null && child.signalCode === null) {
      process.kill(child.pid as number, "SIGKILL");
    }
  };
  process.on("exit", kill);
  await awaitReply(port, "PING", /PONG/);
  return {
    port,
    async close() {
      process.off("exit", kill);
      kill();
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A cluster of three masters, each with its share of the slots. */
export interface TestCluster {
  /** `redis+cluster://…` with all masters. */
  readonly url: string;
  readonly masters: readonly TestRedis[];
  /** The first replica follows the first master, and so on. */
  readonly replicas: readonly TestRedis[];
  /** Resolves when each node says that the cluster is whole. */
  isWhole(): Promise<void>;
  /** The index of the master that first served the slot. */
  masterOf(slot: number): number;
  close(): Promise<void>;
}

export interface TestClusterOptions {
  /** Keeps every acknowledged write on disk. Default false. */
  durable?: boolean;
  /** How many of the masters have a replica. Default none. */
  replicas?: number;
  /** How long a node must be silent before it counts as dead, in ms. Default: 15,000. */
  nodeTimeoutMs?: number;
}

/** The first slot of each of the three masters. */
const SHARES = [0, 5_461, 10_923, 16_384] as const;

/** Starts three masters, and replicas, and waits until each says that the cluster is whole. */
export async function startCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const { durable = false, replicas: count = 0, nodeTimeoutMs = 15_000 } = options;
  const nodes: { redis: TestRedis; bus: number }[] = [];
  for (let i = 0; i < 3 + count; i++) {
    const bus = await freePort();
    const args = ["--cluster-enabled", "yes", "--cluster-port", String(bus), ...SYNC_AT_ONCE];
    args.push("--cluster-node-timeout", String(nodeTimeoutMs));
    nodes.push({ redis: await startRedis({ durable, args }), bus });
  }
  const all = nodes.map(({ redis }) => redis);
  const [first] = all as [TestRedis];
  for (const { redis, bus } of nodes.slice(1)) {
    await awaitReply(first.port, `CLUSTER MEET 127.0.0.1 ${redis.port} ${bus}`, /\+OK/);
  }
  const masters = all.slice(0, 3);
  for (const [i, { port }] of masters.entries()) {
    const last = SHARES[i + 1] as number - 1;
    await awaitReply(port, `CLUSTER ADDSLOTSRANGE ${SHARES[i]} ${last}`, /\+OK/);
  }
  for (const { port } of all) {
    await awaitReply(port, "CLUSTER INFO", new RegExp(`cluster_known_nodes:${all.length}\\b`));
  }
  const replicas = all.slice(3);
  for (const [i, { port }] of replicas.entries()) {
    const answer = await awaitReply(masters[i]?.port as number, "CLUSTER MYID", /[0-9a-f]{40}/);
    const id = /[0-9a-f]{40}/.exec(answer)?.[0];
    await awaitReply(port, `CLUSTER REPLICATE ${id}`, /\+OK/);
    await awaitReply(port, "INFO replication", /master_link_status:up/);
  }
  const isWhole = async (): Promise<void> => {
    for (const { port } of all) await awaitReply(port, "CLUSTER INFO", /cluster_state:ok/);
  };
  await isWhole();
  return {
    url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
    masters,
    replicas,
    isWhole,
    masterOf: (slot) => SHARES.findLastIndex((from) => from <= slot),
    async close() {
      for (const redis of all) await redis.close();
    },
  };
}
