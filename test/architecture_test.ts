/**
 * Holds every source file and every document to the rules of the repository, and every rule to a
 * planted fault, so that a rule that no longer finds anything is noticed.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { codeOf } from "./architecture/code.ts";
import {
  chartsOf,
  citationsOf,
  deadLinks,
  deadPaths,
  diagramTroubles,
  headingsOf,
} from "./architecture/documents.ts";
import { functionsOf } from "./architecture/functions.ts";
import { browserTroubles, circlesOf, reachOf, satellitesOf } from "./architecture/graph.ts";
import {
  ARROWS,
  BANS,
  importsOf,
  PROCESSES,
  resolve,
  type SourceFile,
  STRANGERS,
  violations,
} from "./architecture/rules.ts";
import { BANNED_WORDS, wordsOfName, wordsOfText } from "./architecture/words.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDERS = ["src", "adapters", "test", "bench", "examples", "scripts", "sim", "chaos", "fuzz"];
const isSource = (path: string) => /\.(?:ts|mjs)$/.test(path);

/** Every file of the repository, from the root: what git doesn't ignore. */
function pathsOf(folder: string): string[] {
  return readdirSync(ROOT + folder, { withFileTypes: true }).flatMap((entry) => {
    const path = folder + entry.name;
    if (IGNORED.test(entry.name)) return [];
    return entry.isDirectory() ? pathsOf(`${path}/`) : [path];
  });
}

const IGNORED = /^(?:node_modules|dist|coverage|\.git|\.vite.*|\.DS_Store|.*\.tgz|.*\.log)$/;
const paths = pathsOf("");
const read = (path: string): SourceFile => ({ path, source: readFileSync(ROOT + path, "utf8") });
const files = paths.filter((path) =>
  isSource(path) && (!path.includes("/") || FOLDERS.some((folder) => path.startsWith(`${folder}/`)))
).map(read);
/** The published code: what users run, and the simulator. */
const code = files.filter(({ path }) =>
  /^(?:src|adapters|sim)\/|^[^/]+$/.test(path) && path.endsWith(".ts")
);
const pages = paths.filter((path) => path.endsWith(".md") && !path.startsWith(".")).map(read);
const places = new Set(
  paths.flatMap((path) => path.split("/").map((_, i, all) => all.slice(0, i + 1).join("/"))),
);

