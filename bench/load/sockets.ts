/**
 * Load generator for WebSockets, on Bun: plain TCP connections that count the events which arrive.
 *
 * A worker. Takes `KIND URL`: `atlas`, `plain` (every text is an event) or `socket.io`. Answers
 * - `{"do":"open","count"}`: opens so many more sockets;
 * - `{"do":"fan","window","seconds"}`: the first socket sends a message whenever fewer than `window`
 *   are under way, and each reaches every socket;
 * - `{"do":"paced","rate","window","seconds"}`: sends `rate` messages a second, but none while
 *   `window` are under way.
 *
 * Both give {@link FanLoad}. Only events have {@link EVENT_BYTES} or more; they arrive in order, so
 * the n-th event of each socket is the n-th message.
 */
import { cpuTime } from "../kit.ts";
import { serveQuestions } from "../worker.ts";

interface Socket {
  data: Client;
  write(data: Uint8Array): number;
}

/** The part of Bun that is used here. */
declare const Bun: {
  connect(options: {
    hostname: string;
    port: number;
    data: Client;
    socket: {
      open(socket: Socket): void;
      data(socket: Socket, chunk: Uint8Array): void;
      close(socket: Socket): void;
      error(socket: Socket, error: Error): void;
    };
  }): Promise<Socket>;
};

export interface FanLoad {
  /** Events received by all sockets, per second. */
  readonly deliveries: number;
  /** Messages per second. */
  readonly messages: number;
  /** From a message until an event of it was received, over all events, in ms. */
  readonly p50: number;
  readonly p99: number;
  /** CPU time of this process per second. */
  readonly busy: number;
}

const EVENT_BYTES = 100;
/** Width of a bucket of latencies, and their number, in ms. */
const BUCKET_MS = 0.1;
const BUCKETS = 20_000;

type Kind = "atlas" | "plain" | "socket.io";
const [kind, url] = process.argv.slice(2) as [Kind, string];
const target = new URL(url);
const TEXT = "x".repeat(EVENT_BYTES);
const encoder = new TextEncoder();

const UPGRADE = encoder.encode(
  `GET ${target.pathname}${target.search} HTTP/1.1\r\nhost: ${target.host}\r\nupgrade: websocket\r\n` +
    "connection: Upgrade\r\nsec-websocket-version: 13\r\n" +
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
);

/** A frame of a client, masked with zeros (RFC 6455 §5.3). */
function frame(text: string, opcode = 1): Uint8Array {
  const body = encoder.encode(text);
  const head = body.length < 126
    ? [0x80 | opcode, 0x80 | body.length]
    : [0x80 | opcode, 0x80 | 126, body.length >> 8, body.length & 255];
  return Uint8Array.from([...head, 0, 0, 0, 0, ...body]);
}

const MESSAGE = frame(
  {
    atlas: JSON.stringify({ t: "message", data: TEXT }),
    plain: TEXT,
    "socket.io": `42${JSON.stringify(["say", TEXT])}`,
  }[kind],
);
const PONG = frame("", 10);

/** What all sockets share while they are under load. */
const sentAt: number[] = [];
const left: number[] = [];
const latencies = new Uint32Array(BUCKETS);
let received = 0;
let underWay = 0;
let onComplete: () => void = () => {};
const clients: Client[] = [];

function delivered(client: Client, now: number): void {
  const n = client.events++;
  received += 1;
  const bucket = Math.floor((now - (sentAt[n] as number)) / BUCKET_MS);
  latencies[Math.min(bucket, BUCKETS - 1)]! += 1;
  if ((left[n] = (left[n] as number) - 1) > 0) return;
  underWay -= 1;
  onComplete();
}

/** One socket. */
class Client {
  socket!: Socket;
  events = 0;
  #rest: Uint8Array | null = null;
  #isUpgraded = false;
  #isReady = false;
  readonly #ready: () => void;

  constructor(ready: () => void) {
    this.#ready = ready;
  }

