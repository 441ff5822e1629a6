/**
 * Logs: a clerk who writes what happened on standard error, a line each.
 *
 * Takes the events of nodes and of HTTP; gives LogTape records in the category
 * `atlas`. For people at a terminal the lines are readable, for machines JSON. A program
 * that embeds a node sets up LogTape itself, or hears events by `onEvent`.
 */
import process from "node:process";
import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  getTextFormatter,
  type LogLevel as TapeLevel,
  type LogRecord,
} from "@logtape/logtape";
import type { NodeEvent } from "../../src/api.ts";
import type { LogLevel } from "./environment.ts";

/** Where text goes; the standard error stream, or a test's. */
export interface LogStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Sets up LogTape for the whole process: everything from `level` on goes to `stream`. */
export function configureLogging(level: LogLevel, stream: LogStream = process.stderr): void {
  const format = stream.isTTY ? readable() : getJsonLinesFormatter({ properties: "flatten" });
  const sink = (record: LogRecord) => {
    stream.write(format(record));
  };
  const lowestLevel: TapeLevel | null = level === "silent" ? null : level;
  configureSync({
    reset: true,
    sinks: { out: sink },
    loggers: [
      { category: ["atlas"], lowestLevel, sinks: ["out"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["out"] },
    ],
  });
}

/** Writes events to the logger `atlas`. */
export function logEvent({ level, event, fields }: NodeEvent): void {
  getLogger(["atlas"])[level](event, { ...fields });
}

/** A line for people: the time, the level, what happened, its particulars. */
function readable(): (record: LogRecord) => string {
  const head = getTextFormatter({ timestamp: "time", category: () => "" });
  return (record) => {
    const particulars = Object.entries(record.properties).map(([name, value]) =>
      ` ${name}=${typeof value === "string" ? JSON.stringify(value) : String(value)}`
    );
    return head(record).trimEnd() + particulars.join("") + "\n";
  };
}
