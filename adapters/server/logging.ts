/**
 * Writes log records. Takes the events of nodes and of HTTP; gives LogTape records in the category
 * `atlas`, readable at a terminal and JSON otherwise. A program that embeds a node may configure
 * LogTape itself, or receive events by `onEvent`. If it does neither, the records go to standard
 * error.
 */
import process from "node:process";
import {
  configureSync,
  getConfig,
  getJsonLinesFormatter,
  getLogger,
  getTextFormatter,
  type LogLevel as LogTapeLevel,
  type LogRecord,
} from "@logtape/logtape";
import type { NodeEvent } from "../../src/api/node.ts";
import type { LogLevel } from "../config/environment.ts";

/** Where lines are written; the standard error stream, or a test's. */
export interface LogStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Configures LogTape for the whole process: records from `level` on go to `stream`. */
export function configureLogging(level: LogLevel, stream: LogStream = process.stderr): void {
  const sink = writer(stream);
  const lowestLevel: LogTapeLevel | null = level === "silent" ? null : level;
  configureSync({
    reset: true,
    sinks: { out: sink },
    loggers: [
      { category: ["atlas"], lowestLevel, sinks: ["out"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["out"] },
    ],
  });
}

function writer(stream: LogStream): (record: LogRecord) => void {
  const format = stream.isTTY ? readable() : getJsonLinesFormatter({ properties: "flatten" });
  return (record) => {
    stream.write(format(record));
  };
}

/** The node that an event comes from; unknown parts are left out. */
export interface LogPlace {
  readonly region?: string;
  readonly node?: string;
}

/**
 * Writes events to the logger `atlas` with the node that they come from. While the program has not
 * configured LogTape, those from `level` on go to `stream` instead.
 */
export function eventLog(
  level: LogLevel,
  place: () => LogPlace,
  stream: LogStream = process.stderr,
): (event: NodeEvent) => void {
  const write = writer(stream);
  const lowest = LEVELS.indexOf(level);
  return (event) => {
    const properties = fieldsOf(event, place());
    if (getConfig() !== null) return getLogger(CATEGORY)[event.level](event.event, properties);
    if (level === "silent" || LEVELS.indexOf(event.level) < lowest) return;
    write({
      category: CATEGORY,
      level: event.level,
      message: [event.event],
      rawMessage: event.event,
      timestamp: Date.now(),
      properties,
    });
  };
}

const CATEGORY = ["atlas"];
const LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error"];

/** An event's fields after its node's; a `region` or `node` of its own names another node. */
function fieldsOf({ fields }: NodeEvent, place: LogPlace): Record<string, unknown> {
  const { region: peerRegion, node: peerNode, traceparent, ...others } = fields;
  const traceId = typeof traceparent === "string" ? traceparent.split("-")[1] : undefined;
  return {
    ...place,
    ...others,
    ...peerRegion !== undefined && { peerRegion },
    ...peerNode !== undefined && { peerNode },
    ...traceparent !== undefined && { traceparent },
    ...traceId !== undefined && { traceId },
  };
}

/** A readable line: the time, the level, the event, its fields. */
function readable(): (record: LogRecord) => string {
  const head = getTextFormatter({ timestamp: "time", category: () => "" });
  return (record) => {
    const fields = Object.entries(record.properties).map(([name, value]) =>
      ` ${name}=${typeof value === "string" ? JSON.stringify(value) : String(value)}`
    );
    return head(record).trimEnd() + fields.join("") + "\n";
  };
}
