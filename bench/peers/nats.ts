/**
 * Peer: request and reply over NATS, by its own client.
 *
 * A worker. Takes `server PORT` or `client PORT`, the port of a nats-server. Answers
 * `{"do":"throughput","inFlight","seconds"}` and `{"do":"latency","count"}`.
 */
import { connect } from "@nats-io/transport-node";
import { latency, throughput } from "../kit.ts";
import { serveQuestions } from "../worker.ts";

const [role, port] = process.argv.slice(2);
const nats = await connect({ servers: `127.0.0.1:${port}` });
const TEXT = "x".repeat(100);

if (role === "server") {
  nats.subscribe("echo", {
    callback: (_error, message) => void message.respond(message.string()),
  });
  await nats.flush();
}

const call = async () => {
  const answer = await nats.request("echo", TEXT, { timeout: 10_000 });
  if (answer.string() !== TEXT) throw new Error("the echo is wrong");
};

serveQuestions({ role }, (question) => {
  if (question["do"] === "latency") return latency(call, Number(question["count"]));
  return throughput(call, Number(question["inFlight"]), Number(question["seconds"]));
});
