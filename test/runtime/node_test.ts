/**
 * node.ts as a process: it starts, prints its ready line, survives unhandled rejections, drains,
 * and refuses invalid settings with a clear error.
 *
 * Covers adapters/server/run_node.ts.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { endAll, type Program, ready, start } from "./spawn.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-node-"));
const MOD = new URL("../../mod.ts", import.meta.url).href;

beforeAll(async () => {
  const { name, version } = await detectRuntime();
  console.log(`node.ts runs on ${name} ${version}`);
});
afterEach(endAll);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function node(env: Record<string, string> = {}): Program {
  return start("node.ts", [], { PORT: "0", ATLAS_REGISTRY_URL: "memory:", ...env });
}

async function post(url: string, path: string, args: unknown[]): Promise<unknown> {
  const body = JSON.stringify(args);
  const response = await fetch(url + path, { method: "POST", body });
  return await response.json();
}

/** The exit status of a node that can't start, and its one line of output. */
async function refusal(env: Record<string, string>): Promise<[number | string, string]> {
  const program = node(env);
  const status = await program.ended;
  expect(program.output.stdout).toBe("");
  expect(program.output.stderr.trimEnd().split("\n")).toHaveLength(1);
  return [status, program.output.stderr];
}

test("on Node, compiled code is kept for the next start", async () => {
  if ((await detectRuntime()).name !== "node") return;
  const program = node();
  await ready(program);
  program.signal("SIGTERM");
  expect(await program.ended).toBe(0);
  expect(existsSync(new URL("../../node_modules/.cache/atlas/", import.meta.url))).toBe(true);
});

test("the example runs on a SQLite file, keeps its state over restarts, and drains on SIGTERM", async () => {
  const env = {
    ATLAS_REGISTRY_URL: `file:${join(folder, "a/registry.db")}`,
    ATLAS_REGION: "us-east-1",
  };
  const epochs: number[] = [];
  for (const round of [1, 2]) {
    const program = node(env);
    const line = await ready(program);
    expect(line).toEqual({
      event: "ready",
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      region: "us-east-1",
      node: expect.stringMatching(/^atlas@.+-\d+$/),
      incarnation: expect.any(String),
    });
    const path = "/v1/resources/channels/project_0:channel_0";
    const sent = await post(line.url, `${path}/send`, ["ann", "hi"]) as {
      result: { seq: number; epoch: number };
    };
    expect(sent.result.seq).toBe(round);
    epochs.push(sent.result.epoch);
    const history = await post(line.url, `${path}/history`, [round - 1]);
    expect(history).toMatchObject({ result: [{ seq: round, from: "ann", text: "hi" }] });
    expect(await post(line.url, `${path}/whereami`, [])).toMatchObject({
      result: { region: "us-east-1", node: line.node, epoch: sent.result.epoch },
    });
    program.signal("SIGTERM");
    expect(await program.ended).toBe(0);
    expect(program.output.stdout.trim().split("\n")).toHaveLength(1);
  }
  expect(epochs[1]).toBeGreaterThan(epochs[0] as number);
});

