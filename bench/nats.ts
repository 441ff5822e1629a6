/** Starts a nats-server for a bench on a free loopback port, and stops it afterwards. */
import { spawn, spawnSync } from "node:child_process";
import process from "node:process";
import { freePort } from "../test/support/ports.ts";
import { PeerMissing } from "./kit.ts";

export interface OwnNats {
  readonly port: number;
  stop(): Promise<void>;
}

/** @throws PeerMissing if `nats-server` is not on the path. */
export async function startNats(): Promise<OwnNats> {
  const { error } = spawnSync("nats-server", ["--version"]);
  if (error) throw new PeerMissing("nats-server is not installed");
  const port = await freePort();
  const server = spawn("nats-server", ["-a", "127.0.0.1", "-p", `${port}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const gone = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const end = () => server.kill("SIGKILL");
  process.once("exit", end);
  await new Promise<void>((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`nats-server ended with ${code}`)));
    server.stderr.on("data", (chunk) => String(chunk).includes("Server is ready") && resolve());
  });
  return {
    port,
    async stop() {
      process.off("exit", end);
      end();
      await gone;
    },
  };
}
