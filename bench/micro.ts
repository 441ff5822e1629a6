/**
 * Measures single steps in a process of their own.
 *
 * A worker. Answers
 * - `{"do":"map","ids","seconds"}`: gets of a bare Map behind a promise, per second;
 * - `{"do":"pick","channels","seconds"}`: choices of a channel by weight, in ns;
 * - `{"do":"spend","channels","seconds"}`: such choices, each of which also spends a credit and gets
 *   it back, in ns;
 * - `{"do":"array","channels","seconds"}`: evenly random choices from an array, in ns.
 */
import { ChannelPool } from "../src/lambda/buy/channel_pool.ts";
import type { ModuleCall } from "../src/lambda/buy/module_call.ts";
import { tight } from "./kit.ts";
import { serveQuestions } from "./worker.ts";

/** The credit of each channel. */
const GRANT = 16;

function poolOf(channels: number): ChannelPool {
  const pool = new ChannelPool("none", () => "bench", Math.random);
  const label = { version: "1.0.0", hash: "bench", exports: ["echo"] };
  for (let i = 0; i < channels; i++) {
    // The pool reads no other fields of these.
    const opened = {
      address: `channel_${i}`,
      listener: `listener_${i}`,
      contact: { region: "bench", node: `seller_${i}` },
      label,
      grant: GRANT,
      rttMs: 1,
    } as unknown as Parameters<ChannelPool["add"]>[0];
    views.push(pool.add(opened, pool));
  }
  for (const view of views) pool.credit(view, GRANT);
  return pool;
}

const views: ReturnType<ChannelPool["add"]>[] = [];
let pool: ChannelPool | undefined;

/** Nanoseconds of one `step`, repeated for about `seconds`. */
function perStep(seconds: number, step: () => void): number {
  const start = performance.now();
  let done = 0;
  let now = start;
  while (now < start + seconds * 1_000) {
    for (let i = 0; i < 10_000; i++) step();
    done += 10_000;
    now = performance.now();
  }
  return (now - start) * 1e6 / done;
}

serveQuestions({}, async (question) => {
  const { channels = 1, seconds = 1 } = question as Record<string, number>;
  const ids = (question["ids"] ?? []) as string[];
  if (question["do"] === "map") {
    const map = new Map(ids.map((id) => [`echo/${id}`, { id }]));
    const get = async (type: string, id: string) => map.get(`${type}/${id}`);
    return await tight((n) => get("echo", ids[n % ids.length] as string), seconds);
  }
  if (question["do"] === "pick") {
    const from = pool ??= poolOf(channels);
    return perStep(seconds, () => {
      if (!from.pick("echo")) throw new Error("no channel has credit");
    });
  }
  if (question["do"] === "spend") {
    const from = pool ??= poolOf(channels);
    const call = {} as ModuleCall;
    return perStep(seconds, () => {
      const view = from.pick("echo");
      if (!view) throw new Error("no channel has credit");
      from.spend(view, call);
      view.calls.take(call.id);
      from.credit(view, view.allowed + 1);
    });
  }
  const array = Array.from({ length: channels }, (_, i) => ({ i }));
  let sum = 0;
  const took = perStep(seconds, () => sum += array[Math.floor(Math.random() * channels)]?.i ?? 0);
  if (sum < 0) throw new Error("the sum is wrong");
  return took;
});