  take(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#rest) {
      bytes = new Uint8Array(this.#rest.length + chunk.length);
      bytes.set(this.#rest);
      bytes.set(chunk, this.#rest.length);
      this.#rest = null;
    }
    let at = 0;
    if (!this.#isUpgraded) {
      const text = new TextDecoder("latin1").decode(bytes);
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return void (this.#rest = bytes.slice());
      if (!text.startsWith("HTTP/1.1 101")) throw new Error(`${url}: ${text}`);
      this.#isUpgraded = true;
      at = end + 4;
      if (kind === "plain") this.#becomeReady();
    }
    const now = performance.now();
    while (at + 2 <= bytes.length) {
      const short = bytes[at + 1] as number;
      const head = short < 126 ? 2 : 4;
      if (at + head > bytes.length) break;
      const length = short < 126 ? short : (bytes[at + 2]! << 8) | bytes[at + 3]!;
      if (at + head + length > bytes.length) break;
      if (length >= EVENT_BYTES && this.#isReady) delivered(this, now);
      else this.#control(bytes[at]! & 15, bytes.subarray(at + head, at + head + length));
      at += head + length;
    }
    // The chunk's memory is used again.
    if (at < bytes.length) this.#rest = bytes.slice(at);
  }

  #control(opcode: number, body: Uint8Array): void {
    if (opcode === 8) throw new Error(`${url} closed a socket`);
    if (opcode === 9) return void this.socket.write(PONG);
    if (kind === "atlas" && !this.#isReady) return this.#becomeReady();
    if (kind !== "socket.io") return;
    const text = new TextDecoder().decode(body);
    if (text.startsWith("0")) this.socket.write(frame("40"));
    else if (text.startsWith("40")) this.#becomeReady();
    else if (text === "2") this.socket.write(frame("3"));
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#ready();
  }
}

function connect(): Promise<void> {
  return new Promise((resolve, reject) => {
    const client = new Client(resolve);
    clients.push(client);
    Bun.connect({
      hostname: target.hostname,
      port: Number(target.port),
      data: client,
      socket: {
        open(socket) {
          socket.data.socket = socket;
          socket.write(UPGRADE);
        },
        data: (socket, chunk) => socket.data.take(chunk),
        close() {
          throw new Error(`${url} closed a connection`);
        },
        error: (_socket, error) => reject(error),
      },
    }).catch(reject);
  });
}

async function open(count: number): Promise<number> {
  let more = count;
  const loop = async () => {
    while (more-- > 0) await connect();
  };
  await Promise.all(Array.from({ length: 64 }, loop));
  return clients.length;
}

function send(): void {
  sentAt.push(performance.now());
  left.push(clients.length);
  underWay += 1;
  clients[0]?.socket.write(MESSAGE);
}

/** Runs a load that `drive` begins and ends, and waits until all of its events have arrived. */
async function load(drive: () => Promise<void>): Promise<FanLoad> {
  latencies.fill(0);
  received = 0;
  const before = sentAt.length;
  const cpu = cpuTime();
  const start = performance.now();
  await drive();
  while (underWay > 0) await new Promise<void>((resolve) => onComplete = resolve);
  const took = performance.now() - start;
  const at = (share: number) => {
    let count = 0;
    const bucket = latencies.findIndex((n) => (count += n) >= received * share);
    return (bucket + 1) * BUCKET_MS;
  };
  return {
    deliveries: received * 1_000 / took,
    messages: (sentAt.length - before) * 1_000 / took,
    p50: at(0.5),
    p99: at(0.99),
    busy: (cpuTime() - cpu) / 1_000 / took,
  };
}

function fan(window: number, seconds: number): Promise<FanLoad> {
  const end = performance.now() + seconds * 1_000;
  return load(() =>
    new Promise((resolve) => {
      onComplete = () => {
        if (performance.now() < end) return send();
        resolve();
      };
      for (let i = 0; i < window; i++) send();
    })
  );
}

function paced(rate: number, window: number, seconds: number): Promise<FanLoad> {
  const start = performance.now();
  const end = start + seconds * 1_000;
  let due = start;
  const tick = () => {
    const now = performance.now();
    if (now < due || now >= end || underWay >= window) return;
    // What is late isn't made up for.
    due = Math.max(due + 1_000 / rate, now);
    send();
  };
  return load(async () => {
    onComplete = tick;
    while (performance.now() < end) {
      tick();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    }
    onComplete = () => {};
  });
}

serveQuestions({ kind }, (question) => {
  const { count = 1, window = 1, seconds = 1, rate = 1 } = question as Record<string, number>;
  if (question["do"] === "open") return open(count);
  if (question["do"] === "fan") return fan(window, seconds);
  return paced(rate, window, seconds);
});
