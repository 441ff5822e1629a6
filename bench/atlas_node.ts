/**
 * A served Atlas node in its own process, as a bench worker.
 *
 * Takes `NAME REGISTRY_URL`. Answers
 * - `{"do":"own","what","ids"}`: calls each id, so that this node owns it, or knows its owner;
 * - `{"do":"throughput","what","ids","inFlight","seconds"}`: the load that its calls reached;
 * - `{"do":"latency","what","ids","count"}`: median microseconds, one call after the other;
 * - `{"do":"lookups","ids","seconds"}`: lookups per second, one after the other;
 * - `{"do":"claims","prefix","count","inFlight"}`: first calls of new names per second;
 * - `{"do":"publish","capacity"}`: offers the echo module; `{"do":"discover","capacity"}`: buys all
 *   of it.
 *
 * `what` is called: `echo` (default), `note`, which writes, or `wall`, the module.
 */
import { serve } from "../adapters/server/serve.ts";
import type { ModuleProxy } from "../mod.ts";
import app, { wall } from "./apps/echo.ts";
import { latency, LoopYield, rateOf, throughput, tight } from "./kit.ts";
import { serveQuestions } from "./worker.ts";

process.env["ATLAS_LOG"] ??= "warning";
const [name = "bench", registry = "memory:"] = process.argv.slice(2);
const node = await serve(app, {
  region: "bench",
  node: name,
  registry,
  host: "127.0.0.1",
  port: 0,
});

const TEXT = "x".repeat(100);
let bought: ModuleProxy<typeof wall> | null = null;

/** The call of one id: `echo`, `note` or `wall`. */
function callOf(what: unknown, id: string): () => Promise<string> {
  if (what === "note") {
    const note = node.resource("note", id);
    return () => note.keep(TEXT);
  }
  if (what === "wall") return () => (bought as ModuleProxy<typeof wall>).echo(TEXT);
  const echo = node.resource("echo", id);
  return () => echo.echo(TEXT);
}

async function checked(call: (() => Promise<string>) | undefined): Promise<void> {
  if (await call?.() !== TEXT) throw new Error("the answer is wrong");
}

serveQuestions({ url: node.url }, async (question) => {
  const { do: job, what } = question;
  const ids = (question["ids"] ?? []) as string[];
  const calls = job === "lookups" ? [] : ids.map((id) => callOf(what, id));
  const call = (n: number) => checked(calls[n % calls.length]);
  const { inFlight = 1, seconds = 1, count = 1, prefix, capacity = 1 } = question as Record<
    string,
    number
  >;
  switch (job) {
    case "own":
      await rateOf(calls.length, 256, call);
      return node.stats().resources;
    case "throughput":
      // Calls within one node do no I/O: without this pause the lease would not be renewed.
      return await throughput(
        call,
        inFlight,
        seconds,
        registry === "memory:" ? new LoopYield() : undefined,
      );
    case "latency":
      return await latency(call, count);
    case "lookups":
      return await tight((n) => node.lookup("echo", ids[n % ids.length] as string), seconds);
    case "publish":
      return node.publish(wall, { capacity }).name;
    case "discover":
      bought = await node.discover("wall", { capacity, waitFor: "all" });
      return bought.$plb.capacity();
    case "claims":
      return await rateOf(count, inFlight, (n) => checked(callOf(what, `${prefix}${n}`)));
    default:
      throw new Error(`unknown request ${JSON.stringify(question)}`);
  }
});
