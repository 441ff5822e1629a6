/**
 * Peer: a bare WebSocket, with all messages of a tick in one frame: the cost of the wire alone, or
 * of the wire and a codec.
 *
 * A worker. Takes `CODEC server [URL]` or `CODEC client PORT`. With the codec `bytes` a message has 100
 * bytes that nobody reads, but for its number. With `json` it is the tuple of a call, `[number, name,
 * method, [text]]`, answered by `[number, text]`; up to 128 tuples are encoded together. A server
 * with a store (`json server URL`) writes all texts of a frame before it answers. Answers
 * `{"do":"latency","count"}` and `{"do":"throughput","inFlight","seconds"}`.
 */
import type { AddressInfo } from "node:net";
import process from "node:process";
import { WebSocket as WsSocket, WebSocketServer } from "ws";
import { latency, throughput } from "../kit.ts";
import { serveQuestions } from "../worker.ts";

/** The part of Bun's server that is used here. */
declare const Bun: {
  serve(options: {
    hostname: string;
    port: number;
    fetch(request: Request, server: { upgrade(request: Request): boolean }): Response | undefined;
    websocket: {
      message(socket: { send(frame: Frame): number }, frame: Frame): void;
    };
  }): { port: number };
};

type Frame = string | Uint8Array<ArrayBuffer>;
type Send = (frame: Frame) => void;

const SIZE = 100;
const MAX_TUPLES = 128;
const TEXT = "x".repeat(SIZE);
/** The number of names that are called in turn. */
let names = 64;
const isBun = "Bun" in globalThis;

/** Collects the messages of one tick and sends them as few frames. */
class Batch<T> {
  #queued: T[] = [];
  readonly #flush: () => void;

  constructor(most: number, encode: (messages: T[]) => Frame, send: Send) {
    this.#flush = () => {
      const queued = this.#queued;
      this.#queued = [];
      if (queued.length <= most) return send(encode(queued));
      for (let at = 0; at < queued.length; at += most) send(encode(queued.slice(at, at + most)));
    };
  }

  add(message: T): void {
    if (this.#queued.push(message) === 1) queueMicrotask(this.#flush);
  }
}

function joined(messages: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(messages.length * SIZE);
  messages.forEach((message, i) => frame.set(message, i * SIZE));
  return frame;
}

/** What either end does with frames. */
interface Codec {
  /** The handler of frames at the server. */
  echo(send: Send): (frame: Frame) => void;
  /** The call of the client, and its handler of frames. */
  caller(send: Send): { call: (n: number) => Promise<unknown>; take: (frame: Frame) => void };
}

const bytes: Codec = {
  echo(send) {
    const batch = new Batch(Infinity, joined, send);
    return (frame) => {
      const got = frame as Uint8Array;
      for (let at = 0; at < got.length; at += SIZE) batch.add(got.slice(at, at + SIZE));
    };
  },
  caller(send) {
    const batch = new Batch(Infinity, joined, send);
    const waiting = new Map<number, () => void>();
    let id = 0;
    return {
      call() {
        const message = new Uint8Array(SIZE);
        id = (id + 1) >>> 0;
        new DataView(message.buffer).setUint32(0, id);
        return new Promise<void>((resolve) => {
          waiting.set(id, resolve);
          batch.add(message);
        });
      },
      take(frame) {
        const got = frame as Uint8Array;
        const view = new DataView(got.buffer, got.byteOffset, got.byteLength);
        for (let at = 0; at < view.byteLength; at += SIZE) {
          const found = view.getUint32(at);
          waiting.get(found)?.();
          waiting.delete(found);
        }
      },
    };
  },
};

type Call = [number, string, string, [string]];

const json: Codec = {
  echo(send) {
    const batch = new Batch<[number, string]>(MAX_TUPLES, JSON.stringify, send);
    const answer = (calls: Call[]) => {
      for (const [id, , , args] of calls) batch.add([id, args[0]]);
    };
    return (frame) => {
      const calls = JSON.parse(frame as string) as Call[];
      if (!commits) return answer(calls);
      void commits(calls.map(([, key, , [text]]) => ({ key, text }))).then(() => answer(calls));
    };
  },
  caller(send) {
    const batch = new Batch<Call>(MAX_TUPLES, JSON.stringify, send);
    const waiting = new Map<number, (text: string) => void>();
    let id = 0;
    return {
      call(n) {
        id += 1;
        return new Promise<string>((resolve) => {
          waiting.set(id, resolve);
          batch.add([id, `echo/wall_${n % names}`, "echo", [TEXT]]);
        });
      },
      take(frame) {
        for (const [found, text] of JSON.parse(frame as string) as [number, string][]) {
          waiting.get(found)?.(text);
          waiting.delete(found);
        }
      },
    };
  },
};

async function serve(codec: Codec): Promise<number> {
  if (isBun) {
    const takers = new WeakMap<object, (frame: Frame) => void>();
    return Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request, server) =>
        server.upgrade(request) ? undefined : new Response("no", { status: 400 }),
      websocket: {
        message(socket, frame) {
          let take = takers.get(socket);
          if (!take) takers.set(socket, take = codec.echo((reply) => socket.send(reply)));
          take(frame);
        },
      },
    }).port;
  }
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  server.on("connection", (socket) => {
    const take = codec.echo((reply) => socket.send(reply));
    socket.on("message", (data, isBinary) => take(frameOf(data, isBinary)));
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return (server.address() as AddressInfo).port;
}

function frameOf(data: unknown, isBinary: boolean): Frame {
  return isBinary ? data as Uint8Array<ArrayBuffer> : String(data);
}

/** Without its server a client would wait for ever. */
function lost(): never {
  process.exit(1);
}

/** Connects as a node of Atlas does: with Bun's own client on Bun, by `ws` elsewhere. */
async function connect(codec: Codec, url: string): Promise<(n: number) => Promise<unknown>> {
  if (isBun) {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("no connection"));
    });
    const { call, take } = codec.caller((frame) => socket.send(frame));
    socket.onclose = lost;
    socket.onmessage = ({ data }) => take(typeof data === "string" ? data : new Uint8Array(data));
    return call;
  }
  const socket = new WsSocket(url, { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const { call, take } = codec.caller((frame) => socket.send(frame));
  socket.on("close", lost);
  socket.on("message", (data, isBinary) => take(frameOf(data, isBinary)));
  return call;
}

const [name, role, port] = process.argv.slice(2);
const codec = name === "json" ? json : bytes;
const commits = role === "server" && port !== undefined
  ? await (await import("./stores.ts")).openCommits(port)
  : null;
if (role === "server") {
  serveQuestions({ port: await serve(codec) }, () => Promise.resolve(null));
} else {
  const call = await connect(codec, `ws://127.0.0.1:${port}`);
  serveQuestions({ role: "client" }, (question) => {
    names = Number(question["names"] ?? 64);
    if (question["do"] === "latency") return latency(call, Number(question["count"]));
    return throughput(call, Number(question["inFlight"]), Number(question["seconds"]));
  });
}
