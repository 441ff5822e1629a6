/**
 * What documents say about the code, held against the code: links, paths of files, sections of
 * `docs/design.md` that comments cite, and diagrams of which folder imports which.
 *
 * Takes texts and the paths of all files; gives what is wrong, in sentences.
 */
import { folderOf, importsBetween } from "./graph.ts";
import { resolve, type SourceFile } from "./rules.ts";

/** The headings of a page, without marks. */
export function headingsOf(page: string): string[] {
  const text = page.replace(/^```[\s\S]*?^```/gm, "");
  return Array.from(text.matchAll(/^#+ (.+)$/gm), ([, title]) => (title as string).trim());
}

/** A heading's anchor, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");
}

const DESIGN = /docs\/design\.md`?(.{0,200})/g;
/** A title, unlike the paper or standard that may follow it. */
const PLAIN_TITLE = /^[A-Z][a-z]+(?: [a-z]+)*$/;

/** Sections of `docs/design.md` that a file cites and that don't exist. */
export function citationsOf({ path, source }: SourceFile, headings: readonly string[]): string[] {
  // "State and Calls" names two sections, "Names and epochs" one.
  const titlesOf = (text: string): string[] => {
    const title = text.replace(/ \(.*$/, "");
    return headings.includes(title) ? [title] : title.split(/ and (?=[A-Z])/);
  };
  const text = source.replace(/\n *(?:\*|\/\/) ?/g, " ");
  return Array.from(text.matchAll(DESIGN)).flatMap(([, rest = ""]) => {
    const [cited = ""] = rest.replace(/^, /, "").split(/[.)](?:\s|$)|\)/);
    const parts = rest.startsWith(", ") ? cited.split("; ") : [""];
    const titles = parts.flatMap((it, i) => i === 0 ? titlesOf(it.split(",")[0] as string) : [it]);
    const lost = titles.filter((it, i) =>
      !headings.includes(it) && (i === 0 || PLAIN_TITLE.test(it))
    );
    return lost.map((it) =>
      `${path} cites docs/design.md, "${it}": it has no such section, only ${headings.join("; ")}`
    );
  });
}

/** Links of a page to files and headings that don't exist. */
export function deadLinks(
  page: SourceFile,
  pages: ReadonlyMap<string, string>,
  paths: ReadonlySet<string>,
): string[] {
  const text = page.source.replace(/^```[\s\S]*?^```/gm, "");
  return Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, to]) => to as string).flatMap((to) => {
    if (/^[a-z]+:/.test(to)) return [];
    const [file = "", anchor] = to.split("#");
    const target = file === "" ? page.path : resolve(page.path, file);
    if (!paths.has(target)) return [`${page.path} links to ${to}, which doesn't exist`];
    const known = anchor === undefined ||
      headingsOf(pages.get(target) ?? "").map(anchorOf).includes(anchor);
    return known ? [] : [`${page.path} links to ${to}, and ${target} has no such heading`];
  });
}

/** Folders whose name pages leave out before a path. */
const SHORTENED = ["", "src/", "adapters/", "test/", "sim/"];

/** What a path begins with where a page names it from the root, and so within a command, too. */
const ROOTED = /^(?:adapters|bench|chaos|docs|examples|fuzz|scripts|sim|src|test)\//;

/**
 * Paths in backticks that don't exist: of files, and within commands, of files and folders. A name
 * without a folder is a user's own file.
 */
export function deadPaths(page: SourceFile, paths: ReadonlySet<string>): string[] {
  const text = page.source.replace(/^```[\s\S]*?^```/gm, "");
  return Array.from(text.matchAll(/`([^`\n]+)`/g), ([, code]) => code as string)
    .flatMap((code) => {
      const words = code.split(" ").map((word) => word.replace(/,$/, ""));
      // A command takes the beginning of a path, too.
      const isThere = words.length === 1
        ? (path: string) => SHORTENED.some((folder) => paths.has(folder + path.replace(/\/$/, "")))
        : (path: string) => [...paths].some((known) => known.startsWith(path));
      return words.filter((word) => isPath(word, words.length === 1)).flatMap(expand)
        .filter((path) => !isThere(path));
    })
    .map((path) => `${page.path} names \`${path}\`, which doesn't exist`);
}