test("a SIGTERM while the registry doesn't answer ends the start without an error", async () => {
  let dials = 0;
  const mute = createServer((socket) => {
    dials++;
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = mute.address() as AddressInfo;
    const program = node({ ATLAS_REGISTRY_URL: `redis://127.0.0.1:${port}` });
    await expect.poll(() => dials, { timeout: 20_000 }).toBeGreaterThan(0);
    program.signal("SIGTERM");
    expect(await program.ended).toBe(0);
    expect(program.output.stdout).toBe("");
    const lines = program.output.stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
    expect(lines.map(({ message }) => message)).toEqual(["draining", "the start was cancelled"]);
    expect(lines[1]).toMatchObject({ level: "WARN", error: expect.stringContaining(`:${port}`) });
  } finally {
    mute.close();
  }
});

test("the example's sessions keep their channel", async () => {
  const { url } = await ready(node());
  const path = "/v1/resources/sessions/ann";
  expect(await post(url, `${path}/info`, [])).toMatchObject({ result: { channelId: null } });
  await post(url, `${path}/attach`, ["c1"]);
  expect(await post(url, `${path}/info`, [])).toMatchObject({
    result: { id: "ann", channelId: "c1" },
  });
  await post(url, `${path}/detach`, []);
  expect(await post(url, `${path}/info`, [])).toMatchObject({ result: { channelId: null } });
});

test("an unhandled rejection of user code is logged, and the node serves on", async () => {
  const app = join(folder, "careless.mts");
  writeFileSync(
    app,
    `import { defineApp, Resource } from ${JSON.stringify(MOD)};
    class Careless extends Resource {
      forget() { Promise.reject(new Error("forgotten")); setTimeout(() => { throw new Error("thrown late"); }); return 1; }
    }
    export default defineApp({ resources: { careless: Careless } });`,
  );
  const program = node({ ATLAS_APP: pathToFileURL(app).href });
  const { url } = await ready(program);
  expect(await post(url, "/v1/resources/careless/a/forget", [])).toMatchObject({ result: 1 });
  while (!/forgotten[^]*thrown late|thrown late[^]*forgotten/.test(program.output.stderr)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(await post(url, "/v1/resources/careless/b/forget", [])).toMatchObject({ result: 1 });
  program.signal("SIGINT");
  expect(await program.ended).toBe(0);
});

test("a second signal ends a drain at once", async () => {
  const app = join(folder, "slow.mts");
  writeFileSync(
    app,
    `import { defineApp, Resource } from ${JSON.stringify(MOD)};
    class Slow extends Resource {
      hang() { console.error("turn begun"); return new Promise(() => {}); }
    }
    export default defineApp({ resources: { slow: Slow } });`,
  );
  const program = node({ ATLAS_APP: app });
  const { url } = await ready(program);
  post(url, "/v1/resources/slow/a/hang", []).catch(() => {});
  const logged = async (text: string) => {
    while (!program.output.stderr.includes(text)) await new Promise((done) => setTimeout(done, 5));
  };
  await logged("turn begun");
  program.signal("SIGTERM");
  await logged("draining");
  program.signal("SIGTERM");
  expect(await program.ended).toBe(143);
});

test("logs are JSON lines on standard error, none of them when silent", async () => {
  const talkative = node({ ATLAS_LOG: "debug" });
  await ready(talkative);
  talkative.signal("SIGTERM");
  await talkative.ended;
  const lines = talkative.output.stderr.trim().split("\n").map((line) => JSON.parse(line));
  expect(lines.map(({ message }) => message)).toContain("draining");
  const silent = node({ ATLAS_LOG: "silent" });
  await ready(silent);
  silent.signal("SIGTERM");
  expect(await silent.ended).toBe(0);
  expect(silent.output.stderr).toBe("");
});

test.each([
  ["ATLAS_REGISTRY_URL", "postgres://x"],
  ["ATLAS_REGISTRY_URL", "redis://:hunter2@127.0.0.1:1/0"],
  ["ATLAS_REGISTRY_URL", "file:/dev/null/registry.db"],
  ["ATLAS_APP", "/nowhere/app.ts"],
  ["ATLAS_APP", "package.json"],
  ["ATLAS_LOG", "loud"],
  ["ATLAS_LEASE", "1/2"],
  ["ATLAS_NODE", "a b"],
  ["PORT", "http"],
])("%s=%s: one line that names it, and exit 2", async (variable, value) => {
  const [status, line] = await refusal({ [variable]: value });
  expect(status).toBe(2);
  expect(line).toContain(variable);
  expect(line).not.toContain("hunter2");
});

test("listening beyond loopback without a secret is refused", async () => {
  const [status, line] = await refusal({ ATLAS_HOST: "0.0.0.0" });
  expect(status).toBe(2);
  expect(line).toContain("ATLAS_SECRET");
});

test("a port in use is refused by name", async () => {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
  const { port } = holder.address() as { port: number };
  const [status, line] = await refusal({ PORT: String(port) });
  expect(status).toBe(2);
  expect(line).toMatch(new RegExp(`PORT is ${port}.*in use`));
  await new Promise((resolve) => holder.close(resolve));
});
