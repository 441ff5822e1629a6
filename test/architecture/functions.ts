/**
 * Finds the functions of TypeScript source by their braces, and says how long each is.
 *
 * Reads formatted code: a result's type follows `):` without a space, unlike a choice's second half.
 */
import { codeOf } from "./code.ts";

export interface FoundFunction {
  /** Where its body opens. */
  readonly line: number;
  /** Of its body, from the opening brace to the closing one. */
  readonly lines: number;
}

/** Keywords whose `(…) {` opens a block that is no function. */
const BLOCKS = ["if", "for", "while", "switch", "catch", "with", "await"];
/** Words that no type of a result contains: the brace after one opens another kind of block. */
const NO_TYPE =
  /^(?:class|interface|enum|namespace|else|do|try|finally|static|export|return|case|default)$/;
const PAIRS: Record<string, string> = { ")": "(", "]": "[", "}": "{", ">": "<" };

/** Every function of `source` with a body in braces, also those within others. */
export function functionsOf(source: string): FoundFunction[] {
  const code = codeOf(source);
  const open: { line: number; isFunction: boolean }[] = [];
  const found: FoundFunction[] = [];
  let line = 1;
  for (let at = 0; at < code.length; at++) {
    if (code[at] === "\n") line++;
    if (code[at] === "{") open.push({ line, isFunction: opensFunction(code, at) });
    if (code[at] !== "}") continue;
    const block = open.pop();
    if (block?.isFunction) found.push({ line: block.line, lines: line - block.line + 1 });
  }
  return found;
}

function opensFunction(code: string, brace: number): boolean {
  const end = code.slice(0, brace).trimEnd().length - 1;
  if (code.slice(end - 1, end + 1) === "=>") return true;
  const parameters = code[end] === ")" ? end : parametersBefore(code, end);
  if (parameters < 0) return false;
  let before = code.slice(0, openingOf(code, parameters)).trimEnd();
  if (before.endsWith(">")) before = before.slice(0, openingOf(before, before.length - 1));
  const word = /([\w$]+|[\]"'`])$/.exec(before.slice(-80))?.[1];
  return word !== undefined && !BLOCKS.includes(word);
}

/** The `)` before the type of a result that ends at `end`, or -1 where none does. */
function parametersBefore(code: string, end: number): number {
  for (let at = end; at >= 0;) {
    const sign = code[at] as string;
    const word = /[\w$]+$/.exec(code.slice(Math.max(0, at - 40), at + 1))?.[0];
    if (word !== undefined) {
      if (NO_TYPE.test(word)) return -1;
      at -= word.length;
    } else if (sign === ":") return code[at - 1] === ")" && at < end ? at - 1 : -1;
    else if (sign === ">" && code[at - 1] === "=") at -= 2;
    else if (sign in PAIRS) at = openingOf(code, at) - 1;
    else if (/[\s.|&"'`]/.test(sign)) at -= 1;
    else return -1;
  }
  return -1;
}

/** Where the bracket that closes at `at` opens. */
function openingOf(code: string, at: number): number {
  const close = code[at] as string;
  let depth = 0;
  for (; at >= 0; at--) {
    if (code[at] === close && !(close === ">" && code[at - 1] === "=")) depth++;
    if (code[at] === PAIRS[close] && --depth === 0) return at;
  }
  return -1;
}
