/** The event that parts of a node report: one log line, written by whoever runs the node. */

/** Something worth a line in a log. `level` as in syslog's names. */
export interface NodeEvent {
  readonly level: "debug" | "info" | "warning" | "error";
  /** What happened, in a few words that stay the same. */
  readonly event: string;
  /** Its particulars. */
  readonly fields: Readonly<Record<string, string | number | boolean | null>>;
}
