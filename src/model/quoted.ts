/** Values as messages quote them: short, on one line, and never a reason to fail. */

/** The longest text that stands for a value, in UTF-16 code units. */
const MOST = 80;

/** What is not seen, breaks a line or turns the text's direction. */
const UNSEEN =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g;

/** `value`, whatever it is, in a few characters, none of which is a control character. */
export function quoted(value: unknown): string {
  if (typeof value === "number") return String(value);
  let text: string | undefined;
  try {
    // Of long text no more than what can stand there is looked at.
    text = JSON.stringify(typeof value === "string" ? value.slice(0, MOST + 1) : value);
  } catch {
    // A bigint, or what goes round in a circle.
  }
  text ??= printed(value);
  return shown(text, MOST);
}

/** `text`, of which at most `most` characters are left, without control characters. */
export function shown(text: string, most: number): string {
  const cut = text.length > most ? `${text.slice(0, most - 1).toWellFormed()}…` : text;
  return cut.replace(UNSEEN, escaped);
}

function escaped(sign: string): string {
  return `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function printed(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "object") return "an object";
  return typeof value === "bigint" ? `${value}n` : String(value);
}
