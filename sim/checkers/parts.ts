/**
 * Rule: if one part of a resource is lost while its others exist, `list` names what `get` gives,
 * and a lost state is reported by its owner or by the key's next owner.
 *
 * Source: the port `Store`; docs/design.md, State.
 */
import { valueIn } from "../engine/journal_app.ts";
import type { LiveChecker } from "./checker.ts";

export const parts: LiveChecker = {
  name: "parts",
  watch(_scene, report) {
    const acknowledged = new Set<string>();
    const lost: {
      readonly key: string;
      readonly values: readonly string[];
      readonly at: number;
    }[] = [];
    /** When it was last said of a key that its state was lost. */
    const toldAt = new Map<string, number>();
    return {
      failedOver() {
        // With the registry went what would have shown the loss.
        lost.length = 0;
      },
      stateLost(key, fields, at) {
        const values = fields.map(valueIn).filter((value) => value !== null);
        lost.push({ key, values, at });
      },
      eventLogged(_process, { event, fields }, at) {
        if (event === "state lost") toldAt.set(String(fields["key"]), at);
      },
      returned({ what, outcome, value, key, seq }) {
        if (what === "append" && outcome === "ok") acknowledged.add(value);
        if (what === "read" && outcome === "ok" && seq < 0) {
          report(`${key} has another number of entries by list than by get`);
        }
      },
      finished() {
        for (const { key, values, at } of lost) {
          const isMissed = values.some((value) => acknowledged.has(value));
          if (!isMissed || (toldAt.get(key) ?? -Infinity) >= at) continue;
          report(`${key} lost its state at ${at.toFixed(3)}, and nobody ever said so`);
        }
      },
    };
  },
};
