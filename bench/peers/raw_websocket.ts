/**
 * Peer: Bun's bare WebSocket, with all messages of a tick in one frame: the cost of the wire alone.
 *
 * A worker. `server` answers each 100-byte request with 100 bytes; `client PORT` sends them.
 * Answers `{"do":"latency","count"}` and `{"do":"throughput","inFlight","seconds"}`.
 */
import { latency, throughput } from "../kit.ts";
import { serveQuestions } from "../worker.ts";

/** The part of Bun's server that is used here. */
declare const Bun: {
  serve(options: {
    hostname: string;
    port: number;
    fetch(request: Request, server: { upgrade(request: Request): boolean }): Response | undefined;
    websocket: {
      message(socket: { sendBinary(frame: Uint8Array): number }, frame: Uint8Array): void;
    };
  }): { port: number };
};

const SIZE = 100;
const [role, port] = process.argv.slice(2);

/** Collects the messages of one tick and sends them as one frame. */
function batcher(send: (frame: Uint8Array<ArrayBuffer>) => void): (message: Uint8Array) => void {
  let queued: Uint8Array[] = [];
  const flush = () => {
    const frame = new Uint8Array(queued.length * SIZE);
    queued.forEach((message, i) => frame.set(message, i * SIZE));
    queued = [];
    send(frame);
  };
  return (message) => {
    if (queued.push(message) === 1) queueMicrotask(flush);
  };
}

function serve(): void {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, server) =>
      server.upgrade(request) ? undefined : new Response("no", { status: 400 }),
    websocket: {
      message(socket, bytes) {
        const send = batcher((reply) => socket.sendBinary(reply));
        for (let at = 0; at < bytes.length; at += SIZE) send(bytes.slice(at, at + SIZE));
      },
    },
  });
  serveQuestions({ port: server.port }, () => Promise.resolve(null));
}

async function ask(): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("no connection"));
  });
  const waiting = new Map<number, () => void>();
  socket.onmessage = ({ data }) => {
    const view = new DataView(data as ArrayBuffer);
    for (let at = 0; at < view.byteLength; at += SIZE) {
      const id = view.getUint32(at);
      waiting.get(id)?.();
      waiting.delete(id);
    }
  };
  const send = batcher((frame) => socket.send(frame));
  let id = 0;
  const call = () => {
    const message = new Uint8Array(SIZE);
    id = (id + 1) >>> 0;
    new DataView(message.buffer).setUint32(0, id);
    return new Promise<void>((resolve) => {
      waiting.set(id, resolve);
      send(message);
    });
  };
  serveQuestions({ role: "client" }, (question) => {
    if (question["do"] === "latency") return latency(call, Number(question["count"]));
    return throughput(call, Number(question["inFlight"]), Number(question["seconds"]));
  });
}

if (role === "server") serve();
else await ask();
