/**
 * Upstash's REST protocol in front of a real Redis, as a Hono app.
 *
 * It takes HTTP requests and gives `{"result"}` or `{"error"}`: `POST /` one command; `POST
 * /pipeline` several, each by itself; `POST /multi-exec` several as one transaction; `POST
 * /subscribe/<channel>` messages as server-sent events. A wrong token is answered with 401, another
 * method with 405, an error of Redis with 400 (in a list it takes the place of the command's
 * result). With `Upstash-Encoding: base64` texts are encoded at any depth, but neither a top-level
 * status `OK`, nor numbers, nulls and errors.
 */
import { type Context, Hono } from "hono";
import { plain, type Reply, RespConnection } from "./resp.ts";

export interface ProtocolOptions {
  /** The port of the Redis, on loopback. */
  redisPort: number;
  token: string;
}

export interface Protocol {
  readonly app: Hono;
  close(): void;
}

type Command = readonly string[];
type Json = string | number | null | Json[];
type Answer = { result: Json } | { error: string };
interface Outcome {
  readonly status: 200 | 400;
  readonly body: Answer | Answer[];
}

/** The app; it opens its connections to Redis when it first needs them. */
export function upstashProtocol({ redisPort, token }: ProtocolOptions): Protocol {
  const redis = new Redis(redisPort);
  const app = new Hono();
  app.use(async (context, next) => {
    if (context.req.method !== "POST") return context.json({ error: "Method Not Allowed" }, 405);
    if (context.req.header("authorization") !== `Bearer ${token}`) {
      return context.json({ error: "WRONGPASS invalid or missing auth token" }, 401);
    }
    await next();
    const seen = context.req.header("upstash-sync-token");
    if (seen !== undefined) context.header("upstash-sync-token", seen);
  });
  const route = (run: (body: unknown, encode: (reply: Reply) => Answer) => Promise<Outcome>) => {
    return async (context: Context) => {
      const base64 = context.req.header("upstash-encoding") === "base64";
      const { status, body } = await run(
        await bodyOf(context),
        (reply) => answerOf(reply, base64),
      );
      return context.json(body, status);
    };
  };
  app.post("/", route((body, encode) => single(redis, body, encode)));
  app.post("/pipeline", route((body, encode) => pipeline(redis, body, encode)));
  app.post("/multi-exec", route((body, encode) => multiExec(redis, body, encode)));
  app.post("/subscribe/:channel", (context) => subscribe(redis, context.req.param("channel")));
  app.onError((error, context) => context.json({ error: error.message }, 500));
  app.notFound((context) => context.json({ error: "Not Found" }, 404));
  return { app, close: () => redis.close() };
}

/** The connections: one for all plain commands, one for each transaction and subscription. */
class Redis {
  readonly #port: number;
  readonly #all = new Set<RespConnection>();
  #shared: RespConnection | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  get shared(): RespConnection {
    if (!this.#shared?.open) this.#shared = this.another();
    return this.#shared as RespConnection;
  }

  another(): RespConnection {
    const connection = new RespConnection(this.#port);
    this.#all.add(connection);
    return connection;
  }

  end(connection: RespConnection): void {
    connection.close();
    this.#all.delete(connection);
  }

  close(): void {
    for (const connection of this.#all) connection.close();
  }
}

async function bodyOf(context: Context): Promise<unknown> {
  try {
    return JSON.parse(await context.req.text());
  } catch {
    return undefined;
  }
}

/** A command's parts as text, or null if it isn't a command. */
function commandOf(body: unknown): Command | null {
  const fine = Array.isArray(body) && body.length > 0 &&
    body.every((part) => ["string", "number", "boolean"].includes(typeof part));
  return fine ? body.map(String) : null;
}

function commandsOf(body: unknown): Command[] | null {
  if (!Array.isArray(body) || body.length === 0) return null;
  const commands = body.map(commandOf);
  return commands.every((command) => command !== null) ? commands : null;
}

const UNREADABLE: Outcome = { status: 400, body: { error: "ERR failed to parse command" } };

async function single(
  redis: Redis,
  body: unknown,
  encode: (reply: Reply) => Answer,
): Promise<Outcome> {
  const command = commandOf(body);
  if (command === null) return UNREADABLE;
  const answer = encode(await redis.shared.call(...command));
  return { status: "error" in answer ? 400 : 200, body: answer };
}

async function pipeline(
  redis: Redis,
  body: unknown,
  encode: (reply: Reply) => Answer,
): Promise<Outcome> {
  const commands = commandsOf(body);
  if (commands === null) return UNREADABLE;
  const { shared } = redis;
  const replies = await Promise.all(commands.map((command) => shared.call(...command)));
  return { status: 200, body: replies.map(encode) };
}

async function multiExec(
  redis: Redis,
  body: unknown,
  encode: (reply: Reply) => Answer,
): Promise<Outcome> {
  const commands = commandsOf(body);
  if (commands === null) return UNREADABLE;
  const connection = redis.another();
  try {
    const replies = await Promise.all(
      [["MULTI"], ...commands, ["EXEC"]].map((command) => connection.call(...command)),
    );
    const done = replies.at(-1) as Reply;
    if (done.kind === "list") return { status: 200, body: done.items.map(encode) };
    return { status: 400, body: { error: String(plain(done)) } };
  } finally {
    redis.end(connection);
  }
}

function subscribe(redis: Redis, channel: string): Response {
  const connection = redis.another();
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      const push = (reply: Reply): void =>
        controller.enqueue(encoder.encode(`data: ${(plain(reply) as unknown[]).join(",")}\n\n`));
      connection.onPush = push;
      connection.call("SUBSCRIBE", channel).then(push, (error) => controller.error(error));
    },
    cancel: () => redis.end(connection),
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}

/** One reply as it stands in a body. */
function answerOf(reply: Reply, base64: boolean): Answer {
  if (reply.kind === "error") return { error: reply.text };
  if (reply.kind === "status" && reply.text === "OK") return { result: "OK" };
  return { result: jsonOf(reply, base64) };
}

function jsonOf(reply: Reply, base64: boolean): Json {
  switch (reply.kind) {
    case "number":
      return reply.value;
    case "nil":
      return null;
    case "list":
      return reply.items.map((item) => jsonOf(item, base64));
    default: {
      const bytes = reply.kind === "text" ? Buffer.from(reply.bytes) : Buffer.from(reply.text);
      return bytes.toString(base64 && reply.kind !== "error" ? "base64" : "utf8");
    }
  }
}
