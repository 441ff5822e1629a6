/**
 * `npm run demo`: runs the README's examples on real processes. `npm run demo -- calc` runs the one
 * of modules, examples/calc/demo.ts; without a name, the one of resources:
 *
 * starts a node each on Bun, Deno and Node over one SQLite file, calls a channel through all of
 * them, kills its owner, and shows which node takes over. Removes everything afterwards. Exits with
 * 1 on failure, 2 for an unknown name.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "../adapters/client/client.ts";
import type app from "../examples/channels/app.ts";
import { ROOT, type RuntimeCommand, RUNTIMES } from "./runtimes.ts";

interface Actor {
  readonly name: string;
  readonly url: string;
  readonly child: ChildProcess;
}

const [story, ...more] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "atlas-demo-"));
const actors: Actor[] = [];
// The user's own settings are meant for other nodes than these.
for (const name of Object.keys(process.env)) {
  if (name.startsWith("ATLAS_")) delete process.env[name];
}
const say = (line: string): void => console.log(line);

try {
  if (story === undefined) await play();
  else if (story === "calc" && more.length === 0) await import("../examples/calc/demo.ts");
  else {
    console.error("usage: npm run demo [-- calc]");
    process.exitCode = 2;
  }
} catch (error) {
  console.error(`the demo ended badly: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  for (const { child } of actors) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

async function play(): Promise<void> {
  say("Three nodes share one SQLite file:");
  for (const runtime of RUNTIMES) {
    const actor = await start(runtime);
    actors.push(actor);
    say(`  ${actor.name.padEnd(5)} ${actor.url}`);
  }
  say("\nEach is asked to send to the channel “lobby”:");
  for (const actor of actors) await send(actor, `hello from ${actor.name}`);
  const before = await lobby(actors[0] as Actor).whereami();
  say(`\nIt lives in one place only: ${before.rrp}, epoch ${before.epoch}.`);
  const owner = actors.find(({ name }) => name === before.node) as Actor;
  const others = actors.filter((actor) => actor !== owner);
  say(`\nkill -9 ${owner.child.pid} (${owner.name}, the owner), and on with the next call:`);
  owner.child.kill("SIGKILL");
  const started = performance.now();
  for (const actor of others) await send(actor, `${actor.name} goes on`);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const after = await lobby(others[0] as Actor).whereami();
  say(`\n${seconds} s later it lives at ${after.rrp}, epoch ${after.epoch}, with all it was told:`);
  for (const { seq, from, text } of await lobby(others[0] as Actor).history()) {
    say(`  ${seq}  ${from}: ${text}`);
  }
}

function lobby({ url }: Actor) {
  const atlas = connect<typeof app>(url);
  const idempotencyKey = crypto.randomUUID();
  return atlas.resource("channels", "lobby", { idempotencyKey, timeoutMs: 30_000 });
}

async function send(actor: Actor, text: string): Promise<void> {
  const { seq, epoch } = await lobby(actor).send("demo", text);
  say(`  through ${actor.name.padEnd(5)} message ${seq}, epoch ${epoch}`);
}

/** Starts a node and waits for its ready line. */
function start(runtime: RuntimeCommand): Promise<Actor> {
  const [binary, ...args] = runtime.run as [string, ...string[]];
  const child = spawn(binary, [...args, "node.ts"], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "ignore"],
    env: {
      ...process.env,
      PORT: "0",
      ATLAS_NODE: runtime.name,
      ATLAS_REGISTRY_URL: `file:${join(folder, "registry.db")}`,
      ATLAS_LEASE: "fast",
    },
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${runtime.name} ended with ${code}`)));
    createInterface({ input: child.stdout }).once("line", (line) => {
      const { url } = JSON.parse(line) as { url: string };
      resolve({ name: runtime.name, url, child });
    });
  });
}
