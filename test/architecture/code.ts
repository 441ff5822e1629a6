/**
 * Blanks out comments and strings of TypeScript source, so that rules about code ignore them.
 * Keeps the length and the line breaks.
 */

/** After these a `/` starts a pattern, after all else it divides. */
const BEFORE_PATTERN = /(?:[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void))$/;

/**
 * `source` with comments, and the content of strings, patterns and templates, replaced
 * by spaces. Quotes stay, and code in a template's `${…}`.
 */
export function codeOf(source: string): string {
  let out = "";
  let at = 0;
  /** Of each template whose `${` is open, how many braces are open within it. */
  const templates: number[] = [];
  const blank = (end: number) => {
    out += source.slice(at, end).replace(/[^\n]/g, " ");
    at = end;
  };
  const quoted = (end: number) => {
    const last = Math.min(end, source.length) - 1;
    out += source[at++];
    blank(Math.max(last, at));
    if (at < end) out += source[at++] ?? "";
  };
  const template = () => {
    const end = endOfTemplate(source, at + 1);
    quoted(end.at);
    if (end.open) templates.push(0);
  };
  while (at < source.length) {
    const two = source.slice(at, at + 2);
    const one = two[0] as string;
    if (two === "//") blank(indexOr(source, "\n", at));
    else if (two === "/*") blank(indexOr(source, "*/", at + 2) + 2);
    else if (one === '"' || one === "'") quoted(endOfString(source, at));
    else if (one === "/" && BEFORE_PATTERN.test(out.trimEnd().slice(-10))) {
      quoted(endOfPattern(source, at));
    } else if (one === "`") template();
    else {
      const depth = templates.length - 1;
      if (one === "{" && depth >= 0) templates[depth] = (templates[depth] as number) + 1;
      if (one === "}" && depth >= 0) {
        if (templates[depth] === 0) {
          templates.pop();
          template();
          continue;
        }
        templates[depth] = (templates[depth] as number) - 1;
      }
      out += one;
      at += 1;
    }
  }
  return out;
}

function indexOr(source: string, what: string, from: number): number {
  const found = source.indexOf(what, from);
  return found < 0 ? source.length : found;
}

function endOfString(source: string, start: number): number {
  let at = start + 1;
  while (at < source.length && source[at] !== source[start] && source[at] !== "\n") {
    at += source[at] === "\\" ? 2 : 1;
  }
  return at + 1;
}

function endOfPattern(source: string, start: number): number {
  let at = start + 1;
  let inClass = false;
  while (at < source.length && source[at] !== "\n" && (inClass || source[at] !== "/")) {
    if (source[at] === "[") inClass = true;
    if (source[at] === "]") inClass = false;
    at += source[at] === "\\" ? 2 : 1;
  }
  return at + 1;
}

/** Where a template's text ends: after its closing quote, or after an opening `${`. */
function endOfTemplate(source: string, start: number): { at: number; open: boolean } {
  let at = start;
  while (at < source.length) {
    if (source[at] === "`") return { at: at + 1, open: false };
    if (source.startsWith("${", at)) return { at: at + 2, open: true };
    at += source[at] === "\\" ? 2 : 1;
  }
  return { at, open: false };
}
