/**
 * Reads the fenced blocks of a page, and makes whole modules and commands of them.
 *
 * A marker is an HTML comment in the line before a block; pages use these:
 *
 * - `<!-- file: app.ts -->`: the block is that file; blocks of the same page may import it.
 * - `<!-- given: node atlas -->`: the names stand for a node and a client that run the page's
 *   `app.ts`, or the example of channels where the page has none.
 * - `<!-- inside: class -->`: the block is the body of a class that extends `Resource`.
 * - `<!-- needs: redis -->`: the block runs where a Redis can be started.
 * - `<!-- same as: test/x_test.ts -->`: the block is that file of the repository, word for word.
 */
import { readFileSync } from "node:fs";
import { ROOT } from "../../scripts/runtimes.ts";

const MARKERS = ["file", "given", "inside", "needs", "same as"] as const;
type Marker = (typeof MARKERS)[number];

export interface Block {
  readonly language: string;
  readonly code: string;
  /** Line of the page where the code begins, from 1. */
  readonly line: number;
  readonly markers: { readonly [marker in Marker]?: string };
}

/** All blocks of a page. @throws where a marker is unknown or a block isn't closed */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split("\n");
  let open: { fence: string; language: string; from: number } | null = null;
  lines.forEach((line, at) => {
    const [, indent = "", language = ""] = /^( *)```(\w*)$/.exec(line) ?? [];
    if (open === null) {
      if (/^ *```/.test(line)) open = { fence: `${indent}\`\`\``, language, from: at + 1 };
      return;
    }
    if (line !== open.fence) return;
    const { fence, from } = open;
    const code = lines.slice(from, at).map((it) => it.slice(fence.length - 3)).join("\n") + "\n";
    const markers = markersOf(lines[from - 2] ?? "", from);
    blocks.push({ language: open.language, code, line: from + 1, markers });
    open = null;
  });
  if (open !== null) throw new Error("a block isn't closed");
  return blocks;
}

function markersOf(line: string, at: number): Block["markers"] {
  const [, name, value = ""] = /^ *<!-- ([a-z ]+): (.+) -->$/.exec(line) ?? [];
  if (name === undefined) return {};
  if ((MARKERS as readonly string[]).includes(name)) return { [name]: value };
  throw new Error(`line ${at}: there is no marker ${JSON.stringify(name)}`);
}

/** The package's own names, and the files of the repository that they stand for. */
const EXPORTS: { readonly [name: string]: { readonly bun?: string } } =
  JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")).exports;

/** `code` with the package's names replaced by the repository's files. */
export function withLocalImports(code: string): string {
  return code.replace(/"@atlas-edge\/atlas([\w/]*)"/g, (_, path: string) => {
    const file = EXPORTS[`.${path}`]?.bun;
    if (file === undefined) throw new Error(`the package has no export ${JSON.stringify(path)}`);
    return JSON.stringify(ROOT + file.slice("./".length));
  });
}

const GIVEN: { readonly [name: string]: string } = {
  node: `const node = (globalThis as unknown as { given: Given<typeof $app> }).given.node;`,
  atlas: `const atlas = (globalThis as unknown as { given: Given<typeof $app> }).given.atlas;`,
};

/** The name and the text of the module that a block is; `app`: the import of the page's app. */
export function moduleOf(block: Block, app: string): { name: string; text: string } {
  const { file, given, inside } = block.markers;
  const name = file ?? `line_${block.line}.ts`;
  let text = block.code;
  if (inside !== undefined) {
    if (inside !== "class") throw new Error(`line ${block.line}: inside: ${inside} is unknown`);
    text = `import { Resource } from "@atlas-edge/atlas";\n` +
      `export class Sample extends Resource {\n${text}}\n`;
  }
  if (given !== undefined) {
    const names = given.split(" ").map((it) => {
      const line = GIVEN[it];
      if (line === undefined) throw new Error(`line ${block.line}: given: ${it} is unknown`);
      return line;
    });
    text = `import type $app from ${JSON.stringify(app)};\n` +
      `import type { Given } from ${JSON.stringify(`${ROOT}test/docs/given.ts`)};\n` +
      `${names.join("\n")}\n${text}`;
  }
  return { name, text: withLocalImports(`${text}export {};\n`) };
}

/** One command of a shell block, and the lines that it should print. */
export interface Command {
  readonly text: string;
  /** With `…` for anything. */
  readonly expected: readonly string[];
}

/** The commands of a shell block: comments dropped, `a && b` as two. */
export function commandsOf(block: Block): Command[] {
  const commands: { text: string; expected: string[] }[] = [];
  for (const line of block.code.replaceAll("\\\n", " ").split("\n")) {
    const [, shown] = /^# (.*)$/.exec(line) ?? [];
    if (shown !== undefined) commands.at(-1)?.expected.push(shown);
    else {
      for (const part of line.replace(/\s+# .*$/, "").split(" && ")) {
        const text = part.replace(/\s+/g, " ").trim();
        if (text !== "") commands.push({ text, expected: [] });
      }
    }
  }
  return commands;
}

/** The expected lines that no line of `output` matches. */
export function missingLines(expected: readonly string[], output: string): string[] {
  const lines = output.split(/\r?\n/);
  return expected.filter((line) => {
    const parts = line.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`^${parts.join(".*")}$`, "i");
    return !lines.some((it) => pattern.test(it.trim()));
  });
}
