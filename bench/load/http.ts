/**
 * Load generator for HTTP, on Bun: a plain TCP client with keep-alive connections, one request at a
 * time on each.
 *
 * A worker. Answers `{"do":"post","url","body","connections","seconds"}` with requests per second,
 * latencies in µs, and the share of its own core that it used. Any answer but a 200 with the
 * expected text ends it.
 */
import { cpuTime } from "../kit.ts";
import { serveQuestions } from "../worker.ts";

interface Socket {
  write(data: Uint8Array): number;
  end(): void;
}

/** The part of Bun that is used here. */
declare const Bun: {
  connect(options: {
    hostname: string;
    port: number;
    socket: {
      open(socket: Socket): void;
      data(socket: Socket, chunk: Uint8Array): void;
      close(): void;
      error(socket: Socket, error: Error): void;
    };
  }): Promise<Socket>;
};

export interface HttpLoad {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU time per second of the run. */
  readonly busy: number;
}

/** The number of bytes of a complete answer at the start of `text`; -1 if it isn't complete. */
function lengthOf(text: string): number {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return -1;
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head + 2)) ?? [];
  if (length !== undefined) {
    const end = head + 4 + Number(length);
    return text.length >= end ? end : -1;
  }
  return text.endsWith("\r\n0\r\n\r\n") ? text.length : -1;
}

async function post(
  { url, body, connections, seconds }: {
    url: string;
    body: string;
    connections: number;
    seconds: number;
  },
): Promise<HttpLoad> {
  const { hostname, port, host, pathname } = new URL(url);
  const request = new TextEncoder().encode(
    `POST ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`,
  );
  const expected = (JSON.parse(body) as string[])[0] as string;
  const times: number[] = [];
  const cpu = cpuTime();
  const start = performance.now();
  const end = start + seconds * 1_000;
  const one = () =>
    new Promise<void>((resolve, reject) => {
      let sent = 0;
      let seen = "";
      /** The length of this server's answers: all of them have the same. */
      let usual = -1;
      let isDone = false;
      const next = (socket: Socket, now: number) => {
        if (now >= end) {
          isDone = true;
          socket.end();
          return resolve();
        }
        sent = now;
        socket.write(request);
      };
      const answered = (socket: Socket) => {
        const now = performance.now();
        times.push(now - sent);
        next(socket, now);
      };
      const fail = (why: string) => {
        if (!isDone) reject(new Error(`${url}: ${why}`));
      };
      Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          open: (socket) => next(socket, performance.now()),
          data(socket, chunk) {
            // "HTTP/1.1 200": the status begins at byte 9.
            if (seen === "" && chunk.length === usual && chunk[9] === 0x32) return answered(socket);
            seen += new TextDecoder("latin1").decode(chunk);
            const length = lengthOf(seen);
            if (length < 0) return;
            if (!seen.startsWith("HTTP/1.1 200") || !seen.includes(expected)) return fail(seen);
            usual = length;
            seen = "";
            answered(socket);
          },
          close: () => fail("the connection was closed"),
          error: (_socket, error) => fail(String(error)),
        },
      }).catch(reject);
    });
  await Promise.all(Array.from({ length: connections }, one));
  const took = performance.now() - start;
  const sorted = Float64Array.from(times).sort();
  const at = (share: number) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 1e3);
  return {
    rate: times.length * 1_000 / took,
    p50: at(0.5),
    p99: at(0.99),
    busy: (cpuTime() - cpu) / 1_000 / took,
  };
}

serveQuestions({ role: "load" }, (question) => post(question as never));
