/**
 * A node that watches its app's file, on each runtime: callers that never stop, and edits to the
 * module, one of them broken.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { ROOT } from "../../scripts/runtimes.ts";
import { type Answer, ask } from "./calls.ts";
import { endAll, runScript, type RuntimeName, startNode } from "./process.ts";
import { until } from "../support/until.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "atlas-e2e-"));
});
afterEach(endAll);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/**
 * The URL of a file as an import names it: its path may contain characters that a specifier can't.
 */
function urlOf(path: string): string {
  return JSON.stringify(pathToFileURL(path).href);
}

/** An app whose module answers with `word`. */
function source(version: string, word: string): string {
  return `
    import { defineApp, defineModule } from ${urlOf(`${ROOT}mod.ts`)};
    const greet = defineModule({
      version: "${version}",
      capacity: 4,
      functions: { hello: async (name) => (await null, "${word}, " + name) },
    });
    export default defineApp({ modules: { greet } });
  `;
}

/** The answer of a caller whose connection broke. */
const LOST: Answer = { status: 0, body: {} };

function hello(url: string): Promise<Answer> {
  return ask(url, "/v1/modules/greet/hello?version=%5E1", { method: "POST", body: '["Ann"]' });
}

test.for<RuntimeName>(["bun", "deno", "node"])(
  "edits of a module's file under load fail no call on %s",
  async (runtime) => {
    const path = join(folder, `${runtime}.mjs`);
    writeFileSync(path, source("1.0.0", "Hello"));
    const { url, output } = await startNode({
      runtime,
      env: {
        ATLAS_REGISTRY_URL: "memory:",
        ATLAS_APP: path,
        ATLAS_WATCH: "1",
        ATLAS_NODE: "watcher",
      },
    });
    const answers: Answer[] = [];
    let isOver = false;
    const caller = async () => {
      while (!isOver) answers.push(await hello(url).catch(() => LOST));
    };
    const callers = Promise.all(Array.from({ length: 8 }, caller));
    const says = (text: string) =>
      until(() => answers.at(-1)?.body.result === text, `callers hear ${text}`);
    try {
      await says("Hello, Ann");

      writeFileSync(path, source("1.1.0", "Welcome"));
      await says("Welcome, Ann");

      const logged = output.stderr.length;
      writeFileSync(path, "export default defineApp({ modules: { greet: oh no");
      const isTold = () => output.stderr.includes("was not reloaded", logged);
      await until(isTold, "the broken edit is told");
      await says("Welcome, Ann");

      writeFileSync(path, source("1.1.1", "Good day"));
      await says("Good day, Ann");
    } finally {
      isOver = true;
      await callers;
    }
    expect(answers.filter(({ status }) => status !== 200), "no call failed").toEqual([]);
    const versions = new Set(answers.map(({ body }) => body.version));
    expect([...versions]).toEqual(["1.0.0", "1.1.0", "1.1.1"]);
  },
);

test.for<RuntimeName>(["bun", "deno", "node"])(
  "an edit at the moment when the watch begins is loaded on %s",
  async (runtime) => {
    const path = join(folder, `early-${runtime}.mjs`);
    writeFileSync(path, source("1.0.0", "Hello"));
    const script = join(folder, `serves-${runtime}.mjs`);
    writeFileSync(
      script,
      `
      import { writeFileSync } from "node:fs";
      import { serve } from ${urlOf(`${ROOT}adapters/server/serve.ts`)};
      import app from ${urlOf(path)};
      const onEvent = ({ event }) => {
        if (event === "watching the app") {
          writeFileSync(${JSON.stringify(path)}, ${JSON.stringify(source("1.1.0", "Welcome"))});
        }
        if (event === "the app was reloaded") console.log(event);
      };
      await serve(app, { watch: ${
        JSON.stringify(path)
      }, registry: "memory:", node: "early", port: 0, onEvent });
      `,
    );
    const { output } = runScript(runtime, script);
    await until(() => output.stdout.includes("the app was reloaded"), "the edit is seen");
  },
);

test("the example's calc module is served by default, and called from a terminal", async () => {
  const { url } = await startNode({
    runtime: "bun",
    cwd: folder,
    env: { ATLAS_REGISTRY_URL: "memory:", ATLAS_NODE: "default" },
  });
  const modules = async () => (await ask(url, "/v1/modules")).body.modules;
  await expect.poll(modules, { timeout: 20_000 }).toMatchObject([{
    name: "calc",
    capacity: 2,
    sellers: [{ node: "default" }],
  }]);
  const words = async (...words: string[]): Promise<string> => {
    const program = runScript("node", "cli.ts", { ATLAS_URL: url }, [...words, "--json"]);
    expect(await program.ended, program.output.stderr).toBe(0);
    return program.output.stdout;
  };
  const [listed, asked, exchanges, authorities] = await Promise.all([
    words("modules"),
    words("request", "calc", "pi", "5"),
    words("exchange", "calc"),
    words("authorities"),
  ]);
  expect(listed).toContain("calc");
  expect(asked).toContain("3.14159");
  expect(exchanges).toContain('"sell"');
  expect(authorities).toContain("default");
  const unknown = runScript("node", "cli.ts", { ATLAS_URL: url }, ["request", "calc", "tau"]);
  expect(await unknown.ended).toBe(1);
  expect(unknown.output.stderr).toContain("not_found");
});
