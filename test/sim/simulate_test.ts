/** `simulate` for users: it finds violations, says how to replay them, and is deterministic. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { ROOT, RUNTIMES } from "../../scripts/runtimes.ts";
import { type App, defineApp, Resource } from "../../mod.ts";
import { simulate, type SimulateOptions, SimulationError } from "../../testing.ts";

class Counter extends Resource {
  /** Kept in memory only: lost with the process. */
  forgotten = 0;

  async add(): Promise<number> {
    const total = ((await this.storage.get<number>("n")) ?? 0) + 1;
    await this.storage.put("n", total);
    return total;
  }

  forgetfulAdd(): number {
    return ++this.forgotten;
  }

  sharp(): never {
    throw new TypeError("a bug");
  }

  chance(text: string): number {
    return text.length;
  }
}

const app: App<{ counters: typeof Counter }> = defineApp({ resources: { counters: Counter } });
type Options = SimulateOptions<typeof app>;

const SHORT = { durationMs: 4_000 } as const;
const add: Options["workload"] = ({ atlas }) => atlas.resource("counters", "c").add();

async function failureOf(options: Options): Promise<SimulationError> {
  const error = await simulate(app, options).then(() => null, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SimulationError);
  return error as SimulationError;
}

test("a seed gives the same trace each time, and another seed gives a different one", async () => {
  const first = await simulate(app, { seed: 3, ...SHORT, workload: add });
  const again = await simulate(app, { seed: 3, ...SHORT, workload: add });
  const other = await simulate(app, { seed: 4, ...SHORT, workload: add });
  expect(again).toEqual(first);
  expect(other.hash).not.toBe(first.hash);
});

test("without faults, every call is answered", async () => {
  const report = await simulate(app, {
    seeds: 3,
    nodes: 1,
    faults: "none",
    ...SHORT,
    // The first node is up after some round trips.
    workload: ({ atlas, sleep }) => sleep(2_000).then(() => atlas.resource("counters", "c").add()),
  });
  expect(report.seeds).toBe(3);
  expect(report.faults).toEqual({});
  expect(report.answered).toBe(report.calls);
  expect(report.calls).toBeGreaterThan(10);
});

test("only the requested kinds of faults happen, about as often as requested", async () => {
  const faults = ["crash", { kind: "partition", perMinute: 60, ms: 500 }];
  const report = await simulate(app, { seeds: 5, durationMs: 10_000, faults, workload: add });
  expect(Object.keys(report.faults).sort()).toEqual(["crash", "partition"]);
  expect(report.faults["partition"]).toBeGreaterThan(25);
  expect(report.faults["partition"]).toBeLessThan(100);
});

test("state lost in a crash is found, and the error says how to replay it", async () => {
  const options: Options = {
    seeds: 20,
    faults: [{ kind: "crash", perMinute: 20 }],
    workload: ({ atlas }) => atlas.resource("counters", "c").forgetfulAdd(),
    async check({ atlas, history, fail }) {
      const acknowledged = history.filter(({ outcome }) => outcome === "ok").length;
      const total = await atlas.resource("counters", "c").forgetfulAdd();
      if (total <= acknowledged) fail(`${acknowledged} were acknowledged, ${total - 1} are left`);
    },
  };
  const error = await failureOf(options);
  const { seed, message } = error;
  expect(error.failure.violations[0]).toMatchObject({ rule: "check" });
  expect(error.failure.faults.length).toBeGreaterThan(0);
  expect(error.failure.remarks.length).toBeGreaterThan(10);
  expect(error.failure.isRepeatable).toBe(true);
  expect(message).toContain(`seed ${seed} breaks a rule: check: `);
  expect(message).toContain(`replay: simulate(app, { …, seed: ${seed}, seeds: 1 })`);
  expect(message).toMatch(/^ +\d+\.\d{3} {2}crash a=\d/m);
  const again = await failureOf({ ...options, seed, seeds: 1 });
  expect(again.message).toBe(message);
});

test("an error that the workload or the check throws is the failure's cause", async () => {
  const bug = new Error("this is wrong");
  const inWorkload = await failureOf({ ...SHORT, workload: () => Promise.reject(bug) });
  expect(inWorkload.cause).toBe(bug);
  expect(inWorkload.failure.violations[0]?.rule).toBe("workload");
  const check = (): never => {
    throw bug;
  };
  const inCheck = await failureOf({ ...SHORT, workload: add, check });
  expect(inCheck.cause).toBe(bug);
  expect(inCheck.failure.violations[0]).toMatchObject({ rule: "check", message: bug.message });
});

