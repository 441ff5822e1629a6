/**
 * The HTTP Redis of the bench, in its own process, used by both sides. Takes the port of a Redis
 * and a token; prints its URL once it listens.
 */
import process from "node:process";
import { upstashProtocol } from "../test/upstash/protocol.ts";
import { serveQuestions } from "./worker.ts";

/** The part of Bun's server that is used here. */
declare const Bun: {
  serve(options: {
    hostname: string;
    port: number;
    fetch(request: Request): Response | Promise<Response>;
  }): { port: number };
};

const [redisPort, token] = process.argv.slice(2) as [string, string];
const { app } = upstashProtocol({ redisPort: Number(redisPort), token });
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: app.fetch });

serveQuestions({ url: `http://127.0.0.1:${server.port}` }, async () => null);
