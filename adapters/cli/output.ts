/** The types of the `atlas` commands, and the formatting of their output. */
import type { AtlasError } from "../../src/errors.ts";
import type { AtlasClient } from "../client/client.ts";
import { toJson } from "../http_wire/json.ts";
import type { CommandLine } from "./usage.ts";

/** The streams to which a command writes. */
export interface CliStreams {
  out(text: string): void;
  err(text: string): void;
}

/** Takes a checked command line and a client; gives the output. */
export type Command = (line: CommandLine, atlas: AtlasClient) => Promise<Output>;

/** A command's output: a JSON document, and text for people. */
export interface Output {
  readonly document: unknown;
  readonly text: string;
  /** Parts that the cluster refused, shown as errors; the exit status is then 1. */
  readonly failures?: readonly AtlasError[];
}

/**
 * A call's answer: as JSON output the whole answer, as over HTTP; as text only the result, as JSON
 * on lines of its own.
 */
export function answered(answer: { readonly result: unknown }): Output {
  const result = answer.result ?? null;
  const text = `${JSON.stringify(JSON.parse(toJson(result)), null, 2)}\n`;
  return { document: { ...answer, result }, text };
}

/** Matches control characters: with them a name in the registry could control the terminal. */
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
