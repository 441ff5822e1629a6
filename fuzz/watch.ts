/**
 * Observes a node under attack from outside: memory and descriptors (Linux, /proc), its log, and
 * the figures of the well-behaved clients. Reports figures that exceed their bounds, and keeps the
 * worst of each.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { Part, Report } from "./attack.ts";
import {
  END_GROWTH_BYTES,
  LEFT_DESCRIPTORS,
  LEFT_GROWTH_BYTES,
  MAX_GROWTH_BYTES,
  SETTLE_MS,
  SPARE_DESCRIPTORS,
} from "./bounds.ts";
import type { RawConnections } from "./lines.ts";
import type { Target } from "./target.ts";
import type { Figures, Instructions } from "./health_probe.ts";

/** Why nothing can be measured on this machine; null if it can. */
export const unmeasurable: string | null = existsSync("/proc/self/fd")
  ? null
  : "this machine has no /proc, from which a node's memory and descriptors are read";

/** The memory and descriptors that a node uses at one time. */
interface Sample {
  readonly resident: number;
  readonly descriptors: number;
}

/** The number of well-behaved calls before the base is measured. */
const WARM_CALLS = 20;
const EVERY_MS = 250;
/** The number of measurements that cover more time than a lease of 6 s. */
const RECENT = 28;
/**
 * If a node's main thread waited for a processor for this long in that time, in ms, a lapse of the
 * lease is not the node's fault.
 */
const EXCUSING_MS = 2_000;
/** The length of the kept end of the log, in UTF-16 code units. */
const KEPT_LOG = 2_000_000;

/** Lines of a node's log that report internal errors. */
const FAULT = /http request failed|uncaught|unhandled|panicked|out of memory/i;

/** The log line of a node whose lease has lapsed. */
const LAPSE = '"message":"lease lapsed"';

export class Watch {
  readonly base: Sample;
  peak: Sample;
  /** Its usage once all connections are closed. */
  left: Sample;
  log = "";
  figures: Figures;
  lapses = 0;
  /** How long the node's main thread waited for a processor in that time. */
  starvedMs = 0;
  readonly #starvedBefore: number;
  /** The same since the node started, at the last measurements. */
  readonly #recent: number[];
  /** Whether the lease lapsed for want of a processor, so that calls may have failed. */
  isExcused = false;
  readonly #target: Target;
  readonly #part: Part;
  readonly #lines: RawConnections;
  readonly #report: Report;
  readonly #probe: Worker;
  readonly #maxDelayMs: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isLooking = false;

  private constructor(
    target: Target,
    part: Part,
    lines: RawConnections,
    report: Report,
    probe: Worker,
    figures: Figures,
    maxDelayMs: number,
  ) {
    this.#target = target;
    this.#part = part;
    this.#lines = lines;
    this.#report = report;
    this.#probe = probe;
    this.#maxDelayMs = maxDelayMs;
    this.figures = figures;
    this.base = this.peak = this.left = sampleOf(target.node.pid);
    this.#starvedBefore = starvedOf(target.node.pid);
    this.#recent = [this.#starvedBefore];
  }

