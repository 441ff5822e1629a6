/**
 * Reads the log of a running node. Gives its events with their times; all nodes of a test run on
 * one machine, so that times can be compared.
 */
import type { NodeProcess } from "./process.ts";

export interface LogEvent {
  /** When it was written, ms since 1970. */
  readonly at: number;
  readonly event: string;
  // The fields depend on the event; the tests check them.
  // deno-lint-ignore no-explicit-any
  readonly fields: any;
}

/** The node's events of this name so far, the oldest first. */
export function eventsOf({ output }: NodeProcess, event: string): LogEvent[] {
  const found: LogEvent[] = [];
  const mark = `"message":${JSON.stringify(event)}`;
  // The text after the last newline may be an incomplete line.
  for (const line of output.stderr.split("\n").slice(0, -1)) {
    if (!line.includes(mark)) continue;
    const fields = JSON.parse(line);
    found.push({ at: Date.parse(fields["@timestamp"]), event, fields });
  }
  return found;
}

/** The events of all nodes, in the order in which they happened. */
export function eventsOfAll(nodes: readonly NodeProcess[], event: string): LogEvent[] {
  return nodes.flatMap((node) => eventsOf(node, event)).sort((a, b) => a.at - b.at);
}
