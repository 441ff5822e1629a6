/** Formats tables for terminals, and removes control characters from text of the cluster. */

/** Control characters would let a name in the registry write to the terminal. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/** Columns two spaces apart; numbers as they print. Ends with a newline. */
export function table(head: readonly string[], rows: readonly (string | number)[][]): string {
  const lines = [[...head], ...rows.map((row) => row.map(cell))];
  const widths = head.map((_, column) =>
    lines.reduce((most, line) => Math.max(most, (line[column] ?? "").length), 0)
  );
  return lines.map((line) =>
    line.map((text, column) => text.padEnd(widths[column] ?? 0)).join("  ").trimEnd() + "\n"
  ).join("");
}

function cell(value: string | number): string {
  return printable(String(value));
}

/** A text that a cluster gave, as one line on a terminal: control characters are `?`. */
export function printable(text: string): string {
  return text.replace(CONTROL, "?");
}
