/**
 * The building inspection: every source file against the house rules, and every rule
 * against a planted fault, so that a rule that no longer bites is noticed.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { codeOf } from "./architecture/code.ts";
import { BANS, importsOf, resolve, type SourceFile, violations } from "./architecture/rules.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDERS = ["src", "adapters", "test", "bench", "examples", "scripts", "sim", "chaos", "fuzz"];
const isSource = (path: string) => /\.(?:ts|mjs)$/.test(path);

function sources(): SourceFile[] {
  const paths = readdirSync(ROOT).filter(isSource);
  for (const folder of FOLDERS.filter((it) => existsSync(ROOT + it))) {
    for (const entry of readdirSync(ROOT + folder, { recursive: true }) as string[]) {
      const path = `${folder}/${entry.replaceAll("\\", "/")}`;
      if (isSource(path) && !path.includes("node_modules/")) paths.push(path);
    }
  }
  return paths.map((path) => ({ path, source: readFileSync(ROOT + path, "utf8") }));
}

const files = sources();

test("every file keeps the house rules", () => {
  expect(files.length).toBeGreaterThan(20);
  expect(files.flatMap(violations)).toEqual([]);
});

test("every relative import leads to a file", () => {
  const known = new Set(files.map((file) => file.path));
  const lost = files.flatMap((file) =>
    importsOf(file).filter((to) => to.startsWith(".")).map((to) => resolve(file.path, to))
      .filter((to) => isSource(to) && !known.has(to)).map((to) => `${file.path} → ${to}`)
  );
  expect(lost).toEqual([]);
});

/** All files and packages that an entry brings with it. */
function walkFrom(entry: string): { files: Set<string>; packages: string[] } {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const seen = new Set<string>();
  const packages = new Set<string>();
  const walk = (path: string) => {
    const file = byPath.get(path);
    if (!file || seen.has(path)) return;
    seen.add(path);
    for (const to of importsOf(file)) {
      if (to.startsWith(".")) walk(resolve(path, to));
      else packages.add(to.split("/")[0] as string);
    }
  };
  walk(entry);
  return { files: seen, packages: [...packages].sort() };
}

test("mod.ts pulls in no runtime, and no simulator", () => {
  const { files, packages } = walkFrom("mod.ts");
  expect(files).toContain("src/errors.ts");
  expect([...files].filter((path) => path.startsWith("sim/"))).toEqual([]);
  expect(packages).toEqual(["msgpackr", "semver"]);
});

