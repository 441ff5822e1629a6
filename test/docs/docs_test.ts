/**
 * Every block of code in the README and in docs/ holds: TypeScript passes the type check and runs,
 * shell commands run against real nodes and print what the page shows. How a page marks its
 * blocks: `blocks.ts`; what isn't run, and why: `NOT_RUN` in `shell.ts`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ROOT, RUNTIMES } from "../../scripts/runtimes.ts";
import { endAll, run } from "../e2e/process.ts";
import { freePort } from "../support/ports.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import { type Block, blocksOf, commandsOf, missingLines, moduleOf } from "./blocks.ts";
import { NOT_RUN, Shell } from "./shell.ts";

/** Kinds of blocks that are no code to run, and why. */
const NOT_CODE: { readonly [language: string]: string } = {
  "": "output, or a command of Redis",
  mermaid: "a picture",
  json: "parsed below",
  dockerfile: "needs Docker",
  nginx: "needs nginx",
};

const EXAMPLE = `${ROOT}examples/channels/app.ts`;
const BUN = RUNTIMES.find(({ name }) => name === "bun")?.run ?? [];
const TSC = `${ROOT}node_modules/.bin/tsc`;
const folder = mkdtempSync(join(tmpdir(), "atlas-docs-"));
afterAll(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

interface Page {
  readonly name: string;
  readonly blocks: readonly Block[];
  /** Where its modules are written. */
  readonly folder: string;
  readonly modules: readonly Module[];
}

interface Module {
  readonly name: string;
  readonly block: Block;
}

/** Writes a page's modules to a folder of its own. */
function write(name: string, text: string): Page {
  const blocks = blocksOf(text);
  const place = join(folder, name.replace(/\W/g, "_"));
  mkdirSync(place);
  const code = blocks.filter(({ language, markers }) => language === "ts" && !markers["same as"]);
  const app = code.some(({ markers }) => markers.file === "app.ts") ? "./app.ts" : EXAMPLE;
  const modules = code.map((block) => {
    const { name: file, text } = moduleOf(block, app);
    if (existsSync(join(place, file))) throw new Error(`${name} has two files ${file}`);
    writeFileSync(join(place, file), text);
    return { name: file, block };
  });
  return { name, blocks, folder: place, modules };
}

/** The files that a type check of all pages finds wrong, with what is wrong. */
function typeCheck(): string {
  writeFileSync(join(folder, "package.json"), `{"type":"module"}`);
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: `${ROOT}tsconfig.json`,
      compilerOptions: {
        declaration: false,
        isolatedDeclarations: false,
        typeRoots: [`${ROOT}node_modules/@types`],
      },
      include: ["**/*.ts"],
    }),
  );
  return spawnSync(TSC, ["-p", "."], { cwd: folder, encoding: "utf8" }).stdout;
}

/** Runs a module in a process of its own on Bun, with the nodes that it asks. @throws where it fails */
async function runModule(page: Page, { name, block }: Module, redisUrl: string): Promise<void> {
  const ports = [await freePort(), await freePort()] as const;
  const file = join(page.folder, name);
  const text = readFileSync(file, "utf8")
    .replaceAll("redis://127.0.0.1:6379", redisUrl)
    .replace(/\b808([01])\b/g, (_, at: "0" | "1") => String(ports[at]));
  const copy = file.replace(/\.ts$/, "_run.ts");
  writeFileSync(copy, text);
  const servesItself = /port: 8080/.test(block.code);
  const asks = block.markers.given !== undefined || /127\.0\.0\.1:8080/.test(block.code);
  const own = join(page.folder, "app.ts");
  const app = existsSync(own) ? own : EXAMPLE;
  const starter = file.replace(/\.ts$/, "_start.ts");
  writeFileSync(
    starter,
    [
      `import { run } from ${JSON.stringify(`${ROOT}test/docs/given.ts`)};`,
      `const { default: app } = await import(${JSON.stringify(app)});`,
      `const data = ${JSON.stringify(`${file}.data`)};`,
      `const example = () => import(${JSON.stringify(copy)});`,
      `await run(${asks && !servesItself ? "app" : "null"}, ${
        JSON.stringify(ports)
      }, data, example);`,
    ].join("\n"),
  );
  const program = run([...BUN, starter], {}, page.folder);
  const ended = await program.ended;
  if (ended !== 0) {
    throw new Error(
      `${page.name}, line ${block.line}, ended with ${ended}:\n${program.output.stderr}`,
    );
  }
}

