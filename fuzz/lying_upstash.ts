/**
 * An HTTP Redis with Upstash's protocol that gives wrong replies on demand: wrong shapes, slightly
 * wrong values, compression bombs, endless, late or truncated bodies, redirects. Takes the port of
 * a Redis and a seed; the n-th request always gets the same wrong reply. Requests that follow a
 * redirect with a secret are reported.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { freePort } from "../test/support/ports.ts";
import { type Protocol, upstashProtocol } from "../test/upstash/protocol.ts";
import { Draw } from "./draw.ts";
import { altered, oddJson, value } from "./values.ts";

/** Bytes that a compressed answer grows to. */
const BOMB_BYTES = 400 * 1_048_576;
/** The most bytes of an endless answer, and the time for which it is then kept open, in ms. */
const ENDLESS_BYTES = 256 * 1_048_576;
const OPEN_MS = 20_000;
const PIECE: Buffer = Buffer.alloc(65_536, "[");

let bomb: Buffer | null = null;

/** Made on first use: it takes a second. */
function bombOf(): Buffer {
  return bomb ??= gzipSync(Buffer.alloc(BOMB_BYTES, "["), { level: 9 });
}

export class LyingUpstash {
  readonly token = "the-token-of-the-registry";
  readonly url: string;
  /** Whether it gives wrong replies. */
  isLying = false;
  /** The number of wrong replies, by name. */
  readonly counts: Map<string, number> = new Map();
  /** Requests to the address that redirects lead to. */
  readonly followed: string[] = [];
  readonly #protocol: Protocol;
  readonly #servers: Server[] = [];
  readonly #seed: number;
  #elsewhere = "";
  #requests = 0;

  private constructor(url: string, protocol: Protocol, seed: number) {
    this.url = url;
    this.#protocol = protocol;
    this.#seed = seed;
  }

  static async start(redisPort: number, seed: number): Promise<LyingUpstash> {
    const port = await freePort();
    const protocol = upstashProtocol({ redisPort, token: "the-token-of-the-registry" });
    const lying = new LyingUpstash(`http://127.0.0.1:${port}`, protocol, seed);
    bombOf();
    await lying.#listen(port, (request, response) => lying.#serve(request, response));
    const other = await freePort();
    lying.#elsewhere = `http://localhost:${other}/`;
    await lying.#listen(other, (request, response) => lying.#note(request, response));
    return lying;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    this.#protocol.close();
  }

  #listen(
    port: number,
    serve: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  ): Promise<void> {
    const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
      response.on("error", () => {});
      serve(request, response).catch(() => response.destroy());
    });
    this.#servers.push(server);
    return new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request);
    const draw = new Draw(this.#seed, `lie ${this.#requests++}`);
    const truth = async (): Promise<[number, string]> => {
      const { method = "GET", headers, url = "/" } = request;
      const answer = await this.#protocol.app.fetch(
        new Request(this.url + url, {
          method,
          headers: { authorization: headers.authorization ?? "" },
          ...method === "POST" && { body },
        }),
      );
      return [answer.status, await answer.text()];
    };
    if (this.isLying && draw.chance(0.6)) return await this.#lie(draw, truth, response);
    const [status, text] = await truth();
    response.writeHead(status, { "content-type": "application/json" }).end(text);
  }

  async #lie(
    draw: Draw,
    truth: () => Promise<[number, string]>,
    response: ServerResponse,
  ): Promise<void> {
    const json = { "content-type": "application/json" };
    const wrongReplies: Record<string, () => Promise<void>> = {
      shape: async () => void response.writeHead(200, json).end(shapeOf(draw)),
      altered: async () => {
        const [status, text] = await truth();
        response.writeHead(status, json).end(JSON.stringify(alteredIn(draw, JSON.parse(text))));
      },
      mutated: async () => {
        const [status, text] = await truth();
        response.writeHead(status, json).end(draw.mutated(Buffer.from(text)));
      },
      bomb: async () =>
        void response.writeHead(200, { ...json, "content-encoding": "gzip" }).end(bombOf()),
      broken_gzip: async () =>
        void response.writeHead(200, {
          ...json,
          "content-encoding": draw.pick(["gzip", "br", "deflate"]),
        })
          .end(draw.bytes(2_000)),
      endless: () => endless(response),
      redirect: async () =>
        void response.writeHead(draw.pick([301, 302, 303, 307, 308]), { location: this.#elsewhere })
          .end(),
      loop: async () => void response.writeHead(307, { location: "/" }).end(),
      late: async () => {
        await new Promise((resolve) => setTimeout(resolve, draw.below(7_000)));
        response.writeHead(200, json).end((await truth())[1]);
      },
      cut: async () => {
        response.writeHead(200, { ...json, "content-length": "5000" });
        response.write("[{", () => response.destroy());
      },
      status: async () =>
        void response.writeHead(draw.pick([200, 204, 400, 403, 413, 429, 500, 502, 503, 504])).end(
          "<html>",
        ),
      headers: async () => {
        for (let i = 0; i < 200; i++) response.setHeader(`x-${i}`, "y".repeat(draw.below(400)));
        response.writeHead(200, json).end((await truth())[1]);
      },
    };
    const name = draw.pick(Object.keys(wrongReplies));
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    await wrongReplies[name]?.();
  }

  /** Counts a request that followed a redirect. */
  async #note(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request);
    const brings = [
      ...request.headers.authorization ? ["the token"] : [],
      ...body ? [`a body`] : [],
    ];
    this.followed.push(`${request.method} with ${brings.join(" and ") || "nothing secret"}`);
    response.writeHead(200, { "content-type": "application/json" }).end("[]");
  }
}

/** JSON that is no valid answer. */
function shapeOf(draw: Draw): string {
  const answer = () => ({ result: value(draw) });
  return draw.pick([
    () => oddJson(draw).toString(),
    () => JSON.stringify(answer()),
    () => JSON.stringify(Array.from({ length: draw.below(40) }, answer)),
    () => JSON.stringify([{ error: value(draw) }]),
    () => JSON.stringify([{ result: value(draw), error: value(draw) }]),
    () => JSON.stringify({ error: "x".repeat(draw.length(1_000_000)) }),
    () => `[{"result":${"[".repeat(draw.pick([100, 100_000]))}`,
    () => `[{"result":${"9".repeat(draw.length(70_000))}}]`,
  ])();
}

/** The same answer with one part of one result replaced. */
function alteredIn(draw: Draw, answers: unknown): unknown {
  if (!Array.isArray(answers) || answers.length === 0) return answers;
  const at = draw.below(answers.length);
  return answers.map((answer, i) => {
    if (i !== at || !Array.isArray(answer?.result)) {
      return i === at ? { result: value(draw) } : answer;
    }
    return { result: altered(draw, answer.result) };
  });
}

async function endless(response: ServerResponse): Promise<void> {
  const closed = once(response, "close");
  response.writeHead(200, { "content-type": "application/json" });
  for (let sent = 0; sent < ENDLESS_BYTES && !response.destroyed; sent += PIECE.length) {
    if (!response.write(PIECE)) await Promise.race([once(response, "drain"), closed]);
  }
  const timer = setTimeout(() => response.destroy(), OPEN_MS);
  void closed.then(() => clearTimeout(timer));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