test("every file keeps the rules", () => {
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

/** Pure computation, without a runtime's modules. */
const PURE_PACKAGES = [
  "msgpackr/pack",
  "semver/functions/compare.js",
  "semver/functions/parse.js",
  "semver/functions/prerelease.js",
  "semver/functions/satisfies.js",
  "semver/functions/valid.js",
  "semver/ranges/valid.js",
];

test("mod.ts pulls in no runtime, and no simulator", () => {
  const { files: reached, packages } = reachOf("mod.ts", files);
  expect(reached).toContain("src/errors.ts");
  expect([...reached].filter((path) => path.startsWith("sim/"))).toEqual([]);
  expect(packages).toEqual(PURE_PACKAGES);
});

test("testing.ts pulls in the simulator, and nothing that only tests need", () => {
  const { files: reached, packages } = reachOf("testing.ts", files);
  expect(reached).toContain("sim/engine/world.ts");
  expect([...reached].filter((path) => /^(?:test|bench|scripts|chaos|fuzz)\//.test(path))).toEqual(
    [],
  );
  expect(packages).toEqual([...PURE_PACKAGES, "node:process"].sort());
});

const CLIENT = "adapters/client/client.ts";

test("the client runs in a browser", () => {
  expect(reachOf(CLIENT, files).files.size).toBeGreaterThan(40);
  expect(browserTroubles(CLIENT, files, PURE_PACKAGES)).toEqual([]);
});

test("no folder imports one that imports it", () => {
  expect(code.length).toBeGreaterThan(250);
  expect(circlesOf(code)).toEqual([]);
});

/** Small files that one file uses, and why they stand alone. */
const SMALL: Record<string, string> = {
  "adapters/cli/version.ts": "a check compares it with the package files",
  "adapters/platform/deno.ts": "an adapter, beside those of Bun and Node",
  "adapters/platform/node.ts": "an adapter, beside those of Bun and Deno",
  "src/node/market.ts": "the wiring of one room, beside that of routing",
};

test("small files that only a neighbour uses are few, and each has a reason", () => {
  expect(satellitesOf(code, SMALL)).toEqual([]);
  expect(satellitesOf(code, {}).map((it) => it.split(" ")[0])).toEqual(Object.keys(SMALL));
});

test("names and texts use the field's words", () => {
  expect(paths.flatMap(wordsOfName)).toEqual([]);
  expect(files.flatMap(wordsOfText)).toEqual([]);
});

test("comments cite sections of docs/design.md that exist", () => {
  const headings = headingsOf(read("docs/design.md").source);
  expect(headings.length).toBeGreaterThan(10);
  const citing = files.filter(({ path }) => !path.startsWith("test/architecture"));
  expect(citing.flatMap((file) => citationsOf(file, headings))).toEqual([]);
});

test("links and paths in documents lead to files", () => {
  const texts = new Map(pages.map(({ path, source }) => [path, source]));
  expect(pages.length).toBeGreaterThan(10);
  expect(pages.flatMap((page) => deadLinks(page, texts, places))).toEqual([]);
  expect(pages.flatMap((page) => deadPaths(page, places))).toEqual([]);
});

test("the diagrams of ARCHITECTURE.md show the imports that there are", () => {
  const charts = chartsOf(read("ARCHITECTURE.md").source);
  expect(charts.length).toBe(3);
  expect(charts.flatMap((chart) => diagramTroubles(chart, code))).toEqual([]);
});

test("the rules name folders, files and classes that exist", () => {
  const named = [...ARROWS.flatMap(({ from, to }) => [from, ...to]), ...STRANGERS.flat()];
  expect(named.filter((path) => !places.has(path.replace(/\/$/, "")))).toEqual([]);
  const processes = code.filter(({ path }) => path.startsWith("src/lambda/")).flatMap((
    { source },
  ) => Array.from(source.matchAll(/\bclass (\w+) extends Process\b/g), ([, name]) => name));
  expect(processes.sort()).toEqual(PROCESSES);
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

test("a process of the market that could call another one is found", () => {
  const inProcess = (code: string): string =>
    trouble("src/lambda/sell/listener.ts", `class ListenerProcess extends Process {\n${code}\n}`);
  expect(inProcess("  open() { this.context.spawn('c', new Channel(x)); }")).toBe("");
  expect(inProcess("  readonly channel: Channel;")).toContain(
    "knows a Channel: processes exchange",
  );
  expect(inProcess("  readonly all = new Map<string, Channel>();")).toContain("knows a Channel");
  expect(trouble("src/lambda/market.ts", "const plb: PlbProcess = x;")).toBe("");
});

/** Files with a head, whose code is given. */
function made(sources: Record<string, string>): SourceFile[] {
  return Object.entries(sources).map(([path, code]) => ({ path, source: HEAD + code }));
}

describe("each rule about several files bites on a planted fault", () => {
  test("a circle between folders, types included", () => {
    const files = made({
      "src/a/one.ts": 'import { x } from "../b/two.ts";',
      "src/b/two.ts": 'import { x } from "./three.ts";',
      "src/b/three.ts": 'import type { X } from "../c/four.ts";',
      "src/c/four.ts": 'export type { X } from "../a/five.ts";',
      "src/a/five.ts": "",
    });
    expect(circlesOf(files)).toEqual([
      "src/a → src/b → src/c → src/a: src/c/four.ts imports src/a/five.ts, which closes a circle",
    ]);
    expect(circlesOf(files.slice(0, 3))).toEqual([]);
  });

  test("a runtime in the client", () => {
    const plant = (code: string) =>
      browserTroubles(
        "a/client.ts",
        made({ "a/client.ts": 'import { x } from "../b/x.ts";', "b/x.ts": code, "c.ts": "Bun.x" }),
        ["semver"],
      );
    expect(plant('import { readFile } from "node:fs";')).toEqual([
      "a/client.ts reaches the module node:fs, which is not on the list for browsers",
    ]);
    expect(plant('import { Hono } from "hono";')).toHaveLength(1);
    for (const code of ["Bun.x", "Deno.env", "process.env", "Buffer.from(x)", 'require("fs")']) {
      const [name] = /\w+/.exec(code) as unknown as [string];
      expect(plant(code)).toEqual([
        `b/x.ts uses ${name}, and a/client.ts reaches it: browsers have none`,
      ]);
    }
    expect(plant('import { x } from "semver"; this.process.x; a = { require: "x" }')).toEqual([]);
  });

  test("a small file that only a neighbour uses", () => {
    const files = made({
      "src/a/one.ts": 'import "./two.ts"; import "../b/three.ts"; import "./long.ts";',
      "src/a/two.ts": "",
      "src/a/long.ts": "x;\n".repeat(60),
      "src/b/three.ts": "",
    });
    expect(satellitesOf(files, {})).toEqual([
      "src/a/two.ts has 1 lines, and only src/a/one.ts uses it: fold it in, or list it with a reason",
    ]);
    expect(satellitesOf(files, { "src/a/two.ts": "a port" })).toEqual([]);
  });

  for (const { word, instead } of BANNED_WORDS) {
    test(`the word "${word}"`, () => {
      const camel = word.replace(/ (.)/g, (_, next: string) => next.toUpperCase());
      const snake = word.replaceAll(" ", "_");
      const said = `src/a.ts:2: says "${word}": say ${instead}`;
      for (
        const code of [
          `// A ${word}.`,
          `const ${camel}Of = 1;`,
          `const ${snake.toUpperCase()} = 1;`,
        ]
      ) {
        expect(wordsOfText({ path: "src/a.ts", source: HEAD + code })).toEqual([said]);
      }
      expect(wordsOfName(`test/x/${snake}_test.ts`)).toHaveLength(1);
      expect(wordsOfText({ path: "test/a.ts", source: word })).toEqual([]);
    });
  }

  test("words that only look alike pass", () => {
    const fine =
      "of course; a third party; rolls back; indoor, shallow, trailing, broadcast, seating";
    expect(wordsOfText({ path: "src/a.ts", source: fine })).toEqual([]);
    expect(wordsOfName("docs/testing.md")).toEqual([]);
    const streams = 'draw("errands"); new SeededRandom(seed, "doors");';
    expect(wordsOfText({ path: "sim/a.ts", source: streams })).toEqual([]);
  });

  test("a section that docs/design.md lacks", () => {
    const headings = ["Claims", "Names and epochs", "State", "Calls"];
    const cite = (text: string) =>
      citationsOf({ path: "a.ts", source: `/** ${text} */` }, headings);
    expect(cite("`docs/design.md`, Claims; Names\n * and epochs. More.")).toEqual([]);
    expect(cite('docs/design.md, State and Calls; Gray, "Leases" (1989).')).toEqual([]);
    expect(cite("(docs/design.md, Claims).")).toEqual([]);
    expect(cite("`docs/design.md`, Audiences.")[0]).toContain('cites docs/design.md, "Audiences"');
    expect(cite("docs/design.md, Claims; Old section.")[0]).toContain('"Old section"');
    expect(cite("docs/design.md.")).toHaveLength(1);
  });

  test("a dead link, and a dead path", () => {
    const texts = new Map([["docs/b.md", "# One thing\n"]]);
    const known = new Set(["docs/a.md", "docs/b.md", "src/a/b.ts"]);
    const dead = (source: string) => {
      const page = { path: "docs/a.md", source };
      return [...deadLinks(page, texts, known), ...deadPaths(page, known)];
    };
    expect(dead("[b](b.md#one-thing), [c](https://x.y/z), `a/b.ts`, `app.ts`")).toEqual([]);
    expect(dead("[b](c.md)")).toEqual(["docs/a.md links to c.md, which doesn't exist"]);
    expect(dead("[b](b.md#two)")).toEqual([
      "docs/a.md links to b.md#two, and docs/b.md has no such heading",
    ]);
    expect(dead("`src/a/{b,c}.ts`")).toEqual(["docs/a.md names `src/a/c.ts`, which doesn't exist"]);
    expect(dead("`npm test -- test/x src/a/b.ts`")).toEqual([
      "docs/a.md names `test/x`, which doesn't exist",
    ]);
  });

  test("an arrow that no import goes along, and a missing one", () => {
    const files = made({
      "src/a/one.ts": 'import "../b/two.ts"; import "../model/x.ts";',
      "src/b/deep/two.ts": "",
      "src/b/two.ts": "",
      "src/model/x.ts": "",
    });
    const chart = (arrows: string) =>
      `flowchart LR\n a[src/a]\n b[src/b]\n subgraph ground\n m[src/model]\n end\n ${arrows}\n`;
    expect(diagramTroubles(chart("a --> b"), files)).toEqual([]);
    expect(diagramTroubles(chart("b --> a"), files)).toEqual([
      "the diagram has src/b --> src/a, which no import goes along",
      "the diagram lacks src/a --> src/b: src/a/one.ts imports src/b/two.ts",
    ]);
    expect(diagramTroubles(chart("a --> b\n c[src/c]"), files)).toEqual([
      "the diagram has the room src/c, which holds no file",
    ]);
  });
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
    [
      "adapters/transport/a.ts",
      'import { x } from "../../src/node/node.ts";',
      /transport\/ may only/,
    ],
    ["adapters/http/a.ts", 'import { x } from "../../test/x.ts";', /is not published/],
    ["mod.ts", 'import { x } from "./test/x.ts";', /is not published/],
    ["examples/a/app.ts", 'import { x } from "../../src/node/node.ts";', /examples\/ may only/],
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

  test("the length of a function", () => {
    const body = "x;\n".repeat(69);
    for (
      const head of [
        "function f(): A<{ b: c }>",
        "const f = () =>",
        "class A {\n async #f<T>(a = {})",
      ]
    ) {
      expect(trouble("src/a.ts", `${head} {\n${body}}\n`)).toContain("a function of 71 lines");
      expect(trouble("src/a.ts", `${head} {\n${body.slice(3)}}\n`)).toBe("");
    }
    expect(trouble("src/a.ts", `class A {\n${body}}\nif (a) {\n${body}}\n`)).toBe("");
    expect(trouble("test/a.ts", `describe("x", () => {\n${body}});`)).toBe("");
  });
});

test("functions are told from other blocks", () => {
  const source =
    "function a() {}\nif (b) {}\nconst c = d ? e(f) : { g: 1 };\nclass H { async i(): Promise<{ j: 1 }> {} }\n" +
    "for (const k of l()) { m(() => {}); }\n";
  expect(functionsOf(source).map(({ line }) => line)).toEqual([1, 4, 5]);
});

test("code is told from comments, strings, patterns and templates", () => {
  const source =
    'a /* b */ "c // d" // e\n`f ${g + `h ${i}` + {j: "k"}.j} l`; s = /m"n/.test(o) / p / "r" / q';
  const code = codeOf(source);
  expect(code.length).toBe(source.length);
  expect(code.replace(/[^a-z]+/g, "")).toBe("agijjstestopq");
  expect(code.split("\n")).toHaveLength(2);
});