/** Runs a page's shell blocks in their order. @throws where a command fails */
async function runCommands(page: Page): Promise<void> {
  const shell = new Shell(page.folder, [await freePort(), await freePort()]);
  try {
    for (const block of page.blocks) {
      if (block.language !== "sh") continue;
      shell.newBlock();
      for (const command of commandsOf(block)) await shell.run(command);
    }
  } finally {
    await shell.close();
  }
}

const pages = [
  "README.md",
  ...readdirSync(`${ROOT}docs`).filter((it) => it.endsWith(".md")).map((it) => `docs/${it}`),
].map((name) => write(name, readFileSync(ROOT + name, "utf8")));
const broken = write(
  "broken.md",
  '```ts\nconst n: number = "one";\nthrow new Error(String(n));\n```\n',
);

describe("the blocks of all pages", () => {
  test("each is of a kind that is tested, or is no code", () => {
    const kinds = pages.flatMap(({ name, blocks }) =>
      blocks.map(({ language, line }) => ({ language, at: `${name}:${line}` }))
    );
    expect(kinds.length).toBeGreaterThan(50);
    const known = ["ts", "sh", ...Object.keys(NOT_CODE)];
    expect(kinds.filter(({ language }) => !known.includes(language))).toEqual([]);
  });

  test("TypeScript passes the type check, in which a planted mistake is found", () => {
    const found = typeCheck().split("\n").filter((line) => line !== "");
    expect(found.filter((line) => !line.startsWith("broken_md/"))).toEqual([]);
    expect(found.join()).toContain("broken_md/line_2.ts(1,7): error TS2322");
  });

  test("JSON can be parsed", () => {
    const texts = pages.flatMap(({ blocks }) =>
      blocks.filter(({ language }) => language === "json")
    );
    for (const { code } of texts) JSON.parse(code);
  });

  test("a block that shows a file of the repository is the same", () => {
    const same = pages.flatMap(({ blocks }) => blocks.filter(({ markers }) => markers["same as"]));
    expect(same).toHaveLength(2);
    for (const { code, markers } of same) {
      const source = readFileSync(ROOT + markers["same as"], "utf8")
        .replaceAll('"../../testing.ts"', '"@atlas-edge/atlas/testing"')
        .replaceAll('"../../mod.ts"', '"@atlas-edge/atlas"')
        .replaceAll('"../../examples/channels/app.ts"', '"./app.ts"');
      expect(code).toBe(source);
    }
  });

  test("each reason not to run a command is needed", () => {
    const all = pages.flatMap(({ blocks }) => blocks.filter(({ language }) => language === "sh"))
      .flatMap(commandsOf);
    const idle = NOT_RUN.filter(([command]) => !all.some(({ text }) => command.test(text)));
    expect(idle).toEqual([]);
  });

  test("the README begins with the set-up, and gives each command that .ci/prove runs by it", () => {
    const [readme] = pages;
    const first = readme?.blocks.find(({ language }) => language === "sh") as Block;
    expect(commandsOf(first).map(({ text }) => text)).toEqual(["npm ci", "npm start", "npm cit"]);
    expect(readme?.blocks[0]).toBe(first);
    const proof = readFileSync(`${ROOT}.ci/prove`, "utf8");
    const given = [...proof.matchAll(/^.*\b(?:readme|serves) "([^"$]+)"/gm)].map(([, text]) =>
      text
    );
    expect(given).toContain("npm ci && npm start");
    const text = readFileSync(`${ROOT}README.md`, "utf8");
    expect(given.filter((command = "") => !text.includes(command))).toEqual([]);
  });

  test("each link to a page, and to a heading in it, leads somewhere", () => {
    const lost = pages.flatMap(({ name }) => {
      const text = readFileSync(ROOT + name, "utf8");
      return [...text.matchAll(/\]\(([^)#\s]*)(?:#([^)\s]+))?\)/g)]
        .filter(([, file = ""]) => !file.includes(":"))
        .filter(([, file = "", anchor]) => {
          const target = file === "" ? ROOT + name : join(dirname(ROOT + name), file);
          if (!existsSync(target)) return true;
          return anchor !== undefined && !headings(readFileSync(target, "utf8")).includes(anchor);
        })
        .map(([link]) => `${name}: ${link}`);
    });
    expect(lost).toEqual([]);
  });
});

/** The anchors of a page's headings, as GitHub makes them. */
function headings(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

const tried = pages.filter(({ blocks, modules }) =>
  modules.length > 0 || blocks.some(({ language }) => language === "sh")
);

describe.each(tried)("the examples of $name", (page) => {
  for (const module of page.modules) {
    const { line, markers } = module.block;
    test(`TypeScript of line ${line} runs`, async ({ skip }) => {
      const needsRedis = markers.needs === "redis";
      if (needsRedis && redisMissing !== null) skip(redisMissing);
      const redis = needsRedis ? await startRedis() : null;
      try {
        await runModule(page, module, redis?.url ?? "");
      } finally {
        await redis?.close();
      }
    });
  }

  if (page.blocks.some(({ language }) => language === "sh")) {
    test("its commands run, and print what it shows", async () => {
      await runCommands(page);
    });
  }
});

describe("a page that is wrong", () => {
  const SHELL: readonly (readonly [page: string, error: RegExp])[] = [
    ['curl http://127.0.0.1:8080/healthz\n# {"state":"asleep"}', /printed .*serving/],
    ["curl http://127.0.0.1:8080/v1/no-route", /ended with 22/],
    ["npx atlas nodes --colour", /--colour/],
    ["npm run nothing", /npm has no npm run nothing/],
    ["ATLAS_LEASE=short npm start", /ATLAS_LEASE/],
    ["ATLAS_LEASES=fast npm start", /the reference has no ATLAS_LEASES/],
    ["rm -r /nowhere", /say in NOT_RUN why/],
  ];

  test.each(SHELL)("is found by its command %j", async (text, error) => {
    const blocks = blocksOf(`\`\`\`sh\n${text}\n\`\`\`\n`);
    const page = { ...broken, blocks };
    await expect(runCommands(page)).rejects.toThrow(error);
  });

  test("is found by its TypeScript", async () => {
    const [module] = broken.modules;
    await expect(runModule(broken, module as Module, "")).rejects.toThrow(/error: one/i);
  });

  test("is found by a marker that there isn't, and by a block that isn't closed", () => {
    expect(() => blocksOf("<!-- fiel: app.ts -->\n```ts\n```\n")).toThrow(/no marker "fiel"/);
    expect(() => blocksOf("```ts\n")).toThrow(/isn't closed/);
  });

  test("is found by an import that the package hasn't", () => {
    const [block] = blocksOf('```ts\nimport "@atlas-edge/atlas/nothing";\n```\n');
    expect(() => moduleOf(block as Block, EXAMPLE)).toThrow(/no export "\/nothing"/);
  });
});

test("… in an expected line stands for anything, and nothing else does", () => {
  expect(missingLines(['{"a":"…","b":1}'], 'x\n{"a":"zz","b":1}\r\n')).toEqual([]);
  expect(missingLines(["a.c", "d"], "abc\nd")).toEqual(["a.c"]);
});
