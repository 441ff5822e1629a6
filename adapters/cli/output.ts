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

/** Takes a checked command line and a cluster; gives what is to be shown of it. */
export type Command = (line: CommandLine, atlas: AtlasClient) => Promise<Output>;

/** What a command answers: the document for machines, the text for people. */
export interface Output {
  readonly document: unknown;
  readonly text: string;
  /** What the cluster refused of it, for people's eyes too: the exit status is then 1. */
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
