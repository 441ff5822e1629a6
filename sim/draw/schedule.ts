/**
 * Kept schedules: plans that once broke a rule, stored as JSON with the name of the bug.
 *
 * Takes the text of a file; gives the schedule, or an error that says what is wrong with it. Fields
 * that were added to plans later get their default value.
 */
import { faultKind } from "../faults/catalogue.ts";
import { DEFAULT_MARKET_SHAPE, PLAIN_TRADE, special } from "../plan/market_plan.ts";
import {
  type FaultEvent,
  PLAIN_MASTERS,
  type Plan,
  type Shape,
  type WorkEvent,
} from "../plan/plan.ts";

/** A change to a source file that brings the bug back; `find` occurs exactly once. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Schedule {
  /** The bug, in a sentence. */
  readonly bug: string;
  /** The rule that it broke, and how. */
  readonly rule: string;
  readonly message: string;
  /** Where the plan comes from, such as `seed 9, shrunk`. */
  readonly from: string;
  /** Edits that bring the bug back; may be empty. */
  readonly edits: readonly Edit[];
  readonly plan: Plan;
}

const PLAIN_SHAPE: Shape = {
  nodes: 1,
  keys: 1,
  lease: { heartbeatMs: 1_000, leaseMs: 3_000 },
  idleAfterMs: 60_000,
  store: { isStream: true, timeoutMs: 1_000 },
  linkConditions: { baseMs: 1, jitterMs: 0, tail: 0, tailMs: 20, loss: 0, duplicates: 0 },
  drift: 0,
};
const PLAIN_FAULT: FaultEvent = { at: 0, kind: "", a: 0, b: 0, ms: 0, x: 0 };
const PLAIN_WORK: WorkEvent = {
  at: 0,
  node: 0,
  client: 0,
  key: 0,
  what: "append",
  count: 1,
  isKeyed: false,
  timeoutMs: 1_000,
};
const PLAIN_PLAN: Plan = {
  seed: 0,
  shape: PLAIN_SHAPE,
  faults: [],
  work: [],
  healAt: 16_500,
  endAt: 28_000,
};
const PLAIN: Schedule = { bug: "", rule: "", message: "", from: "", edits: [], plan: PLAIN_PLAN };
const PLAIN_EDIT: Edit = { file: "", find: "", replace: "" };

/** The most characters in a line of a schedule's file. */
const WIDTH = 100;

/** Reads a schedule, or a plan by itself. @throws Error that names the field and its value */
export function parseSchedule(text: string): Schedule {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`it is not JSON: ${(error as Error).message}`);
  }
  const isBare = isRecord(value) && "shape" in value;
  const schedule = filled(isBare ? { plan: value } : value, PLAIN, "the schedule");
  const { plan, edits } = schedule;
  const faults = plan.faults.map((fault, at) => filled(fault, PLAIN_FAULT, `plan.faults[${at}]`));
  const work = plan.work.map((item, at) => filled(item, PLAIN_WORK, `plan.work[${at}]`));
  for (const { kind } of faults) faultKind(kind);
  const masters = plan.masters && filled(plan.masters, PLAIN_MASTERS, "plan.masters");
  const market = plan.market && filled(plan.market, DEFAULT_MARKET_SHAPE, "plan.market");
  const trades = plan.trades?.map((trade, at) => filled(trade, PLAIN_TRADE, `plan.trades[${at}]`));
  for (const name of ["nodes", "keys"] as const) {
    const count = plan.shape[name];
    if (!(Number.isSafeInteger(count) && count >= 1)) {
      throw wrong(`plan.shape.${name}`, count, "a whole number from 1");
    }
  }
  return {
    ...schedule,
    edits: edits.map((edit, at) => filled(edit, PLAIN_EDIT, `edits[${at}]`)),
    plan: {
      ...plan,
      faults,
      work,
      ...masters && { masters },
      ...market && { market, trades: trades ?? [] },
    },
  };
}

/** A schedule as text for a file: an object that fits on a line is on one line. */
export function printSchedule(schedule: Schedule): string {
  const { plan } = schedule;
  const trades = plan.trades?.map(special);
  return `${printed({ ...schedule, plan: { ...plan, trades } }, "")}\n`;
}

/** `value` with missing fields taken from `plain`; checks that their types agree. */
function filled<T extends object>(value: unknown, plain: T, path: string): T {
  if (!isRecord(value)) throw wrong(path, value, "an object");
  const whole: Record<string, unknown> = { ...plain, ...value };
  for (const [name, other] of Object.entries(plain)) {
    const field = whole[name];
    const where = path === "the schedule" ? name : `${path}.${name}`;
    if (Array.isArray(other)) {
      if (!Array.isArray(field)) throw wrong(where, field, "a list");
    } else if (isRecord(other)) whole[name] = filled(field, other, where);
    else if (typeof field !== typeof other) throw wrong(where, field, `a ${typeof other}`);
  }
  return whole as T;
}

function wrong(path: string, value: unknown, allowed: string): Error {
  return new Error(`${path} is ${JSON.stringify(value)}, it must be ${allowed}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function printed(value: unknown, indent: string, before: number = 0): string {
  const line = quotedShort(value);
  if (typeof value !== "object" || value === null) return line;
  if (indent.length + before + line.length < WIDTH && indent.length > 0) return line;
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    const items = value.map((item) => inner + printed(item, inner));
    return `[\n${items.join(",\n")}\n${indent}]`;
  }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  const lines = fields.map(([name, field]) => {
    const head = `${JSON.stringify(name)}: `;
    return inner + head + printed(field, inner, head.length);
  });
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

function quotedShort(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(quotedShort).join(", ")}]`;
  if (!isRecord(value)) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    .map(([name, field]) => `${JSON.stringify(name)}: ${quotedShort(field)}`);
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`;
}
