/**
 * What is told where keys of Redis are gone while others of their resource are there, because they
 * were evicted or deleted by hand. A whole state that is gone is told by the next owner instead.
 */
import type { NodeEvent } from "../../src/model/event.ts";
import type { Found } from "./redis_steps.ts";

export function tellFound(found: Found, onEvent: (event: NodeEvent) => void): void {
  if (found.kind === "counter") {
    const { slot, epoch } = found;
    const fields = { slot, epoch };
    return onEvent({ level: "error", event: "epoch counter lost", fields });
  }
  const { key, fields: kept, members } = found;
  if (kept > members) {
    const fields = { key, fields: kept, indexed: members };
    return onEvent({ level: "warning", event: "index made anew", fields });
  }
  if (kept === 0) return;
  const fields = { key, kept, missing: members - kept };
  onEvent({ level: "error", event: "state lost in part", fields });
}
