/**
 * Peer: a bare Hono route that reads a JSON body and answers JSON of the size that Atlas answers.
 *
 * A worker. Takes the server: `bun` (Bun.serve), `node` (@hono/node-server, on Node or Deno), `deno`
 * (Deno.serve), or `none`: a TCP server that answers each packet with the same bytes, without
 * reading it, to find what the load generator can do.
 */
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { serveQuestions } from "../worker.ts";

/** The parts of Bun and Deno that are used here. */
declare const Bun: {
  serve(options: object): { port: number };
};
declare const Deno: {
  serve(options: object, handler: (request: Request) => Response | Promise<Response>): {
    addr: { port: number };
  };
};

const rrp = "rrp:bench/bench@3e6b1c8a-5f0d-4b7e-9a55-0c2f7a1d9e42/echo/wall_0";

const app = new Hono();
app.post("/v1/resources/:type/:id/:method", async (context) => {
  const [text] = await context.req.json<[string]>();
  return context.json({ result: text, rrp, epoch: 1 });
});

function listening(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  );
}

async function start(kind: string | undefined): Promise<number> {
  if (kind === "bun") {
    return Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch }).port;
  }
  if (kind === "deno") {
    return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch).addr.port;
  }
  if (kind === "node") {
    const listener = getRequestListener(app.fetch, { overrideGlobalObjects: true });
    return await listening(createServer((request, response) => void listener(request, response)));
  }
  const body = JSON.stringify({ result: "x".repeat(100), rrp, epoch: 1 });
  const answer = Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n` +
      body,
  );
  return await listening(createTcpServer({ noDelay: true }, (socket) => {
    socket.on("data", () => socket.write(answer));
    socket.on("error", () => {});
  }));
}

const port = await start(process.argv[2]);
serveQuestions({ url: `http://127.0.0.1:${port}` }, () => Promise.resolve(null));
