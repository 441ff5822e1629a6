/**
 * Measures the memory that one more idle object takes in a process that holds many.
 *
 * Takes `atlas|bare COUNT`; prints `{"bytesEach"}`. Fills to a quarter of COUNT, then to COUNT, and
 * divides the difference of resident memory after forced collections by the difference of the
 * numbers of objects. So what is paid once (code, caches, the heap's first pages) isn't counted.
 * Tables grow by doubling: at both sizes, which differ by a power of two, they are equally full.
 */
import process from "node:process";
import { createNode, inProcessTransport, memoryStore } from "../mod.ts";
import app from "./apps/echo.ts";
import { LoopYield, rateOf } from "./kit.ts";
import { collect, settled } from "./resident.ts";
import { serveQuestions } from "./worker.ts";

const [what, countText] = process.argv.slice(2);
const count = Number(countText);
const name = (n: number) => `project_${n}:wall`;

/** The user's own part of a resource, without Atlas. */
class Bare {
  echo(text: string): string {
    return text;
  }
}

const turn = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Makes `n` objects by `make` in batches, and collects garbage after each, as if idle objects had
 * accumulated over hours. In one burst the garbage would grow the heap as well, and no runtime
 * gives that memory back at once.
 */
async function fill(
  from: number,
  to: number,
  make: (n: number) => Promise<unknown>,
): Promise<void> {
  const batch = 5_000;
  for (let done = from; done < to; done += batch) {
    await rateOf(Math.min(batch, to - done), 16, (i) => make(done + i), new LoopYield());
    collect();
    await turn(0);
  }
}

async function bare(): Promise<number> {
  const objects = new Map<string, Bare>();
  const make = (id: string) => Promise.resolve(objects.set(id, new Bare()));
  return await measure(make, () => objects.size);
}

async function atlas(): Promise<number> {
  const node = await createNode(app, {
    region: "bench",
    node: "scale",
    store: memoryStore(),
    transport: inProcessTransport(),
  });
  const make = (id: string) => node.resource("echo", id).echo("hello");
  return await measure(make, () => node.stats().resources);
}

/** Bytes that one more object takes, between a quarter of `count` and `count` objects. */
async function measure(
  make: (id: string) => Promise<unknown>,
  held: () => number,
): Promise<number> {
  const few = count / 4;
  await fill(0, few, (n) => make(name(n)));
  const before = await settled();
  await fill(few, count, (n) => make(name(n)));
  const after = await settled();
  if (held() !== count) throw new Error("some were released during the measurement");
  return (after - before) / (count - few);
}

const bytesEach = what === "bare" ? await bare() : await atlas();
serveQuestions({ bytesEach }, () => Promise.resolve(null));
