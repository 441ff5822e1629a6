/**
 * The event that parts of a node report. The program that runs the node writes it as one log line.
 */

/** A log event. `level` is one of syslog's names. */
export interface NodeEvent {
  readonly level: "debug" | "info" | "warning" | "error";
  /** What happened: a constant text. */
  readonly event: string;
  /** Its details. */
  readonly fields: Readonly<Record<string, string | number | boolean | null>>;
}