function isPath(word: string, isAlone: boolean): boolean {
  if (!/^\w[\w./{},-]*$/.test(word) || word.includes("NAME")) return false;
  return ROOTED.test(word) || (isAlone && /\/.*\.(?:ts|md|mjs|json)$/.test(word));
}

/** `a_{b,c}.ts` as `a_b.ts` and `a_c.ts`. */
function expand(path: string): string[] {
  const [all, choices] = /\{([^{}]*)\}/.exec(path) ?? [];
  if (all === undefined || choices === undefined) return [path];
  return choices.split(",").flatMap((it) => expand(path.replace(all, it)));
}

interface Diagram {
  /** Rooms: a folder, or a file at the root, with all below it that no other room has. */
  readonly rooms: ReadonlySet<string>;
  /** Rooms that every other one may import: arrows to them aren't drawn. */
  readonly ground: ReadonlySet<string>;
  readonly arrows: readonly [from: string, to: string][];
}

/** The rooms and arrows of a Mermaid flowchart; `subgraph ground` holds the ground. */
export function diagramOf(chart: string): Diagram {
  const labels = new Map<string, string>();
  const ground = new Set<string>();
  const arrows: [string, string][] = [];
  let isGround = false;
  for (const line of chart.split("\n").map((it) => it.trim())) {
    if (/^subgraph\b/.test(line)) isGround = /^subgraph ground\b/.test(line);
    else if (line === "end") isGround = false;
    for (const [, id, label] of line.matchAll(/(\w+)\["?([\w./]+)[^\]]*\]/g)) {
      labels.set(id as string, label as string);
      if (isGround) ground.add(label as string);
    }
    if (!line.includes("-->")) continue;
    const stops = line.split("-->").map((it) =>
      it.split("&").map((id) => id.replace(/\[.*$/, "").trim())
    );
    stops.slice(1).forEach((targets, i) => {
      for (const from of stops[i] as string[]) for (const to of targets) arrows.push([from, to]);
    });
  }
  const roomOf = (id: string): string => labels.get(id) ?? id;
  return {
    rooms: new Set(labels.values()),
    ground,
    arrows: arrows.map(([from, to]) => [roomOf(from), roomOf(to)]),
  };
}

/** Arrows of a diagram that no import goes along, and imports that it has no arrow for. */
export function diagramTroubles(chart: string, files: readonly SourceFile[]): string[] {
  const { rooms, ground, arrows } = diagramOf(chart);
  const roomOf = (path: string): string | undefined => {
    if (rooms.has(path)) return path;
    for (let at = folderOf(path); at !== ""; at = folderOf(at)) if (rooms.has(at)) return at;
    return undefined;
  };
  const real = new Map<string, string>();
  for (const { from, to } of importsBetween(files)) {
    const [a, b] = [roomOf(from), roomOf(to)];
    if (a === undefined || b === undefined || a === b) continue;
    if (ground.has(b) && !ground.has(a)) continue;
    if (!real.has(`${a} --> ${b}`)) real.set(`${a} --> ${b}`, `${from} imports ${to}`);
  }
  const drawn = new Set(arrows.map(([a, b]) => `${a} --> ${b}`));
  return [
    ...[...rooms].filter((room) => !files.some(({ path }) => roomOf(path) === room))
      .map((room) => `the diagram has the room ${room}, which holds no file`),
    ...[...drawn].filter((it) => !real.has(it))
      .map((it) => `the diagram has ${it}, which no import goes along`),
    ...[...real].filter(([it]) => !drawn.has(it))
      .map(([it, why]) => `the diagram lacks ${it}: ${why}`),
  ];
}

/** The Mermaid charts of a page. */
export function chartsOf(page: string): string[] {
  return Array.from(page.matchAll(/^```mermaid\n([\s\S]*?)^```/gm), ([, chart]) => chart as string);
}
