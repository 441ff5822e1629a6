/**
 * A node's log on this runtime: errors of user code with key, method and stack, lines that name the
 * node and the trace, and no lines of the runtime itself; also if a program calls `serve`. Also the
 * signal of a terminal that closes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { endAll, type Program, ready, start } from "./spawn.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-logs-"));
const MOD = new URL("../../mod.ts", import.meta.url).href;
const SERVE = new URL("../../adapters/server/serve.ts", import.meta.url).href;
const TRACE = "0af7651916cd43dd8448eb211c80319c";

const APP = join(folder, "app.mts");
writeFileSync(
  APP,
  `import { defineApp, defineModule, Resource } from ${JSON.stringify(MOD)};
  class Room extends Resource {
    async onStart() { if (this.id === "unstartable") throw new Error("thrown in onStart"); }
    onStop() { throw new Error("thrown in onStop"); }
    onConnect() { throw new Error("thrown in onConnect"); }
    async boom() { throw new Error("thrown in a method"); }
    ok() { return 1; }
  }
  const late = async () => { await null; throw new Error("thrown in a later function"); };
  export default defineApp({
    resources: { rooms: { class: Room, idleAfterMs: 50 } },
    modules: { sums: defineModule({ version: "2.0.0", capacity: 1, functions: {
      bad() { throw new Error("thrown in a function"); },
      late,
    } }) },
  });`,
);

afterEach(endAll);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Line = Record<string, unknown>;

/** The lines of a log. Fails if one is not a JSON line of Atlas. */
const linesOf = ({ output }: Program): Line[] =>
  output.stderr.split("\n").slice(0, -1).map((line) => JSON.parse(line));

const post = (url: string, path: string, headers: Record<string, string> = {}) =>
  fetch(url + path, { method: "POST", body: "[]", headers });

test("errors of user code are logged with key, method and stack, and the node's name", async () => {
  const program = start("node.ts", [], {
    PORT: "0",
    ATLAS_REGISTRY_URL: `file:${join(folder, "registry.db")}`,
    ATLAS_REGION: "us-east-1",
    ATLAS_NODE: "hop@one",
    ATLAS_APP: pathToFileURL(APP).href,
  });
  const { url } = await ready(program);
  const traceparent = `00-${TRACE}-b7ad6b7169203331-01`;
  await post(url, "/v1/resources/rooms/a/boom", { traceparent });
  await post(url, "/v1/resources/rooms/unstartable/ok");
  await post(url, "/v1/modules/sums/bad");
  await post(url, "/v1/modules/sums/late");
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/connect/rooms/b`);
  await new Promise((resolve) => socket.onclose = resolve);
  const lineOf = (event: string, text: string): Line | undefined =>
    linesOf(program).find(({ message, stack }) => message === event && `${stack}`.includes(text));
  const common = { region: "us-east-1", node: "hop@one", level: "ERROR" };
  const wanted: [event: string, text: string, fields: Line][] = [
    ["method threw", "thrown in a method", { key: "rooms/a", method: "boom", traceId: TRACE }],
    ["onStart failed", "thrown in onStart", { key: "rooms/unstartable", method: "onStart" }],
    ["onStop failed", "thrown in onStop", { key: "rooms/a", method: "onStop" }],
    ["method threw", "thrown in onConnect", { key: "rooms/b", method: "onConnect" }],
    ["function threw", "thrown in a function", { key: "sums", method: "bad", version: "2.0.0" }],
    ["function threw", "thrown in a later function", { key: "sums", method: "late" }],
  ];
  for (const [event, text, fields] of wanted) {
    await until(() => lineOf(event, text), `${event}: ${text}`);
    expect(lineOf(event, text)).toMatchObject({ ...common, ...fields });
    expect(lineOf(event, text)?.["stack"]).toMatch(/app\.mts/);
  }
  program.signal("SIGTERM");
  expect(await program.ended).toBe(0);
  for (const line of linesOf(program)) {
    expect(line, JSON.stringify(line)).toMatchObject({ region: "us-east-1", node: "hop@one" });
  }
});

test("a node writes nothing but its own lines on standard error", async () => {
  const program = start("node.ts", [], { PORT: "0", ATLAS_REGISTRY_URL: "memory:" });
  const { url } = await ready(program);
  // Calls, one of them aborted by its caller, HEAD, a socket, and an invalid upgrade.
  await post(url, "/v1/resources/channels/a/whereami");
  const gone = new AbortController();
  const given = fetch(`${url}/v1/resources/channels/a/history`, {
    method: "POST",
    body: new ReadableStream({ start: () => void 0 }),
    signal: gone.signal,
    duplex: "half",
  } as RequestInit).catch(() => {});
  gone.abort();
  await given;
  await fetch(`${url}/v1/nodes`, { method: "HEAD" });
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/connect/channels/a`);
  await new Promise((resolve) => socket.onmessage = resolve);
  socket.close();
  program.signal("SIGTERM");
  expect(await program.ended).toBe(0);
  expect(linesOf(program).every((line) => line["logger"] === "atlas")).toBe(true);
});

test("a terminal that closes drains its node like SIGTERM", async () => {
  const program = start("node.ts", [], { PORT: "0", ATLAS_REGISTRY_URL: "memory:" });
  await ready(program);
  program.signal("SIGHUP");
  expect(await program.ended).toBe(0);
  expect(linesOf(program)).toContainEqual(
    expect.objectContaining({ message: "draining", signal: "SIGHUP" }),
  );
});

/** Runs a user's program that serves the app; gives its standard error. */
async function embedded(
  name: string,
  logs: "" | "before" | "after",
  env: Record<string, string> = {},
): Promise<Program> {
  const file = join("test/runtime/fixtures", "embed.ts");
  const words = [SERVE, pathToFileURL(APP).href, logs];
  const program = start(file, words, env);
  expect(await program.ended, `${name}: ${program.output.stderr}`).toBe(0);
  return program;
}

test("serve() in a program logs on standard error, from the level ATLAS_LOG on", async () => {
  const program = await embedded("default", "");
  const threw = linesOf(program).find(({ message }) => message === "method threw");
  expect(threw).toMatchObject({ key: "rooms/x", method: "boom", region: "local" });
  expect(threw?.["node"]).toMatch(/^atlas@.+-\d+$/);
  const levels = new Set(linesOf(program).map(({ level }) => level));
  expect(levels).toContain("INFO");
  const quiet = await embedded("quiet", "", { ATLAS_LOG: "error" });
  expect(linesOf(quiet).map(({ level }) => level)).toEqual(
    linesOf(quiet).map(() => "ERROR"),
  );
  expect(linesOf(quiet).length).toBeGreaterThan(0);
  expect((await embedded("silent", "", { ATLAS_LOG: "silent" })).output.stderr).toBe("");
});

test("a program that configures LogTape, before or after, gets the records there only", async () => {
  for (const when of ["before", "after"] as const) {
    const program = await embedded(when, when);
    expect(program.output.stdout).toMatch(/method threw.*rooms\/x/);
    expect(program.output.stderr).not.toContain("method threw");
  }
});
