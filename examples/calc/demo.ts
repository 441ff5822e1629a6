/**
 * A demonstration of modules.
 *
 * `bun run examples/calc/demo.ts` (Deno and Node run it too) publishes `calc` with a capacity of 2,
 * discovers it, makes 100 calls at once, and shows that 2 of them run at a time. Then it starts a
 * second node, on another runtime if one is installed, and shows that 4 calls run at a time. It
 * prints its measurements, deletes its files, and exits with 1 if a number is wrong.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { serve } from "../../adapters/server/serve.ts";
import { type App, defineApp, defineModule, type Module, type ModuleProxy } from "../../mod.ts";
import { calc } from "./calc.ts";

const CALLS = 100;
/** Enough digits that a call takes several slices of work. */
const DIGITS = 8_000;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** `.ts` from source, `.js` in the built package: the second node runs files of the same kind. */
const EXTENSION = import.meta.url.slice(-3);

const folder = mkdtempSync(join(tmpdir(), "atlas-calc-"));
const registry = `file:${join(folder, "registry.db")}`;
const children: ChildProcess[] = [];
const say = (line: string): void => console.log(line);

type Calc = typeof calc extends Module<infer F> ? Module<F> : never;

/** Declares the types of calc. It names no capacity, so the node doesn't offer calc by itself. */
const app: App<Record<never, never>, { calc: Calc }> = defineApp({
  modules: { calc: defineModule({ functions: calc.functions }) },
});

// The environment may have settings for the user's own nodes. They must not affect these.
for (const name of Object.keys(process.env)) {
  if (name.startsWith("ATLAS_")) delete process.env[name];
}

try {
  await run();
} catch (error) {
  console.error(`the demonstration failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

async function run(): Promise<void> {
  const first = await serve(app, { registry, port: 0, node: "first", onEvent: () => {} });
  try {
    say(`node.publish(calc, { capacity: 2 })          on ${nameOfThis()}`);
    first.publish(calc, { name: "calc", capacity: 2 });
    say(`const calc = await node.discover("calc", { capacity: 4, version: "^1" })`);
    const proxy = await first.discover("calc", { capacity: 4, version: "^1" });
    say(`await calc.pi(30)                            ${await proxy.pi(30)}\n`);
    const two = await burst(proxy);
    if (two > 2) throw new Error(`${two} calls ran at once on a capacity of 2`);

    const runtime = otherRuntime();
    say(`\na second node starts, with a capacity of 2    on ${runtime.name}`);
    await start(runtime.command);
    await until(() => proxy.$plb.stats().granted === 4, "capacity of the second node");
    say("the proxy asked for 4, so it buys these 2 without a further call\n");
    const four = await burst(proxy);
    if (four !== 4) throw new Error(`at most ${four} calls ran at once on a capacity of 4`);
    await proxy.$plb.close();
  } finally {
    await first.close();
  }
}

/** Makes all calls at once. Returns the largest number of them that ran at a time. */
async function burst(proxy: ModuleProxy<Calc>): Promise<number> {
  let most = 0;
  const watching = setInterval(() => most = Math.max(most, proxy.$plb.stats().running), 1);
  const began = performance.now();
  const answers = await Promise.all(
    Array.from({ length: CALLS }, () => proxy.$plb.call("pi", [DIGITS], { timeoutMs: 120_000 })),
  );
  const seconds = (performance.now() - began) / 1_000;
  clearInterval(watching);
  const shares = new Map<string, number>();
  for (const { node: name } of answers) shares.set(name, (shares.get(name) ?? 0) + 1);
  say(`${CALLS} calls of calc.pi(${DIGITS}) at once:`);
  say(`  finished      ${answers.length}, ${(answers.length / seconds).toFixed(1)} a second`);
  say(`  at most       ${most} at a time`);
  say(`  answered by   ${[...shares].map(([name, count]) => `${name}: ${count}`).join(", ")}`);
  return most;
}

/** Starts a node that offers calc, and waits for its ready line. */
function start(command: readonly string[]): Promise<void> {
  const [binary, ...args] = command as [string, ...string[]];
  const child = spawn(binary, [...args, join(ROOT, `node${EXTENSION}`)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      PORT: "0",
      ATLAS_NODE: "second",
      ATLAS_REGISTRY_URL: registry,
      ATLAS_APP: join(ROOT, "examples", "calc", `app${EXTENSION}`),
      ATLAS_LOG: "error",
    },
  });
  children.push(child);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the second node ended with ${code}`)));
    createInterface({ input: child.stdout }).once("line", () => resolve());
  });
}

function nameOfThis(): string {
  if ("Bun" in globalThis) return "Bun";
  return "Deno" in globalThis ? "Deno" : "Node";
}

/** Another runtime in `node_modules` or the `PATH`; this runtime if there is no other. */
function otherRuntime(): { name: string; command: readonly string[] } {
  const others = [["Bun", "bun", "run"], ["Deno", "deno", "run", "-A"]] as const;
  for (const [name, binary, ...args] of others) {
    if (name === nameOfThis()) continue;
    const local = join(ROOT, "node_modules", ".bin", binary);
    const path = existsSync(local) ? local : binary;
    if (spawnSync(path, ["--version"]).status === 0) return { name, command: [path, ...args] };
  }
  const args = nameOfThis() === "Deno" ? ["run", "-A"] : [];
  return { name: nameOfThis(), command: [process.execPath, ...args] };
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const giveUp = performance.now() + 30_000;
  while (!isTrue()) {
    if (performance.now() > giveUp) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
