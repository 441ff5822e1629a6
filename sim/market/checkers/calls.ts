/**
 * Rules on module calls:
 *
 * - `calls`: each call returns once, in time, and reports correctly whether it ran.
 * - `hot code`: old code stays while anything runs on it, and is dropped after that.
 */
import type { Report } from "../../checkers/checker.ts";
import type { MarketChecker, ModuleCallRecord, Publication, Run } from "../history.ts";
import type { Answer } from "../modules.ts";

/** How much later than its deadline a call may return, ms: timers are not exact. */
const SLACK_MS = 30;
const SLACK_RATIO = 0.01;

/**
 * Rule: each call returns exactly once, by its deadline, as long as its process lives. An answered
 * call ran exactly once, on the code and node that it names; one that failed as not executed never
 * ran and never will.
 */
export const calls: MarketChecker = {
  name: "calls",
  watch({ world }, report) {
    const open = new Set<ModuleCallRecord>();
    const processOf = (id: string) => [...world().nodes()].find(({ process }) => process.id === id);
    const lateBy = (call: ModuleCallRecord, at: number, heldMs: number): number =>
      at - call.invokedAt - call.timeoutMs * (1 + SLACK_RATIO) - (heldMs - call.heldMs) - SLACK_MS;
    return {
      moduleCalled: (call) => void open.add(call),
      began({ publication }, call) {
        if (call.runs.length > 1) report(`${describe(call)} runs ${call.runs.length} times`);
        if (publication.module !== call.module) {
          report(`${describe(call)} runs as ${publication.module}`);
        }
        if (call.outcome === "fail") report(`${describe(call)} runs, though it was said not to`);
      },
      moduleReturned(call) {
        if (!open.delete(call)) report(`${describe(call)} came back twice`);
        const late = lateBy(call, call.returnedAt, processOf(call.process)?.process.heldMs ?? 0);
        if (late > 0) report(`${describe(call)} came back ${late} ms after its deadline`);
        if (call.returnedAt > call.givenUpAt + SLACK_MS) {
          report(`${describe(call)} came back long after it was given up`);
        }
        if (call.outcome === "ok") checkAnswer(call, report);
        else checkFailure(call, report);
      },
      finished() {
        const { scheduler } = world();
        for (const call of open) {
          const sim = processOf(call.process);
          if (sim && lateBy(call, scheduler.now, sim.process.heldMs) > 0) {
            report(`${describe(call)} never came back`);
          }
        }
      },
    };
  },
};

function checkAnswer(call: ModuleCallRecord, report: Report): void {
  const [run, ...more] = call.runs;
  if (!run || more.length > 0) return report(`${describe(call)} ran ${call.runs.length} times`);
  if (run.endedAt === Infinity) report(`${describe(call)} was answered while it ran`);
  const [number, version] = call.result as Answer;
  if (number !== call.id) report(`${describe(call)} got the answer of call ${number}`);
  if (version !== run.version || call.version !== version) {
    report(`${describe(call)} ran on ${run.version}, and was said to have on ${call.version}`);
  }
  if (!run.publication.process.startsWith(`${call.node}#`)) {
    report(
      `${describe(call)} ran at ${run.publication.process}, and was said to have at ${call.node}`,
    );
  }
  if (["throw", "deny"].includes(call.behavior)) {
    report(`${describe(call)} can't have been answered`);
  }
}

function checkFailure(call: ModuleCallRecord, report: Report): void {
  const { code, outcome, message } = call;
  if (outcome === "fail" && call.runs.length > 0) {
    report(`${describe(call)} ran, and was said not to have (${code})`);
  }
  const isKnown = ["timeout", "unavailable", "overloaded", "not_found", "app"].includes(code ?? "");
  if (!isKnown) report(`${describe(call)} failed with ${code}: ${message}`);
  if (code === "app" && call.behavior !== "throw") report(`${describe(call)} threw, by ${message}`);
  if (code === "overloaded" && !call.noWait) report(`${describe(call)} was refused: ${message}`);
  if (code === "not_found" && call.name !== "extra") report(`${describe(call)}: ${message}`);
  // The channel reports such an error only for a function that has run.
  if (message.endsWith("on purpose") && call.runs.length !== 1) {
    report(`${describe(call)} failed as code does that ran, and ran ${call.runs.length} times`);
  }
}

function describe({ id, module, name, behavior, process }: ModuleCallRecord): string {
  return `call ${id} of ${module}.${name} (${behavior}) at ${process}`;
}

/**
 * Rule: old code stays while anything runs on it and is dropped once after that. A run ends on the
 * code that it began on.
 */
export const hotCode: MarketChecker = {
  name: "hot code",
  watch({ world }, report) {
    const running = new Set<Run>();
    /** Code that ever ran. */
    const used = new Map<Publication, Set<string>>();
    /** Code that was dropped, by process. */
    const dropped = new Set<string>();
    return {
      began(run) {
        running.add(run);
        const hashes = used.get(run.publication) ?? new Set();
        used.set(run.publication, hashes.add(run.hash));
        const { process } = run.publication;
        if (dropped.has(`${process} ${run.hash}`)) {
          report(`call ${run.call} runs at ${process} on ${run.version}, which was dropped`);
        }
      },
      ended: (run) => void running.delete(run),
      eventLogged(process, { event, fields: { version, hash } }) {
        if (event !== "old code dropped") return;
        const code = `${process} ${hash}`;
        if (dropped.has(code)) report(`${process} dropped ${version} (${hash}) twice`);
        dropped.add(code);
        for (const run of running) {
          const { publication } = run;
          // Calls that still ran at the time limit of their listener's close were abandoned.
          if (publication.process !== process || publication.isClosed) continue;
          if (run.hash !== hash) continue;
          report(`${process} dropped ${version} (${hash}), on which call ${run.call} runs`);
        }
      },
      sampled({ sim, listeners }) {
        const codes = new Map(
          listeners.map(({ publication, stats }) => [publication, stats.codes]),
        );
        for (const { publication, hash, version, call } of running) {
          if (publication.isClosed) continue;
          const inUse = codes.get(publication);
          if (!inUse || inUse.some((code) => code.hash === hash)) continue;
          report(`call ${call} runs at ${sim.process.id} on ${version}, which isn't in use there`);
        }
      },
      finished() {
        const alive = new Set([...world().nodes()].map(({ process }) => process.id));
        for (const [{ listener, process, isClosed }, hashes] of used) {
          if (isClosed || !alive.has(process)) continue;
          const codes = new Set(listener().stats().codes.map(({ hash }) => hash));
          for (const hash of hashes) {
            const isDropped = dropped.has(`${process} ${hash}`);
            if (isDropped && codes.has(hash)) report(`${process} dropped ${hash}, and uses it`);
            if (!isDropped && !codes.has(hash)) report(`${process} never dropped ${hash}`);
          }
        }
      },
    };
  },
};
