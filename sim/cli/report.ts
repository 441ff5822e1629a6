/** The report of a simulation that broke a rule: takes plans and results, gives lines of text. */
import { special } from "../plan/market_plan.ts";
import type { Plan } from "../plan/plan.ts";
import type { Shrunk } from "./shrink.ts";
import type { Result, Violation } from "../run/run_world.ts";

/** The broken rules, the command that replays it, all faults, and the last events. */
export function failureReport(plan: Plan, result: Result, replay: string): string[] {
  return [
    ...result.violations.map(violationLine),
    `replay: ${replay}`,
    shapeLine(plan),
    `${plan.faults.length} faults, by true time in ms:`,
    ...plan.faults.map((fault) => eventLine(fault.at, "fault", fault.kind, fault)),
    `${operationCount(plan)} lines of work; healed at ${plan.healAt} ms`,
    `the last of ${result.events} events:`,
    ...result.remarks.map((remark) => `  ${remark}`),
  ];
}

/** The smallest plan that was found, whole. */
export function shrunkReport(plan: Plan, shrunk: Shrunk): string[] {
  const { plan: small, runs, isDone, violation } = shrunk;
  const left = `${small.faults.length} of ${plan.faults.length} faults and ` +
    `${operationCount(small)} of ${operationCount(plan)} lines of work`;
  const end = isDone ? "nothing more can go" : "the time was up";
  return [
    `shrunk to ${left} by running ${runs} plans; ${end}:`,
    ...scheduleLines(small),
    violationLine(violation),
  ];
}

/** A whole plan, in order. */
export function scheduleLines(plan: Plan): string[] {
  const lines = [
    ...plan.faults.map((it) => ({ at: it.at, line: eventLine(it.at, "fault", it.kind, it) })),
    ...plan.work.map((it) => ({ at: it.at, line: eventLine(it.at, "work", it.what, it) })),
    ...(plan.trades ?? []).map((it) => ({
      at: it.at,
      line: eventLine(it.at, "trade", it.what, special(it)),
    })),
    { at: plan.healAt, line: `${moment(plan.healAt)}  healed` },
    { at: plan.endAt, line: `${moment(plan.endAt)}  end` },
  ];
  lines.sort((a, b) => a.at - b.at);
  return [shapeLine(plan), ...lines.map(({ line }) => line)];
}

export function violationLine({ rule, message, at }: Violation): string {
  return `violation at ${at.toFixed(3)} ms: ${rule}: ${message}`;
}

/** What clients or traders do. */
function operationCount({ work, trades = [] }: Plan): number {
  return work.length + trades.length;
}

function shapeLine({ seed, shape, market, masters }: Plan): string {
  return `shape: seed=${seed} ${fields({ ...shape, ...market, ...masters && { masters } })}`;
}

/** Its time, whether it is a fault or work, its name, and its other fields. */
function eventLine(at: number, sort: string, name: string, event: object): string {
  const rest = Object.entries(event).filter(([field]) => !["at", "kind", "what"].includes(field));
  return `${moment(at)}  ${sort.padEnd(5)}  ${name.padEnd(18)} ${fields(Object.fromEntries(rest))}`;
}

function moment(ms: number): string {
  return ms.toFixed(1).padStart(10);
}

/** `name=value` for each field, `name.inner=value` for nested ones. */
function fields(record: object, prefix: string = ""): string {
  return Object.entries(record).map(([name, value]) => {
    if (typeof value === "object" && value !== null) return fields(value, `${prefix}${name}.`);
    const text = typeof value === "number" ? String(Math.round(value * 1e4) / 1e4) : String(value);
    return `${prefix}${name}=${text}`;
  }).join(" ");
}
