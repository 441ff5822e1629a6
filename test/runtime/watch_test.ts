/**
 * ATLAS_WATCH=1, in a process of the runtime that runs the test: modules take new code while the
 * node serves, running calls finish on the old code, and a file that doesn't load changes nothing.
 *
 * Covers adapters/app_loader/watch_app.ts.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve } from "../../adapters/server/serve.ts";

import { endAll, type Program, ready, start } from "./spawn.ts";
import { until } from "../support/until.ts";

const MOD = new URL("../../mod.ts", import.meta.url).href;
const RELOADED = "the app was reloaded";
const REFUSED = "the app was not reloaded, its former code stays in use";

const folder = mkdtempSync(join(tmpdir(), "atlas wätch-"));
let program: Program;
let url: string;

/** Writes a file as editors do: a new file replaces the old one. */
function write(name: string, text: string): void {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

/** The app's file, with `modules` as source text. */
function writeApp(modules: string): void {
  write(
    "app.ts",
    `import { defineApp, Resource } from ${JSON.stringify(MOD)};
    import { module } from "./lib/module.ts";
    import { alone } from "./alone.ts";
    import type { Unused } from "./never_run.ts";
    class Sayer extends Resource { say() { return "as at the start"; } }
    export default defineApp({ resources: { sayers: Sayer }, modules: { ${modules} } });`,
  );
}

function writeDeep(text: string): void {
  write("lib/deep.ts", `export const deep: string = ${text};`);
}

/** Log lines of this kind so far; the runtimes' own lines are ignored. */
function eventsNamed(event: string): Record<string, string>[] {
  return program.output.stderr.split("\n").slice(0, -1).filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line)).filter(({ message }) => message === event);
}

/** Makes a change, and waits for one more log line of this kind. */
async function after(event: string, change: () => void): Promise<Record<string, string>> {
  const before = eventsNamed(event).length;
  change();
  await until(() => eventsNamed(event).length > before, event);
  return eventsNamed(event)[before] as Record<string, string>;
}

async function post(path: string): Promise<Record<string, unknown>> {
  return await (await fetch(`${url}/v1/${path}`, { method: "POST", body: "[]" })).json();
}

async function offered(): Promise<Record<string, number>> {
  const { modules } = await (await fetch(`${url}/v1/modules`)).json() as {
    modules: { name: string; capacity: number }[];
  };
  return Object.fromEntries(modules.map(({ name, capacity }) => [name, capacity]));
}

beforeAll(async () => {
  mkdirSync(join(folder, "lib"));
  write("never_run.ts", "throw new Error('this was run');");
  writeDeep('"one"');
  write(
    "lib/module.ts",
    `import { defineModule } from ${JSON.stringify(MOD)};
    import { deep } from "./deep.ts";
    const shared = globalThis as { release?: () => void };
    const held = () => new Promise<void>((done) => shared.release = done);
    export const module = (version: string, capacity: number, word: string) => defineModule({
      version, capacity, functions: {
        say: () => word + " " + deep,
        wait: async () => { await held(); return word + " " + deep; },
        release: () => { shared.release?.(); return shared.release !== undefined; },
      },
    });`,
  );
  write(
    "alone.ts",
    `import { defineModule } from ${JSON.stringify(MOD)};
    export const alone = defineModule({ capacity: 1, functions: { say: () => "alone" } });`,
  );
  writeApp('a: module("1.0.0", 2, "a"), alone');
  // A configuration in a parent folder may say otherwise.
  write("package.json", '{"type":"module"}');
  program = start("node.ts", [], {
    PORT: "0",
    ATLAS_REGISTRY_URL: "memory:",
    ATLAS_APP: join(folder, "app.ts"),
    ATLAS_WATCH: "1",
  });
  ({ url } = await ready(program));
});
afterAll(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

test("an indirectly imported file changes: new calls run the new code, running ones end on the old", async () => {
  expect(await post("modules/a/say")).toMatchObject({ result: "a one" });
  const running = post("modules/a/wait");
  const fields = await after(RELOADED, () => writeDeep('"two"'));
  expect(fields).toMatchObject({ updated: "a", published: "", closed: "" });
  await until(
    async () => (await post("modules/a/say"))["result"] === "a two",
    "new calls run the new code",
  );
  expect(eventsNamed("old code dropped")).toHaveLength(0);
  await until(async () => (await post("modules/a/release"))["result"] === true, "the release");
  expect(await running).toMatchObject({ result: "a one" });
  await until(() => eventsNamed("old code dropped").length === 1, "the old code is dropped");
});

test("a file that doesn't load or is no app changes nothing, and is logged in one line", async () => {
  // If there are several syntax errors, the line has the first.
  for (const bad of ['"thr', "oh no;\n\nconst = 5", "(() => { throw new Error('on load'); })()"]) {
    const { error, at } = await after(REFUSED, () => writeDeep(bad));
    expect(error).toMatch(/./);
    expect(error).not.toContain("errors building");
    expect(at).toMatch(/^lib\/deep\.ts:[1-3]$/);
    expect(await post("modules/a/say")).toMatchObject({ result: "a two" });
  }
  await after(RELOADED, () => writeDeep('"three"'));
  await until(async () => (await post("modules/a/say"))["result"] === "a three", "it is mended");
  const { error } = await after(REFUSED, () => write("app.ts", "export default 1;"));
  expect(error).toContain("defineApp");
  expect(await post("modules/a/say")).toMatchObject({ result: "a three" });
});

test("modules are added, changed and removed with their file, and unchanged ones are left alone", async () => {
  const both = 'a: module("1.1.0", 2, "a"), b: module("1.0.0", 3, "b"), alone';
  const first = await after(RELOADED, () => writeApp(both));
  expect(first).toMatchObject({ updated: "a", published: "b", closed: "" });
  await until(async () => (await post("modules/a/say"))["version"] === "1.1.0", "version 1.1.0");
  expect(await post("modules/b/say")).toMatchObject({ result: "b three" });
  expect(await offered()).toEqual({ a: 2, b: 3, alone: 1 });

  const second = await after(RELOADED, () => writeApp('b: module("1.0.0", 1, "b"), alone'));
  expect(second).toMatchObject({ updated: "b", published: "", closed: "a" });
  await until(async () => JSON.stringify(await offered()) === '{"alone":1,"b":1}', "a is gone");
  expect(await post("modules/alone/say")).toMatchObject({ result: "alone" });
  expect(await post("resources/sayers/s/say")).toMatchObject({ result: "as at the start" });
});

test("the watched path must be a file", async () => {
  const app = { resources: {} };
  const gone = join(folder, "nope.ts");
  for (const watch of [gone, new URL(`file://${gone}`), folder, "file://elsewhere/app.ts"]) {
    await expect(serve(app, { registry: "memory:", port: 0, watch })).rejects.toMatchObject({
      code: "bad_request",
      message: `watch is ${JSON.stringify(String(watch))}: there is no such file`,
    });
  }
});

test("a program that passes its app must name the app's file", async () => {
  const app = { resources: {} };
  await expect(serve(app, { registry: "memory:", port: 0, watch: true })).rejects.toMatchObject({
    code: "bad_request",
    message: expect.stringMatching(/^ATLAS_WATCH is 1.*watch: <path>/),
  });
});
