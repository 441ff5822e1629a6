/**
 * A served Atlas node in its own process, as a bench worker.
 *
 * Takes `NAME REGISTRY_URL`. Answers
 * - `{"do":"own","ids"}`: calls each id, so that this node owns it;
 * - `{"do":"throughput","ids","inFlight","seconds"}`: answered echo calls per second;
 * - `{"do":"latency","ids","count"}`: median microseconds, one call after the other.
 * - `{"do":"claims","prefix","count","inFlight"}`: first calls of new names per second;
 * - `{"do":"publish","capacity"}`: offers the echo module; `{"do":"discover","capacity"}`:
 *   buys all of it, and calls go to the module from then on.
 */
import { serve } from "../adapters/server/serve.ts";
import type { ModuleProxy } from "../mod.ts";
import app, { wall } from "./apps/echo.ts";
import { latency, LoopYield, rateOf, throughput } from "./kit.ts";
import { serveQuestions } from "./worker.ts";

const [name = "bench", registry = "memory:"] = process.argv.slice(2);
const node = await serve(app, {
  region: "bench",
  node: name,
  registry,
  host: "127.0.0.1",
  port: 0,
});

const TEXT = "x".repeat(100);

async function echo(id: string): Promise<void> {
  const answer = await node.resource("echo", id).echo(TEXT);
  if (answer !== TEXT) throw new Error("the echo is wrong");
}

let bought: ModuleProxy<typeof wall> | null = null;

serveQuestions({ url: node.url }, async (question) => {
  const ids = (question["ids"] ?? []) as string[];
  const stubs = ids.map((id) => node.resource("echo", id));
  const call = async (n: number) => {
    const answer = await (bought ?? stubs[n % stubs.length])?.echo(TEXT);
    if (answer !== TEXT) throw new Error("the echo is wrong");
  };
  const { inFlight, seconds, count, prefix, capacity = 1 } = question as Record<string, number>;
  switch (question["do"]) {
    case "own":
      for (const id of ids) await echo(id);
      return node.stats().resources;
    case "throughput":
      // Calls within one node do no I/O: without this pause the lease would not be renewed.
      return await throughput(
        call,
        inFlight as number,
        seconds as number,
        registry === "memory:" ? new LoopYield() : undefined,
      );
    case "latency":
      return await latency(call, count as number);
    case "publish":
      return node.publish(wall, { capacity }).name;
    case "discover":
      bought = await node.discover("wall", { capacity, waitFor: "all" });
      return bought.$plb.capacity();
    case "claims":
      return await rateOf(count as number, inFlight as number, (n) => echo(`${prefix}${n}`));
    default:
      throw new Error(`unknown request ${JSON.stringify(question)}`);
  }
});
