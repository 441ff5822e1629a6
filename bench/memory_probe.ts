/**
 * A scale for one process: weighs it empty, fills it, weighs it again.
 *
 * Takes `atlas|bare COUNT`; prints `{"bytesEach"}`. Weight is resident memory after
 * forced collections, the system's own view: nothing that a runtime hides is left out.
 */
import process from "node:process";
import { createNode, inProcessTransport, memoryStore } from "../mod.ts";
import app from "./apps/echo.ts";
import { rateOf } from "./kit.ts";
import { serveQuestions } from "./worker.ts";

const [what, countText] = process.argv.slice(2);
const count = Number(countText);
const name = (n: number) => `project_${n}:wall`;

/** What the user's own part of a resource would be without Atlas. */
class Bare {
  echo(text: string): string {
    return text;
  }
}

function collect(): void {
  const runtime = globalThis as { Bun?: { gc(force: boolean): void }; gc?: () => void };
  for (let i = 0; i < 5; i++) {
    runtime.Bun?.gc(true);
    runtime.gc?.();
  }
}

async function settled(): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 5; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 100));
    least = Math.min(least, process.memoryUsage().rss);
  }
  return least;
}

async function bare(): Promise<number> {
  const before = await settled();
  const things = new Map<string, Bare>();
  for (let n = 0; n < count; n++) things.set(name(n), new Bare());
  const after = await settled();
  if (things.size !== count) throw new Error("the objects are gone");
  return (after - before) / count;
}

async function atlas(): Promise<number> {
  const node = await createNode(app, {
    region: "bench",
    node: "scale",
    store: memoryStore(),
    transport: inProcessTransport(),
  });
  const activate = (id: string) => node.resource("echo", id).echo("hello");
  await rateOf(1_000, 16, (n) => activate(`warm_${n}`));
  const before = await settled();
  await rateOf(count, 16, (n) => activate(name(n)));
  const after = await settled();
  if (node.stats().resources < count) throw new Error("resources were let go too early");
  return (after - before) / count;
}

const bytesEach = what === "bare" ? await bare() : await atlas();
serveQuestions({ bytesEach }, () => Promise.resolve(null));
