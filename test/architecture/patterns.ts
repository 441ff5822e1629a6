/**
 * Finds regular expressions whose time can grow faster than their input.
 *
 * Takes TypeScript source or one pattern; gives what is wrong with each pattern. The rule is
 * stricter than necessary: after each unbounded repetition the next character must decide that it
 * has ended, else no second repetition may follow; and repetitions don't nest.
 *
 * Source: "Regular expression Denial of Service", OWASP.
 */
import { codeOf } from "./code.ts";

/** The patterns that are made of text while the program runs, each as it stands in the source. */
export function builtIn(source: string): string[] {
  return Array.from(
    codeOf(source).matchAll(/\bRegExp\s*\(/g),
    ({ index }) => source.slice(index).split("\n", 1)[0] as string,
  );
}

/** A pattern as it stands in a source file. */
export interface Pattern {
  readonly line: number;
  readonly body: string;
  readonly flags: string;
}

type Node =
  | { kind: "atom"; text: string }
  | { kind: "start" | "end" | "look" }
  | { kind: "group"; options: Node[][] }
  | { kind: "repeat"; item: Node; least: number; most: number };

/** A counted repetition up to here counts as one character: the count bounds its cost. */
const MOST_COUNTED = 256;

/** Characters that stand for all: those of Latin scripts, spaces beyond them, one of each rest. */
const SAMPLE = [
  ...Array.from({ length: 0x250 }, (_, code) => String.fromCharCode(code)),
  ..."\u2028\u2029\u3000\ufeff\u4e00\ud800",
];

/** The patterns written as literals in `source`. */
export function patternsOf(source: string): Pattern[] {
  const found: Pattern[] = [];
  const code = codeOf(source.replace(/^#![^\n]*/, (line) => " ".repeat(line.length)));
  // A pattern's content is blanked out, and its slashes stay.
  for (const { index } of code.matchAll(/\/(?=[ \n]*\/)/g)) {
    if (found.some((it) => index <= endOf(it))) continue;
    const end = code.indexOf("/", index + 1);
    const body = source.slice(index + 1, end);
    if (body === "" || body.includes("\n") || code.slice(index + 1, end).trim() !== "") continue;
    const flags = /^[a-z]*/.exec(source.slice(end + 1, end + 10))?.[0] ?? "";
    const line = source.slice(0, index).split("\n").length;
    found.push(Object.assign({ line, body, flags }, { end }));
  }
  return found.map(({ line, body, flags }) => ({ line, body, flags }));
}

function endOf(pattern: Pattern): number {
  return (pattern as Pattern & { end: number }).end;
}

/** Why a pattern may take more than linear time; null where it takes no more. */
export function troubleOf(body: string, flags = ""): string | null {
  try {
    new Judge(flags).judge(new Reader(body).read());
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What is known on the way through a pattern. */
interface State {
  /** Whether the search for a start, or an earlier repetition, leaves open where this begins. */
  readonly loose: boolean;
  /** The characters of which one stands just before; null: any. */
  readonly before: ReadonlySet<string> | null;
}

class Judge {
  readonly #all: string;
  readonly #flags: string;
  readonly #sets = new Map<string, Set<string>>();

  constructor(flags: string) {
    this.#all = flags;
    this.#flags = flags.replace(/[gy]/g, "");
  }

  judge(options: Node[][]): void {
    for (const option of options) {
      const isAnchored = this.#all.includes("y") ||
        (option[0]?.kind === "start" && !this.#all.includes("m"));
      this.#sequence(option, [], { loose: !isAnchored, before: null });
    }
  }

  /** One way through a pattern, which `after` follows. */
  #sequence(option: Node[], after: Node[], start: State): State {
    return option.reduce(
      (state, node, at) => this.#step(node, [...option.slice(at + 1), ...after], state),
      start,
    );
  }

  #step(node: Node, rest: Node[], state: State): State {
    if (node.kind === "atom") return { ...state, before: this.charactersOf(node) };
    if (node.kind === "group") {
      return either(node.options.map((option) => this.#sequence(option, rest, state)));
    }
    if (node.kind !== "repeat") return state;
    if (node.most <= MOST_COUNTED) {
      const taken = this.#step(node.item, rest, state);
      return node.least === 0 ? either([state, taken]) : taken;
    }
    if (hasRepeat(node.item)) throw new Error("a repetition stands within a repetition");
    if (isAmbiguous(this, node.item)) throw new Error("the ways through a repetition overlap");
    const own = this.charactersOf(node.item);
    // Where it starts only behind a character that it can't take, no two of its runs overlap.
    const isApart = state.before !== null && !overlap(state.before, own);
    if (state.loose && !isApart && this.#canFail(own, rest)) {
      throw new Error(
        "a repetition starts where an earlier one, or the search for a start, may end anywhere, " +
          "and what follows it may fail",
      );
    }
    const before = new Set(own);
    for (const character of node.least === 0 ? state.before ?? SAMPLE : []) before.add(character);
    return { loose: state.loose || overlap(this.firstOf(rest), own), before };
  }

  /** Whether what follows may fail after a repetition of `own` has taken all it can. */
  #canFail(own: ReadonlySet<string>, rest: Node[]): boolean {
    const takesAll = own.size === SAMPLE.length && !this.#all.includes("m");
    return rest.some((node) => {
      if (node.kind === "end") return !takesAll;
      if (node.kind === "repeat") return node.least > 0;
      return node.kind !== "group" || node.options.every((option) => this.#canFail(own, option));
    });
  }

  charactersOf(node: Node): Set<string> {
    switch (node.kind) {
      case "atom":
        return this.#setOf(node.text);
      case "group":
        return new Set(node.options.flatMap((it) => it.flatMap((n) => [...this.charactersOf(n)])));
      case "repeat":
        return this.charactersOf(node.item);
      default:
        return new Set();
    }
  }

  /** The characters that a sequence may start with. */
  firstOf(sequence: Node[]): Set<string> {
    const first = new Set<string>();
    for (const node of sequence) {
      const own = node.kind === "group"
        ? node.options.flatMap((option) => [...this.firstOf(option)])
        : node.kind === "repeat"
        ? this.firstOf([node.item])
        : this.charactersOf(node);
      for (const character of own) first.add(character);
      if (!isNullable(node)) break;
    }
    return first;
  }

  #setOf(text: string): Set<string> {
    let set = this.#sets.get(text);
    if (!set) {
      const pattern = new RegExp(`^(?:${text})$`, this.#flags);
      set = new Set(SAMPLE.filter((character) => pattern.test(character)));
      this.#sets.set(text, set);
    }
    return set;
  }
}

function overlap(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return [...one].some((character) => other.has(character));
}

function either(states: readonly State[]): State {
  const isKnown = states.every(({ before }) => before !== null);
  const before = isKnown ? new Set(states.flatMap((state) => [...state.before ?? []])) : null;
  return { loose: states.some(({ loose }) => loose), before };
}

function isAmbiguous(judge: Judge, node: Node): boolean {
  if (node.kind !== "group") return false;
  const seen = new Set<string>();
  return node.options.some((option) => {
    if (option.every(isNullable)) return true;
    const first = judge.firstOf(option);
    const overlaps = [...first].some((character) => seen.has(character));
    for (const character of first) seen.add(character);
    return overlaps;
  });
}

function isNullable(node: Node): boolean {
  if (node.kind === "atom") return false;
  if (node.kind === "group") return node.options.some((option) => option.every(isNullable));
  return node.kind !== "repeat" || node.least === 0 || isNullable(node.item);
}

function hasRepeat(node: Node): boolean {
  if (node.kind === "repeat") return node.most > 1 || hasRepeat(node.item);
  return node.kind === "group" && node.options.some((option) => option.some(hasRepeat));
}

/** Reads a pattern; what it doesn't know is refused. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Node[][] {
    const options = this.#options();
    if (this.#at < this.#text.length) throw new Error("the pattern can't be read");
    return options;
  }

  #options(): Node[][] {
    const options: Node[][] = [[]];
    while (this.#at < this.#text.length && this.#text[this.#at] !== ")") {
      if (this.#take("|")) options.push([]);
      else (options.at(-1) as Node[]).push(this.#repeated(this.#one()));
    }
    return options;
  }

  #one(): Node {
    if (this.#take("^")) return { kind: "start" };
    if (this.#take("$")) return { kind: "end" };
    if (this.#match(/\\[bB]/y)) return { kind: "look" };
    if (this.#match(/\\(?:[1-9]|k<)/y)) throw new Error("a reference back has no bound");
    const look = this.#match(/\(\?<?[=!]/y) !== null;
    if (look || this.#match(/\((?:\?:|\?<\w+>)?/y)) {
      const options = this.#options();
      if (!this.#take(")")) throw new Error("the pattern can't be read");
      const group: Node = { kind: "group", options };
      if (!look) return group;
      if (hasRepeat(group)) throw new Error("a look ahead or behind has a repetition");
      return { kind: "look" };
    }
    const escape = this.#match(/\\(?:u\{[^}]*\}|u[\da-fA-F]{4}|x[\da-fA-F]{2}|[pP]\{[^}]*\}|[^])/y);
    const text = escape ?? this.#match(/\[(?:\\[^]|[^\]\\])*\]|[^]/y) as string;
    return { kind: "atom", text };
  }

  #repeated(item: Node): Node {
    const quantifier = this.#match(/[*+?]|\{\d+(?:,\d*)?\}/y);
    if (quantifier === null) return item;
    this.#take("?");
    if (quantifier === "?") return { kind: "repeat", item, least: 0, most: 1 };
    if (quantifier === "*") return { kind: "repeat", item, least: 0, most: Infinity };
    if (quantifier === "+") return { kind: "repeat", item, least: 1, most: Infinity };
    const [least = "0", most = least] = quantifier.slice(1, -1).split(",");
    return { kind: "repeat", item, least: Number(least), most: most ? Number(most) : Infinity };
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? null;
    if (found !== null) this.#at += found.length;
    return found;
  }
}
