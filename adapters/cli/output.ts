/** Types of a command of the `atlas` command line, and of its output. */
import type { AtlasError } from "../../src/errors.ts";
import type { AtlasClient } from "../client/client.ts";
import { toJson } from "../http_wire/json.ts";
import type { CommandLine } from "./usage.ts";

/** Where a command writes. */
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
 * A call's answer: all of it for machines, as over HTTP; its result for people, as JSON on
 * lines of its own.
 */
export function answered(answer: { readonly result: unknown }): Output {
  const result = answer.result ?? null;
  const text = `${JSON.stringify(JSON.parse(toJson(result)), null, 2)}\n`;
  return { document: { ...answer, result }, text };
}
