/**
 * The architecture rules, applied to one file at a time.
 *
 * Takes a file's path from the root and its source; gives what is wrong with it, in sentences that
 * say what to do instead. Rules about several files are in `graph.ts` and `documents.ts`.
 */
import { codeOf } from "./code.ts";
import { functionsOf } from "./functions.ts";

export interface SourceFile {
  /** From the root, with `/`. */
  readonly path: string;
  readonly source: string;
}

interface Ban {
  readonly pattern: RegExp;
  readonly name: string;
  readonly instead: string;
}

/** What the core may not use, because the simulator must control it. */
export const BANS: readonly Ban[] = [
  ban(/\bDate\s*\.\s*now\b/, "Date.now", "Clock.wall() of src/ports/clock.ts"),
  ban(/\bnew\s+Date\s*(?:\(\s*\)|(?!\s*\())/, "new Date()", "Clock.wall() of src/ports/clock.ts"),
  ban(/\bperformance\b/, "performance", "Clock.now() of src/ports/clock.ts"),
  ban(/\bset(?:Timeout|Interval|Immediate)\b/, "timers", "Clock.after() of src/ports/clock.ts"),
  ban(
    /\bAbortSignal\s*\.\s*timeout\b/,
    "AbortSignal.timeout",
    "Clock.after() of src/ports/clock.ts",
  ),
  ban(/\bMath\s*\.\s*random\b/, "Math.random", "Random.next() of src/ports/random.ts"),
  ban(/\bcrypto\b/, "crypto", "Random.uuid() of src/ports/random.ts"),
  ban(/(?<![.\w])fetch\s*\((?!\s*\w+\??\s*:)/, "fetch", "Transport of src/ports/transport.ts"),
  ban(/\bnew\s+WebSocket\b/, "WebSocket", "Transport of src/ports/transport.ts"),
  ban(/(?<![.\w])Bun\s*\./, "Bun", "Runtime of src/ports/runtime.ts"),
  ban(/(?<![.\w])Deno\s*\./, "Deno", "Runtime of src/ports/runtime.ts"),
  ban(/(?<![.\w])process\s*\./, "process", "NodeOptions, filled in by adapters/server"),
  ban(/(?<![.\w])Buffer\b/, "Buffer", "Uint8Array"),
  ban(/(?<![.\w])console\s*\./, "console", "NodeOptions.onEvent"),
  ban(/\bglobalThis\b/, "globalThis", "a port"),
];

function ban(pattern: RegExp, name: string, instead: string): Ban {
  return { pattern, name, instead };
}

/** The packages that the core may import: pure computation only. */
const CORE_PACKAGES = ["msgpackr", "semver"];
const MAX_LINES = 700;
/** A test's groups and steps are functions, too, and may be longer. */
const MAX_FUNCTION_LINES = 70;

/** Which folders may import which. The first entry whose `from` starts the path applies. */
export const ARROWS: readonly { from: string; to: readonly string[] }[] = [
  { from: "src/model/", to: ["src/model/", "src/time/", "src/errors.ts", "src/limits.ts"] },
  { from: "src/ports/", to: ["src/ports/", "src/model/", "src/errors.ts", "src/limits.ts"] },
  { from: "src/", to: ["src/"] },
  {
    from: "adapters/store/",
    to: ["adapters/store/", "src/ports/", "src/model/", "src/errors.ts", "src/limits.ts"],
  },
  {
    from: "adapters/transport/",
    to: [
      "adapters/transport/",
      "adapters/system/clock.ts",
      "src/api/node.ts",
      "src/ports/",
      "src/model/",
      "src/errors.ts",
      "src/limits.ts",
    ],
  },
  { from: "adapters/", to: ["adapters/", "src/", "mod.ts"] },
  {
    from: "examples/",
    // What a user's program may import: the package's entries.
    to: ["examples/", "mod.ts", "adapters/server/serve.ts", "adapters/client/client.ts"],
  },
  {
    from: "sim/",
    to: [
      "sim/",
      "src/",
      "adapters/system/async_context.ts",
      "adapters/store/",
      "adapters/transport/in_process.ts",
    ],
  },
  { from: "testing.ts", to: ["sim/"] },
];

/** Folders that are not published. */
const OURS = /^(?:test|bench|scripts|chaos|fuzz)\//;

/** Folders of the core that must not import each other. */
export const STRANGERS: readonly (readonly [from: string, to: string])[] = [
  ["src/lambda/", "src/resource/"],
  ["src/resource/", "src/lambda/"],
];

/** The processes of the module market, which only exchange messages. */
export const PROCESSES: readonly string[] = [
  "Authority",
  "Bootstrap",
  "Broker",
  "Channel",
  "Exchange",
  "ListenerProcess",
  "PlbProcess",
  "ScatterGather",
];

/** All that is wrong with a file. */
export function violations(file: SourceFile): string[] {
  return [
    ...nameOf(file),
    ...shapeOf(file),
    ...arrowsOf(file),
    ...bansOf(file),
    ...callsOf(file),
  ]
    .map((trouble) => `${file.path}: ${trouble}`);
}

function nameOf({ path }: SourceFile): string[] {
  return path.split("/").filter((part) => !/^[a-z0-9_]+(?:\.[a-z0-9_]+)*$/.test(part))
    .map((part) => `${part} is not in snake_case`);
}

function shapeOf({ path, source }: SourceFile): string[] {
  const troubles = [];
  if (!/^(?:#![^\n]*\n)?\/\*\*/.test(source)) {
    troubles.push(
      "must open with a doc comment of one to four plain sentences: what it is for, what it takes and gives",
    );
  }
  const lines = source.trimEnd().split("\n").length;
  if (lines > MAX_LINES) {
    troubles.push(`has ${lines} lines, over ${MAX_LINES}: split it by purpose`);
  }
  if (!path.startsWith("test/")) {
    for (const { line, lines } of functionsOf(source)) {
      if (lines <= MAX_FUNCTION_LINES) continue;
      troubles.push(
        `line ${line} opens a function of ${lines} lines, over ${MAX_FUNCTION_LINES}: split it`,
      );
    }
  }
  return troubles;
}

function bansOf({ path, source }: SourceFile): string[] {
  if (!path.startsWith("src/")) return [];
  return codeOf(source).split("\n").flatMap((line, i) =>
    BANS.filter((it) => it.pattern.test(line))
      .map((it) => `line ${i + 1} uses ${it.name}: use ${it.instead}`)
  );
}

function arrowsOf(file: SourceFile): string[] {
  const { path } = file;
  return importsOf(file).flatMap((specifier) => {
    if (!specifier.startsWith(".")) return packageTrouble(path, specifier);
    const target = resolve(path, specifier);
    const troubles = [];
    const arrow = ARROWS.find(({ from }) => path.startsWith(from));
    if (arrow && !arrow.to.some((to) => target.startsWith(to))) {
      troubles.push(`imports ${target}: ${arrow.from} may only import ${arrow.to.join(", ")}`);
    }
    for (const [one, other] of STRANGERS) {
      if (path.startsWith(one) && target.startsWith(other)) {
        troubles.push(`imports ${target}: ${one} and ${other} must not import each other`);
      }
    }
    if (!OURS.test(path) && OURS.test(target)) {
      troubles.push(`imports ${target}, which is not published`);
    }
    return troubles;
  });
}

/** Finds processes that use another process's class other than to create it. */
function callsOf({ path, source }: SourceFile): string[] {
  if (!path.startsWith("src/lambda/") || !/\bclass \w+ extends Process\b/.test(source)) return [];
  return codeOf(source).split("\n").flatMap((line, i) =>
    /^\s*import\b/.test(line) ? [] : PROCESSES.filter((name) => {
      const uses = [...line.matchAll(new RegExp(`(\\w+\\s+)?\\b${name}\\b`, "g"))];
      return uses.some(([, before = ""]) => !["new", "class"].includes(before.trim()));
    }).map((name) => `line ${i + 1} knows a ${name}: processes exchange messages only`)
  );
}

function packageTrouble(path: string, specifier: string): string[] {
  if (/^(?:npm|jsr|https?):/.test(specifier)) {
    return [`imports ${specifier}: use the bare name, since Bun resolves only that`];
  }
  if (!path.startsWith("src/") || CORE_PACKAGES.includes(specifier.split("/")[0] as string)) {
    return [];
  }
  return [`imports ${specifier}: the core does no I/O; put it in an adapter behind a port`];
}

/** What a file imports, types included. */
export function importsOf({ source }: SourceFile): string[] {
  // Found in the code without strings, read from the source.
  return [...codeOf(source).matchAll(/\b(?:from|import)\s*\(?\s*(["'`])/g)].map((match) => {
    const start = match.index + match[0].length;
    return source.slice(start, source.indexOf(match[1] as string, start));
  });
}

/** A relative import's target, from the root. */
export function resolve(path: string, specifier: string): string {
  const parts = path.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}
