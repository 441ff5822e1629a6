/**
 * Bench: the round trip of 100 bytes between two processes over a link. Peer: a bare batched
 * WebSocket, measured alternately.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { detectRuntime } from "../adapters/platform/detect.ts";
import { websocketTransport } from "../adapters/transport/websocket.ts";
import { MAX_FRAME_BYTES } from "../src/limits.ts";
import type { Peer } from "../src/ports/transport.ts";
import { eachRaw, MESSAGE_BYTES, RawBatch } from "./wire_raw.ts";

export interface WireRow {
  metric: string;
  value: number;
  unit: string;
  peer: string;
  peerValue: number;
}

/** Sends messages that are echoed. */
interface Wire {
  send(message: Uint8Array): void;
  /** Called for each message that came back. */
  onEcho: () => void;
  close(): void;
}

const IN_FLIGHT = 512;
const NO_TUPLE: readonly unknown[] = [];

/** Measures both wires, `quick` in about 2 s; medians of alternating rounds. */
export async function runWire({ quick }: { quick: boolean }): Promise<WireRow[]> {
  const far = await startFar();
  try {
    const link = await linkWire(far.peer);
    const raw = await rawWire(far.raw);
    const rounds = quick ? 3 : 7;
    const [trips, messages] = quick ? [4_000, 300_000] : [20_000, 2_000_000];
    const latency = await alternate(rounds, link, raw, (wire) => oneAtATime(wire, trips));
    const rate = await alternate(rounds, link, raw, (wire) => inFlight(wire, messages));
    link.close();
    raw.close();
    const peer = "bare WebSocket, batched";
    return [
      { metric: "echo p50", value: latency[0], unit: "µs", peer, peerValue: latency[1] },
      {
        metric: `echo at ${IN_FLIGHT} in flight`,
        value: rate[0],
        unit: "per s",
        peer,
        peerValue: rate[1],
      },
    ];
  } finally {
    far.stop();
  }
}

async function startFar(): Promise<{ peer: Peer; raw: string; stop(): void }> {
  const script = fileURLToPath(new URL("./wire_echo.ts", import.meta.url));
  const run = "Deno" in globalThis ? ["run", "-A", script] : [script];
  const child = spawn(process.execPath, run, { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the far end exited with ${code}`)));
  });
  return { ...JSON.parse(line), stop: () => child.kill() };
}

async function linkWire(peer: Peer): Promise<Wire> {
  const transport = websocketTransport({ runtime: await detectRuntime() });
  const self = { region: "bench", node: "near", incarnation: crypto.randomUUID() };
  await transport.open(self, (link) => link.close("this end only dials"));
  const link = await transport.dial(peer);
  const wire: Wire = {
    send: (message) => void link.send(NO_TUPLE, message),
    onEcho: () => {},
    close: () => void transport.close(),
  };
  link.start({ message: () => wire.onEcho(), close: () => {} });
  return wire;
}

async function rawWire(url: string): Promise<Wire> {
  const runtime = await detectRuntime();
  const wire: Wire = { send: () => {}, onEcho: () => {}, close: () => {} };
  const socket = await runtime.dial(url, {
    open: () => {},
    message: (_socket, frame) => eachRaw(frame as Uint8Array, () => wire.onEcho()),
    close: () => {},
  }, { maxFrameBytes: MAX_FRAME_BYTES, timeoutMs: 5_000 });
  const batch = new RawBatch(socket);
  wire.send = (message) => batch.send(message);
  wire.close = () => socket.close(1_000, "");
  return wire;
}

/** The median time of `count` round trips in sequence, in µs. */
function oneAtATime(wire: Wire, count: number): Promise<number> {
  const message = new Uint8Array(MESSAGE_BYTES);
  const took = new Float64Array(count);
  return new Promise((resolve) => {
    let done = 0;
    let sent = performance.now();
    wire.onEcho = () => {
      const now = performance.now();
      took[done++] = now - sent;
      if (done === count) return resolve(median([...took]) * 1_000);
      sent = now;
      wire.send(message);
    };
    wire.send(message);
  });
}

/** Round trips per second with {@link IN_FLIGHT} in flight. */
function inFlight(wire: Wire, count: number): Promise<number> {
  const message = new Uint8Array(MESSAGE_BYTES);
  return new Promise((resolve) => {
    const started = performance.now();
    let sent = 0;
    let done = 0;
    wire.onEcho = () => {
      if (++done === count) return resolve(count / (performance.now() - started) * 1_000);
      if (sent++ < count - IN_FLIGHT) wire.send(message);
    };
    for (let i = 0; i < IN_FLIGHT; i++) wire.send(message);
  });
}

async function alternate(
  rounds: number,
  link: Wire,
  raw: Wire,
  measure: (wire: Wire) => Promise<number>,
): Promise<[number, number]> {
  await measure(link);
  await measure(raw);
  const figures: [number[], number[]] = [[], []];
  for (let i = 0; i < rounds; i++) {
    figures[0].push(await measure(link));
    figures[1].push(await measure(raw));
  }
  return [median(figures[0]), median(figures[1])];
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}
