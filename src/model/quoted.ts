/** Values as messages quote them: short, and never a reason to fail. */

/** `value`, whatever it is, in a few characters. */
export function quoted(value: unknown): string {
  if (typeof value === "number") return String(value);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // A bigint, or what goes round in a circle.
  }
  text ??= printed(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function printed(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "object") return "an object";
  return typeof value === "bigint" ? `${value}n` : String(value);
}