  /** Starts the well-behaved clients, and measures the base once they run. */
  static async start(
    target: Target,
    part: Part,
    lines: RawConnections,
    report: Report,
    maxDelayMs: number,
  ): Promise<Watch> {
    const { port, authorization, node: { pid } } = target;
    const workerData: Instructions = { port, authorization, pid };
    const probe = new Worker(new URL("./health_probe.ts", import.meta.url), { workerData });
    probe.on("error", (error) => report("probe", String(error)));
    let figures = await figuresOf(probe);
    for (let left = 200; left > 0 && figures.calls.ok < WARM_CALLS; left--) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      figures = await figuresOf(probe);
    }
    const watch = new Watch(target, part, lines, report, probe, figures, maxDelayMs);
    watch.#timer = setInterval(() => void watch.#look(), EVERY_MS);
    return watch;
  }

  /** Measures again, and waits until the memory and descriptors of the connections are released. */
  async settle(): Promise<void> {
    clearInterval(this.#timer);
    await this.#look();
    await this.#waitUntilGivenBack();
    await this.#look();
    this.#judgeLeft();
    this.#judgeClients();
    this.starvedMs = starvedOf(this.#target.node.pid) - this.#starvedBefore;
  }

  /** The greatest usage that is allowed once all connections are closed. */
  get #mostLeft(): Sample {
    const { resident, descriptors } = this.base;
    const { ownConnections = 0 } = this.#part;
    return {
      resident: resident + LEFT_GROWTH_BYTES,
      descriptors: descriptors + ownConnections + LEFT_DESCRIPTORS,
    };
  }

  async #waitUntilGivenBack(): Promise<void> {
    const most = this.#mostLeft;
    const giveUp = performance.now() + SETTLE_MS;
    do {
      this.left = sampleOf(this.#target.node.pid);
      const { resident, descriptors } = this.left;
      if (resident <= most.resident && descriptors <= most.descriptors) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    } while (performance.now() < giveUp);
  }

  #judgeLeft(): void {
    const { left, base } = this;
    const most = this.#mostLeft;
    const since = `${SETTLE_MS} ms after all connections were closed`;
    if (left.resident > most.resident) {
      const found = `${mib(left.resident)} MiB are resident ${since}`;
      this.#report("memory given back", `${found}, at most ${mib(most.resident)} may be`);
    }
    if (left.descriptors > most.descriptors) {
      this.#report(
        "descriptors given back",
        `${left.descriptors} are open ${since}, at most ${most.descriptors} may be ` +
          `(${base.descriptors} at first)`,
      );
    }
  }

  /** Stops the well-behaved clients, and reads the end of the log. */
  async close(): Promise<void> {
    await this.#probe.terminate();
    this.readLog();
  }

  /** Reads the lines that the node has logged since the last read. */
  readLog(): void {
    const { output } = this.#target.node;
    const text = output.stderr;
    output.stderr = "";
    this.log = (this.log + text).slice(-KEPT_LOG);
    for (const line of text.split("\n")) {
      if (FAULT.test(line)) this.#report("log", line.slice(0, 600));
      if (!line.includes(LAPSE)) continue;
      this.lapses++;
      if (this.#part.liesOfRegistry) continue;
      const starvedMs = this.#recent.at(-1) as number - (this.#recent[0] as number);
      if (starvedMs > EXCUSING_MS) {
        this.isExcused = true;
        const said = `its main thread had waited for a processor for ${starvedMs.toFixed(0)} ms`;
        console.error(`  this lapse of the lease is not counted: ${said}`);
      } else this.#report("lease", line.slice(0, 600));
    }
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#lines.tick();
    const sample = sampleOf(this.#target.node.pid);
    this.peak = {
      resident: Math.max(this.peak.resident, sample.resident),
      descriptors: Math.max(this.peak.descriptors, sample.descriptors),
    };
    this.#judge(sample);
    this.#recent.push(starvedOf(this.#target.node.pid));
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.readLog();
    this.figures = await figuresOf(this.#probe);
    const { worstMs } = this.figures.health;
    if (worstMs > this.#maxDelayMs) {
      this.#report(
        "delay",
        `/healthz took ${worstMs.toFixed(0)} ms, at most ${this.#maxDelayMs} may pass`,
      );
    }
    this.#isLooking = false;
  }

  #judge({ resident, descriptors }: Sample): void {
    const most = this.base.resident + MAX_GROWTH_BYTES;
    if (resident > most) {
      this.#report("memory", `${mib(resident)} MiB are resident, at most ${mib(most)} may be`);
    }
    if (resident > this.base.resident + END_GROWTH_BYTES) {
      this.#report("alive", `it was killed at ${mib(resident)} MiB, to spare the machine`);
      this.#target.node.signal("SIGKILL");
    }
    const held = this.#lines.recentlyHeld;
    const spare = SPARE_DESCRIPTORS + (this.#part.ownConnections ?? 0);
    const allowed = this.base.descriptors + held + spare;
    if (descriptors > allowed) {
      this.#report(
        "descriptors",
        `${descriptors} are open, at most ${allowed} may be: ${this.base.descriptors} at first, ` +
          `${held} connections held, ${spare} to spare`,
      );
    }
  }

  #judgeClients(): void {
    const { health, calls, socket } = this.figures;
    if (health.failed > 0) this.#report("health", `/healthz failed ${health.failed} times`);
    if (this.#part.liesOfRegistry || this.isExcused) return;
    if (calls.failed > 0) {
      this.#report(
        "calls",
        `${calls.failed} healthy calls failed, first: ${calls.failures.join(" | ")}`,
      );
    }
    if (socket.lost + socket.closed > 0) {
      this.#report(
        "socket",
        `the healthy socket lost ${socket.lost} events, closed ${socket.closed} times`,
      );
    }
  }
}

function figuresOf(probe: Worker): Promise<Figures> {
  return new Promise((resolve) => {
    probe.once("message", resolve);
    probe.postMessage(null);
  });
}

/** The usage of a process that has ended: nothing. */
function sampleOf(pid: number): Sample {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1_024;
    return { resident, descriptors: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    return { resident: 0, descriptors: 0 };
  }
}

/** How long the main thread of a process has waited for a processor so far, in ms. */
function starvedOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** Bytes in whole MiB. */
export function mib(bytes: number): number {
  return Math.round(bytes / 1_048_576);
}
