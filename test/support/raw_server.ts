/**
 * A server of the running runtime with short times, and raw connections to it that keep all
 * received bytes. Call {@link closeAll} after each test.
 */
import { connect, type Socket as TcpSocket } from "node:net";
import { expect } from "vitest";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import type { Runtime, ServeOptions, Server, ServerTimes } from "../../src/ports/runtime.ts";

export const runtime: Runtime = await detectRuntime();
const MAX_FRAME = 65_536;
export const TIMES: ServerTimes = { headMs: 2_000, keepAliveMs: 4_000, answerMs: 2_000 };
/** Longer than anything in these tests takes, in ms. */
export const PATIENCE_MS = 40_000;

const servers: Server[] = [];
const clients: TcpSocket[] = [];

export async function closeAll(): Promise<void> {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(servers.splice(0).map((server) => server.close()));
}

export async function serve(
  fetch: ServeOptions["fetch"],
  times: ServerTimes | undefined = TIMES,
): Promise<Server> {
  const options = { host: "127.0.0.1", port: 0, maxFrameBytes: MAX_FRAME, fetch, times };
  const server = await runtime.serve(options);
  servers.push(server);
  return server;
}

/** A connection that keeps the received bytes and whether it was closed. */
export class Client {
  readonly tcp: TcpSocket;
  text = "";
  isClosed = false;

  constructor(port: number, first: string | Uint8Array = "") {
    this.tcp = connect(port, "127.0.0.1", () => this.tcp.write(first));
    this.tcp.on("data", (data) => this.text += data.toString("latin1"));
    this.tcp.on("error", () => {});
    this.tcp.on("close", () => this.isClosed = true);
    clients.push(this.tcp);
  }

  /** The number of answers received. */
  get answers(): number {
    return this.text.split("HTTP/1.1 200").length - 1;
  }
}

export function closed(client: Client): Promise<void> {
  return expect.poll(() => client.isClosed, { timeout: PATIENCE_MS }).toBe(true);
}