test("testing.ts pulls in the simulator, and nothing that only tests need", () => {
  const { files, packages } = walkFrom("testing.ts");
  expect(files).toContain("sim/engine/world.ts");
  expect([...files].filter((path) => /^(?:test|bench|scripts|chaos|fuzz)\//.test(path))).toEqual(
    [],
  );
  expect(packages).toEqual(["msgpackr", "node:process", "semver"]);
});

const HEAD = "/** A file. */\n";

function trouble(path: string, code: string): string {
  return violations({ path, source: HEAD + code }).join("\n");
}

describe("each ban bites on a planted fault", () => {
  const PLANTED: Record<string, string> = {
    "Date.now": "const t = Date.now();",
    "new Date()": "const t = new Date();",
    performance: "const t = performance.now();",
    timers: "setTimeout(run, 5);",
    "AbortSignal.timeout": "const s = AbortSignal.timeout(5);",
    "Math.random": "const r = Math.random();",
    crypto: "const id = crypto.randomUUID();",
    fetch: "await fetch(url);",
    WebSocket: "new WebSocket(url);",
    Bun: "Bun.serve({});",
    Deno: "Deno.env.get(name);",
    process: "process.exit(1);",
    Buffer: "Buffer.from(bytes);",
    console: "console.log(1);",
    globalThis: "globalThis.x = 1;",
  };
  for (const { name, instead } of BANS) {
    test(name, () => {
      const code = PLANTED[name] ?? "";
      expect(trouble("src/a.ts", code)).toBe(`src/a.ts: line 2 uses ${name}: use ${instead}`);
      expect(trouble("src/a.ts", "const x = `${" + code.replaceAll(";", "") + "}`;")).toContain(
        name,
      );
      expect(trouble("adapters/store/a.ts", code)).toBe("");
      expect(trouble("src/a.ts", `// ${code}\n/* ${code} */\nconst text = '${code}';`)).toBe("");
    });
  }

  test("but not on what only looks alike", () => {
    const fine =
      "new Date(5); this.fetch(x); interface A { fetch(url: string): void } queueMicrotask(run); new AbortController(); btoa(s); " +
      "const fetched = value.process.id; a / b / Date.length; const p = /Date.now()/;";
    expect(trouble("src/a.ts", fine)).toBe("");
  });
});

test("a part of the market that could call another one is found", () => {
  const inPart = (code: string): string =>
    trouble("src/lambda/sell/listener.ts", `class ListenerPart extends Part {\n${code}\n}`);
  expect(inPart("  open() { this.desk.hire('c', new Channel(x)); }")).toBe("");
  expect(inPart("  readonly channel: Channel;")).toContain("knows a Channel: parts exchange");
  expect(inPart("  readonly seats = new Map<string, Channel>();")).toContain("knows a Channel");
  expect(trouble("src/lambda/market.ts", "const plb: PlbPart = x;")).toBe("");
});

describe("each arrow bites on a planted fault", () => {
  const PLANTED: [path: string, code: string, message: RegExp][] = [
    ["src/a.ts", 'import { x } from "../adapters/store/memory.ts";', /src\/ may only import src\//],
    ["src/a.ts", 'export * from "../mod.ts";', /may only import/],
    ["src/a.ts", 'const x = await import("../adapters/a.ts");', /may only import/],
    ["src/a.ts", 'import "../adapters/a.ts";', /may only import/],
    ["src/a.ts", 'import type { X } from "../adapters/a.ts";', /may only import/],
    ["src/a.ts", 'import {\n  x,\n  y,\n} from "../adapters/a.ts";', /may only import/],
    ["src/a.ts", 'import { readFile } from "node:fs";', /no I\/O/],
    ["src/a.ts", 'import { Database } from "bun:sqlite";', /no I\/O/],
    ["src/a.ts", 'import { Hono } from "hono";', /no I\/O/],
    ["src/model/a.ts", 'import { x } from "../ports/clock.ts";', /src\/model\/ may only/],
    ["src/ports/a.ts", 'import { x } from "../registry/lease.ts";', /src\/ports\/ may only/],
    ["src/lambda/a.ts", 'import { x } from "../resource/host.ts";', /must not import each other/],
    ["src/resource/a.ts", 'import { x } from "../lambda/plb.ts";', /must not import each other/],
    ["adapters/store/a.ts", 'import { x } from "../http/api.ts";', /adapters\/store\/ may only/],
    ["adapters/transport/a.ts", 'import { x } from "../../src/atlas.ts";', /transport\/ may only/],
    ["adapters/http/a.ts", 'import { x } from "../../test/x.ts";', /is not published/],
    ["mod.ts", 'import { x } from "./test/x.ts";', /is not published/],
    ["examples/a/app.ts", 'import { x } from "../../src/atlas.ts";', /examples\/ may only/],
    ["src/a.ts", 'import { x } from "../sim/engine/world.ts";', /src\/ may only import src\//],
    ["sim/a.ts", 'import { x } from "../adapters/http/app.ts";', /sim\/ may only/],
    ["sim/a.ts", 'import { x } from "../test/x.ts";', /is not published/],
    ["adapters/a.ts", 'import { Hono } from "npm:hono";', /bare name/],
  ];
  for (const [path, code, message] of PLANTED) {
    test(`${path}: ${code.replace(/\s+/g, " ")}`, () => {
      expect(trouble(path, code)).toMatch(message);
    });
  }

  test("but not on what is allowed", () => {
    expect(
      trouble("src/a.ts", 'import { x } from "./model/rrp.ts";\nimport { Packr } from "msgpackr";'),
    )
      .toBe("");
    expect(trouble("adapters/store/a.ts", 'import { x } from "../../src/ports/store.ts";')).toBe(
      "",
    );
    expect(trouble("src/a.ts", 'const text = `import x from "../adapters/a.ts"`;')).toBe("");
  });
});

describe("each rule of form bites on a planted fault", () => {
  test("snake_case", () => {
    expect(trouble("src/fooBar.ts", "")).toContain("fooBar.ts is not in snake_case");
    expect(trouble("src/foo-bar.ts", "")).toContain("not in snake_case");
    expect(trouble("src/Foo/bar.ts", "")).toContain("Foo is not in snake_case");
    expect(trouble("src/foo_bar.test_2.ts", "")).toBe("");
  });

  test("the opening comment", () => {
    expect(violations({ path: "src/a.ts", source: "export {};\n" })).toEqual([
      expect.stringContaining("must open with a doc comment"),
    ]);
    expect(violations({ path: "cli.ts", source: "#!/usr/bin/env bun\n/** A file. */\n" })).toEqual(
      [],
    );
  });

  test("the length", () => {
    expect(trouble("src/a.ts", "x;\n".repeat(700))).toContain("701 lines, over 700");
    expect(trouble("src/a.ts", "x;\n".repeat(399))).toBe("");
  });
});

test("code is told from comments, strings, patterns and templates", () => {
  const source =
    'a /* b */ "c // d" // e\n`f ${g + `h ${i}` + {j: "k"}.j} l`; s = /m"n/.test(o) / p / "r" / q';
  const code = codeOf(source);
  expect(code.length).toBe(source.length);
  expect(code.replace(/[^a-z]+/g, "")).toBe("agijjstestopq");
  expect(code.split("\n")).toHaveLength(2);
});