test("an error thrown by a method is not excused by faults", async () => {
  const workload: Options["workload"] = ({ atlas }) => atlas.resource("counters", "c").sharp();
  const error = await failureOf({ ...SHORT, faults: "none", workload });
  expect(error.message).toContain("a bug");
  expect(error.cause).toMatchObject({ code: "app" });
});

test("an app that uses its own randomness is reported", async () => {
  let runs = 0;
  const error = await failureOf({
    ...SHORT,
    workload: ({ atlas }) => atlas.resource("counters", "c").chance("x".repeat(runs)),
    check({ fail }) {
      runs++;
      fail("always");
    },
  });
  expect(error.failure.isRepeatable).toBe(false);
  expect(error.message).toContain("a second run of this seed went another way");
});

test("a client that never ends is reported", async () => {
  const error = await failureOf({
    ...SHORT,
    clients: 2,
    workload: ({ caller }) => caller === "client-1" ? new Promise(() => {}) : Promise.resolve(),
  });
  expect(error.failure.violations[0]?.message).toMatch(/^client-1 did not come to an end/);
});

test("the history has each call as its caller saw it", async () => {
  let seen: readonly unknown[] = [];
  await simulate(app, {
    ...SHORT,
    nodes: ["us/a"],
    faults: "none",
    clients: 1,
    workload: ({ atlas }) => atlas.resource("counters", "c d", { idempotencyKey: "k" }).add(),
    check({ history }) {
      seen = history.filter(({ outcome }) => outcome === "ok");
    },
  });
  expect(seen[0]).toMatchObject({
    caller: "client-0",
    node: "us/a",
    type: "counters",
    id: "c d",
    method: "add",
    args: [],
    idempotencyKey: "k",
    result: 1,
    error: null,
    rrp: "rrp:us/a/counters/c%20d",
    epoch: 1,
  });
});

test.for<[string, object]>([
  ["seed is -1, it must be a number from 0 to 9007199254740991", { seed: -1 }],
  ["seed is 1.5, it must be a whole number from 0", { seed: 1.5 }],
  ["seeds is 0, it must be a number from 1", { seeds: 0 }],
  ["nodes is 17, it must be a number from 1 to 16", { nodes: 17 }],
  ["nodes is [], it must be a number or a list of 1 to 16 names", { nodes: [] }],
  ['nodes is "a", it must be names such as "us-east-1/a"', { nodes: ["a"] }],
  ['nodes is ["r/a","r/a"], it must be a list of different names', { nodes: ["r/a", "r/a"] }],
  ["durationMs is 10, it must be a number from 1000", { durationMs: 10 }],
  ['faults is "mild", it must be "none", "calm", "wild" or a list', { faults: "mild" }],
  ['faults is "flood", it must be of these kinds: pause, crash', { faults: ["flood"] }],
  ["perMinute of crash is 0", { faults: [{ kind: "crash", perMinute: 0 }] }],
  ["clients is 0, it must be a number from 1 to 256", { clients: 0 }],
  ["workload is undefined, it must be a function", { workload: undefined }],
  ["check is 5, it must be a function", { check: 5 }],
])("refuses: %s", async ([message, options]) => {
  const refused = simulate(app, { workload: add, ...options } as Options);
  await expect(refused).rejects.toMatchObject({ name: "AtlasError" });
  await expect(refused).rejects.toThrow(message);
});

test("the same trace on every runtime that is installed", async () => {
  const present = RUNTIMES.filter(({ run: [program = ""] }) => existsSync(program));
  const traces = await Promise.all(present.map(({ run }) => traceOf(run)));
  expect(traces[0]).toMatch(/^trace [0-9a-f]{16}$/);
  expect(new Set(traces).size, `${traces}`).toBe(1);
});

function traceOf([program = "", ...flags]: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) =>
    execFile(
      program,
      [...flags, "test/sim/fixtures/one_seed.ts"],
      { cwd: ROOT },
      (error, out) => error ? reject(error) : resolve(out.trim()),
    )
  );
}
