/** Once everything is mended, every node serves every key within twice the takeover time. */
import { timing } from "../../src/registry/lease.ts";
import type { LiveChecker } from "./checker.ts";

export const healing: LiveChecker = {
  name: "healing",
  watch({ plan, world }, report) {
    const within = 2 * timing(plan.shape.lease).takeoverMs;
    let dueAt = Infinity;
    const missing = new Set<string>();
    return {
      healed(at) {
        dueAt = at + within;
        for (const { index } of world().slots) {
          for (let key = 0; key < plan.shape.keys; key++) {
            missing.add(`probe ${index} journals/k${key}`);
          }
        }
      },
      returned({ caller, key, outcome }) {
        if (outcome === "ok") missing.delete(`${caller} ${key}`);
      },
      stepped(at) {
        if (at <= dueAt) return;
        dueAt = Infinity;
        for (const which of missing) report(`${which} was not served ${within} ms after healing`);
      },
    };
  },
};
