/**
 * Peer: Moleculer, a microservice framework for Node.
 *
 * A worker. `server PORT OTHER_PORT` offers `echo.echo` over the TCP transporter;
 * `client PORT OTHER_PORT` calls it from another process; `local` calls it in its own.
 * Answers `{"do":"throughput","inFlight","seconds"}` and `{"do":"latency","count"}`.
 */
import { ServiceBroker } from "moleculer";
import { latency, LoopYield, throughput } from "../kit.ts";
import { serveQuestions } from "../worker.ts";

const [role = "local", port = "0", otherPort = "0"] = process.argv.slice(2);
const other = role === "server" ? "client" : "server";

const broker = new ServiceBroker({
  nodeID: role,
  logger: false,
  transporter: role === "local" ? null : {
    type: "TCP",
    options: {
      udpDiscovery: false,
      port: Number(port),
      urls: [`127.0.0.1:${port}/${role}`, `127.0.0.1:${otherPort}/${other}`],
    } as object,
  },
});

if (role !== "client") {
  broker.createService({
    name: "echo",
    actions: { echo: (context: { params: { text: string } }) => context.params.text },
  });
}
await broker.start();
if (role === "client") await broker.waitForServices("echo", 20_000, 50);

const TEXT = "x".repeat(100);
const call = async () => {
  const answer = await broker.call("echo.echo", { text: TEXT });
  if (answer !== TEXT) throw new Error("the echo is wrong");
};

serveQuestions({ role }, (question) => {
  if (question["do"] === "latency") return latency(call, Number(question["count"]));
  const loopYield = role === "local" ? new LoopYield() : undefined;
  return throughput(call, Number(question["inFlight"]), Number(question["seconds"]), loopYield);
});
