/**
 * `npm run demo`: runs the README's examples on real processes.
 *
 * Without a name it runs the example of resources: it starts a node each on Bun, Deno and Node over
 * one SQLite file, calls a channel through all of them, kills its owner, and shows which node takes
 * over. `npm run demo -- calc` runs the example of modules, `examples/calc/demo.ts`. Removes
 * everything afterwards. Exits with 1 on failure, 2 for an unknown name.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "../adapters/client/client.ts";
import type app from "../examples/channels/app.ts";
import { ROOT, type RuntimeCommand, RUNTIMES } from "./runtimes.ts";

interface DemoNode {
  readonly name: string;
  readonly url: string;
  readonly child: ChildProcess;
}

const [example, ...more] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "atlas-demo-"));
const nodes: DemoNode[] = [];
// The user's own settings are meant for other nodes.
for (const name of Object.keys(process.env)) {
  if (name.startsWith("ATLAS_")) delete process.env[name];
}
const say = (line: string): void => console.log(line);

try {
  if (example === undefined) await play();
  else if (example === "calc" && more.length === 0) await import("../examples/calc/demo.ts");
  else {
    console.error("usage: npm run demo [-- calc]");
    process.exitCode = 2;
  }
} catch (error) {
  console.error(`the demo failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  for (const { child } of nodes) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

async function play(): Promise<void> {
  say("Three nodes share one SQLite file:");
  for (const runtime of RUNTIMES) {
    const node = await start(runtime);
    nodes.push(node);
    say(`  ${node.name.padEnd(5)} ${node.url}`);
  }
  say("\nEach node sends a message to the channel “lobby”:");
  for (const node of nodes) await send(node, `hello from ${node.name}`);
  const before = await lobby(nodes[0] as DemoNode).whereami();
  say(`\nThe channel has one owner: ${before.rrp}, epoch ${before.epoch}.`);
  const owner = nodes.find(({ name }) => name === before.node) as DemoNode;
  const others = nodes.filter((node) => node !== owner);
  say(`\nkill -9 ${owner.child.pid} (${owner.name}, the owner), then the next calls:`);
  owner.child.kill("SIGKILL");
  const started = performance.now();
  for (const node of others) await send(node, `${node.name} calls again`);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const after = await lobby(others[0] as DemoNode).whereami();
  say(`\n${seconds} s later its owner is ${after.rrp}, epoch ${after.epoch}, with all messages:`);
  for (const { seq, from, text } of await lobby(others[0] as DemoNode).history()) {
    say(`  ${seq}  ${from}: ${text}`);
  }
}

function lobby({ url }: DemoNode) {
  const atlas = connect<typeof app>(url);
  const idempotencyKey = crypto.randomUUID();
  return atlas.resource("channels", "lobby", { idempotencyKey, timeoutMs: 30_000 });
}

async function send(node: DemoNode, text: string): Promise<void> {
  const { seq, epoch } = await lobby(node).send("demo", text);
  say(`  through ${node.name.padEnd(5)} message ${seq}, epoch ${epoch}`);
}

/** Starts a node and waits for its ready line. */
function start(runtime: RuntimeCommand): Promise<DemoNode> {
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
