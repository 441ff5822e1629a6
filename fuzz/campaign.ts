/**
 * Runs one part: starts a node and the well-behaved clients, and sends hostile inputs in parallel
 * until the time is over. Takes runtime, part, seed and time; gives a row of the table and the
 * violations, with how to repeat them.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RuntimeName } from "../test/e2e/process.ts";
import { Attack, type Part, type Report, type Sender } from "./attack.ts";
import {
  INPUT_MS,
  MAX_SLOW,
  PARALLEL_INPUTS,
  REST_MS,
  SLOW_INPUT_MS,
  SLOW_ONE_IN,
  STOP_MS,
} from "./bounds.ts";
import { Draw } from "./draw.ts";
import { RawConnections } from "./lines.ts";
import { openTarget, type Target } from "./target.ts";
import { Watch } from "./watch.ts";

export interface PartOptions {
  readonly runtime: RuntimeName;
  readonly part: Part;
  readonly seed: number;
  readonly ms: number;
  /** The number of the first input. */
  readonly from: number;
  /** How many inputs there are, at most. */
  readonly inputs: number;
  /** How long `/healthz` may take at most, in ms. */
  readonly maxDelayMs: number;
}

/** A rule that was broken. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
  /** How many times it was reported. */
  count: number;
}

/** The result of a part. */
export interface PartResult {
  readonly runtime: RuntimeName;
  readonly part: string;
  readonly minutes: number;
  readonly inputs: number;
  readonly connections: number;
  /** Answers by their status. */
  readonly statuses: ReadonlyMap<number, number>;
  readonly watch: Watch;
  readonly violations: readonly Violation[];
  /** Where the log and the last inputs are kept, if a rule was broken. */
  readonly artifacts: string | null;
}

/** After this many inputs, each status that the part reaches must have been answered. */
const REACHING = 200;
/** The last inputs that are kept, to find the one that broke a rule. */
const REMEMBERED = 300;

export async function runPart(options: PartOptions): Promise<PartResult> {
  const { runtime, part, seed } = options;
  const violations = new Map<string, Violation>();
  const report: Report = (rule, message) => {
    const known = violations.get(rule);
    if (known) return void known.count++;
    violations.set(rule, { rule, message, count: 1 });
    console.error(`VIOLATION on ${runtime}, ${part.name}: ${rule}: ${message}`);
  };
  const target = await openTarget(runtime, part.registry, seed);
  const lines = new RawConnections(target.port);
  const watch = await Watch.start(target, part, lines, report, options.maxDelayMs);
  const assault = new Assault(options, target, lines, await part.begin(target, report), report);
  const began = performance.now();
  try {
    await assault.run();
    if (!assault.isNodeOver) await watch.settle();
    await assault.close();
    await watch.close();
    if (!assault.isNodeOver) await stop(target, report, assault);
    watch.readLog();
  } finally {
    await target.node.kill();
    await target.close();
  }
  const found = [...violations.values()];
  return {
    runtime,
    part: part.name,
    minutes: (performance.now() - began) / 60_000,
    inputs: assault.sent,
    connections: lines.opened,
    statuses: assault.statuses,
    watch,
    violations: found,
    artifacts: found.length > 0 ? keep(found, assault, watch) : null,
  };
}

/** Sends inputs in parallel loops. */
class Assault {
  sent = 0;
  /** Answers by their status. */
  readonly statuses: Map<number, number> = new Map();
  /** The last inputs, oldest first. */
  readonly recent: Attack[] = [];
  readonly #options: PartOptions;
  readonly #target: Target;
  readonly #lines: RawConnections;
  readonly #sender: Sender;
  readonly #report: Report;
  #slow = 0;
  #isOver = false;
  /** Whether the node has ended. */
  isNodeOver = false;
  /** Whether it was signalled to end. */
  isStopping = false;

  constructor(
    options: PartOptions,
    target: Target,
    lines: RawConnections,
    sender: Sender,
    report: Report,
  ) {
    this.#options = options;
    this.#target = target;
    this.#lines = lines;
    this.#sender = sender;
    this.#report = report;
    target.node.ended.then((status) => {
      if (!this.isStopping) report("alive", `the node ended by itself with ${status}`);
      this.isNodeOver = this.#isOver = true;
    });
  }

