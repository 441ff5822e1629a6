/**
 * Starts a Redis for a bench on a free loopback port, without persistence, and stops it afterwards.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { freePort } from "../test/support/ports.ts";
import { PeerMissing } from "./kit.ts";

export interface OwnRedis {
  readonly port: number;
  readonly url: string;
  /** Such as `7.0.15`. */
  readonly version: string;
  stop(): Promise<void>;
}

/** @throws PeerMissing if `redis-server` or `redis-benchmark` is not on the path. */
export async function startRedis(): Promise<OwnRedis> {
  const version = /v=(\S+)/.exec(outputOf("redis-server"))?.[1] ?? "?";
  outputOf("redis-benchmark");
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-redis-"));
  const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const server = spawn("redis-server", [...options, "--dir", folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const gone = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const end = () => server.kill("SIGKILL");
  process.once("exit", end);
  await ready(server);
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    version,
    async stop() {
      process.off("exit", end);
      end();
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function outputOf(binary: string): string {
  const { error, stdout } = spawnSync(binary, ["--version"], { encoding: "utf8" });
  if (error) throw new PeerMissing(`${binary} is not installed`);
  return stdout;
}

function ready(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
    createInterface({ input: server.stdout as NonNullable<ChildProcess["stdout"]> })
      .on("line", (line) => line.includes("Ready to accept connections") && resolve());
  });
}

/** The number of keys that a Redis holds. */
export function keysOf(port: number): number {
  const { stdout } = spawnSync("redis-cli", ["-p", `${port}`, "dbsize"], { encoding: "utf8" });
  return Number(/\d+/.exec(stdout)?.[0]);
}

/** Commands per second of redis-benchmark, 256 in flight over four connections. */
export async function benchmark(port: number, count: number, command: string[]): Promise<number> {
  const load = ["-p", `${port}`, "-n", `${count}`, "-c", "4", "-P", "64", "-r", "1000000000"];
  const child = spawn("redis-benchmark", [...load, "--csv", ...command], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  await new Promise((resolve) => child.once("close", resolve));
  // The last line: "the command","rate","latencies"…
  const rate = Number(/^.*"([\d.]+)"(?:,"[\d.]+"){6}\s*$/m.exec(output)?.[1]);
  if (!(rate > 0)) throw new Error(`redis-benchmark said: ${output}`);
  return rate;
}
