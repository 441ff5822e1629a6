/**
 * Records calls as they are made and as they return, and reports answers that no single owner with
 * rising epochs can have given:
 * - An answer, or a `confirmed` lookup, with a lower epoch than one that was returned before the
 *   call was made.
 * - After an `unowned` lookup, an answer of an ownership that was observed before it.
 * - One epoch under two locations.
 */
import type { CallRecord } from "../sim/engine/history.ts";
import { LASTING } from "./app.ts";
import type { Report } from "./report.ts";

/** The knowledge about a key. */
interface Known {
  /** Later calls must have at least this epoch. */
  floor: number;
  /** The call that raised it. */
  by: string;
  /** The highest epoch in an answer. */
  answered: number;
  /** The location of each epoch. */
  readonly locations: Map<number, string>;
  lastRrp: string;
}

export class HistoryRecorder {
  /** Ownerships seen in answers, and those of them that moved a name of `journals`. */
  ownerships = 0;
  takeovers = 0;
  readonly #report: Report;
  readonly #keys = new Map<string, Known>();
  /** The knowledge at the time when each open call was made. */
  readonly #floors = new Map<CallRecord, Pick<Known, "floor" | "by" | "answered">>();

  constructor(report: Report) {
    this.#report = report;
  }

  called(call: CallRecord): void {
    const { floor, by, answered } = this.#known(call.key);
    this.#floors.set(call, { floor, by, answered });
  }

  returned(call: CallRecord): void {
    const { floor = 0, by = "", answered = 0 } = this.#floors.get(call) ?? {};
    this.#floors.delete(call);
    if (call.outcome !== "ok") return;
    const known = this.#known(call.key);
    if (call.verdict === "unowned") return raise(known, answered + 1, call);
    // Cached and suspect verdicts may be out of date.
    if (call.what === "lookup" && call.verdict !== "confirmed") return;
    const { id, what, key, epoch, rrp } = call;
    if (epoch < floor) {
      this.#report(
        "epochs",
        `call ${id}, ${what} of ${key} through ${call.process}, was answered by ${rrp} of epoch ` +
          `${epoch}; at least ${floor} was known when it was made, by ${by}`,
      );
    }
    this.#locate(known, call);
    known.answered = Math.max(known.answered, epoch);
    raise(known, epoch, call);
  }

  #locate(known: Known, { id, key, epoch, rrp }: CallRecord): void {
    const location = known.locations.get(epoch);
    if (location === undefined) {
      known.locations.set(epoch, rrp ?? "");
      this.ownerships++;
      const isMove = known.lastRrp !== "" && known.lastRrp !== rrp && epoch > known.answered;
      if (isMove && key.startsWith(`${LASTING}/`)) this.takeovers++;
      if (epoch >= known.answered) known.lastRrp = rrp ?? "";
    } else if (location !== rrp) {
      this.#report(
        "one location",
        `call ${id}: epoch ${epoch} of ${key} is ${location} and ${rrp}`,
      );
    }
  }

  #known(key: string): Known {
    let known = this.#keys.get(key);
    if (!known) {
      known = { floor: 0, by: "nothing", answered: 0, locations: new Map(), lastRrp: "" };
      this.#keys.set(key, known);
    }
    return known;
  }
}

function raise(known: Known, floor: number, call: CallRecord): void {
  if (floor <= known.floor) return;
  known.floor = floor;
  known.by = `call ${call.id}`;
}