  /** Sends until the time is over or the node has ended. */
  async run(): Promise<void> {
    const timer = setTimeout(() => this.#isOver = true, this.#options.ms);
    await Promise.all(Array.from({ length: PARALLEL_INPUTS }, () => this.#work()));
    clearTimeout(timer);
    this.#isOver = true;
    if (!this.isNodeOver) await this.#sender.end?.();
    const { part, from } = this.#options;
    for (const status of from > 0 || this.sent < REACHING ? [] : part.reaches) {
      if (this.statuses.has(status)) continue;
      this.#report("reach", `no input of ${this.sent} was answered with ${status}`);
    }
    this.#lines.closeAll();
  }

  close(): Promise<void> | undefined {
    return this.#sender.close?.();
  }

  async #work(): Promise<void> {
    const { seed, part, from, inputs } = this.#options;
    while (!this.#isOver && this.sent < inputs) {
      const number = from + this.sent++;
      const draw = new Draw(seed, `${part.name} ${number}`);
      // Always drawn, so that the content of an input doesn't depend on other inputs.
      const isSlow = draw.below(SLOW_ONE_IN) === 0;
      if (!isSlow) await this.#send(new Attack(number, draw, this.#target, this.#lines, false));
      else if (this.#slow < MAX_SLOW) void this.#sendSlowly(number, draw);
      await rest(new Draw(seed, `rest ${number}`).below(REST_MS));
    }
    while (this.#slow > 0 && !this.#isOver) await rest(50);
  }

  /** Runs beside the loop, which goes on. */
  async #sendSlowly(number: number, draw: Draw): Promise<void> {
    this.#slow++;
    await this.#send(new Attack(number, draw, this.#target, this.#lines, true));
    this.#slow--;
  }

  async #send(attack: Attack): Promise<void> {
    this.recent.push(attack);
    if (this.recent.length > REMEMBERED) this.recent.shift();
    const ms = attack.isSlow ? SLOW_INPUT_MS : INPUT_MS;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    try {
      await Promise.race([this.#sender.send(attack), late, this.#over(attack)]);
    } catch (error) {
      this.#report("tool", `input ${attack.number}: ${(error as Error).stack}`);
    }
    clearTimeout(timer);
    attack.isLate = true;
    const { statuses } = this;
    const countStatus = (status: number) => statuses.set(status, (statuses.get(status) ?? 0) + 1);
    for (const fault of attack.finish(countStatus)) {
      this.#report("answers", `input ${attack.number}, ${attack.what}: ${fault}`);
    }
  }

  /** Resolves soon after the run has ended, even if an input is still running. */
  async #over(attack: Attack): Promise<void> {
    while (!this.#isOver && !attack.isLate) await rest(100);
    attack.isLate = true;
    await rest(500);
  }
}

async function stop({ node }: Target, report: Report, assault: Assault): Promise<void> {
  assault.isStopping = true;
  node.signal("SIGTERM");
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no exit within ${STOP_MS} ms`), STOP_MS);
  });
  const status = await Promise.race([node.ended, late]);
  clearTimeout(timer);
  if (status !== 0) report("stop", `after SIGTERM it ended with ${status}, not with 0`);
}

/** Writes the artifacts of a failed part to a folder; gives its path. */
function keep(violations: readonly Violation[], { recent }: Assault, { log }: Watch): string {
  const folder = mkdtempSync(join(tmpdir(), "atlas-fuzz-found-"));
  writeFileSync(join(folder, "violations.json"), JSON.stringify(violations, null, 1));
  writeFileSync(join(folder, "node.log"), log);
  const inputs = recent.map(({ number, what, written }) =>
    `${number} ${what}: ${JSON.stringify(written.toString("latin1"))}\n`
  );
  writeFileSync(join(folder, "inputs.txt"), inputs.join(""));
  return folder;
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
