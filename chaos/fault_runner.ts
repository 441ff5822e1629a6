/**
 * Applies a round's faults to real processes on a real registry, each at its time, and counts them.
 *
 * A fault is skipped if its node is already down or if it would leave no node up; only a blackout
 * may take down all nodes. When {@link heal} resolves, every fault is undone.
 */
import type { RuntimeName } from "../test/e2e/process.ts";
import { timing } from "../src/registry/lease.ts";
import { ManagedNode, type NodeRun, within } from "./managed_node.ts";
import type { Fault, FaultKind } from "./plan.ts";
import type { Registry, StoreFault } from "./registry.ts";
import type { Report } from "./report.ts";

/** The takeover time of the `fast` lease that all nodes run with, in ms. */
export const TAKEOVER_MS: number = timing("fast").takeoverMs;
/** How long a drain may take: the sum of its own limits and a margin, in ms. */
const DRAIN_MS = 20_000;

/** A fault or restart, for the report. */
export interface FaultRecord {
  readonly at: number;
  readonly what: string;
}

export class FaultRunner {
  readonly nodes: readonly ManagedNode[];
  /** Faults that happened, by kind. */
  readonly counts: Map<FaultKind, number> = new Map();
  /** The faults and restarts of this round, in order. */
  readonly log: FaultRecord[] = [];
  /** Names that a resumed process got back, because its successor's lease had lapsed. */
  namesTakenBack = 0;
  readonly #registry: Registry;
  readonly #report: Report;
  #underWay = new Set<Promise<void>>();
  /** Ends all pauses of faults once healing begins. */
  #healing: AbortController = new AbortController();
  #isRedisBusy = false;
  #isClosed = false;

  constructor(
    registry: Registry,
    runtimes: readonly RuntimeName[],
    env: Record<string, string>,
    report: Report,
  ) {
    this.#registry = registry;
    this.#report = report;
    const all = { ...env, ATLAS_REGISTRY_URL: registry.url, ATLAS_LEASE: "fast" };
    this.nodes = runtimes.map((runtime, i) => new ManagedNode(`n${i}`, runtime, all));
    for (const node of this.nodes) {
      node.onDeath = ({ id }, status) => this.#track("death", this.#ended(node, id, status));
      node.onReturn = ({ id }) => {
        this.namesTakenBack++;
        this.#note(`${id}, which was replaced, has its name again`);
      };
    }
  }

  async open(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()));
  }

  /** Processes that can be called, including frozen and replaced ones. */
  runs(): NodeRun[] {
    return this.nodes.flatMap(({ state, current, former }) => {
      const isThere = current && state !== "down" && state !== "starting";
      return [...(isThere ? [current] : []), ...former];
    });
  }

  /** Keys whose lost turns some process reported in this round. */
  reportedLosses(): ReadonlySet<string> {
    const programs = this.nodes.flatMap((node) => node.programs);
    const lines = programs.flatMap(({ program }) => program.output.stderr.split("\n"));
    const losses = lines.filter((line) => line.includes('"message":"state lost"'));
    return new Set(losses.map((line) => String(JSON.parse(line).key)));
  }

  /** Applies the faults of a round that lasts `lengthMs`. */
  async applyFaults(faults: readonly Fault[], lengthMs: number): Promise<void> {
    this.#healing = new AbortController();
    this.log.length = 0;
    const began = performance.now();
    for (const fault of faults) {
      await this.#pause(began + fault.at - performance.now());
      this.#begin(fault);
    }
    await this.#pause(began + lengthMs - performance.now());
  }

  /** Heals everything: afterwards the store is up, every process runs, and every name has a process. */
  async heal(): Promise<void> {
    this.#note("healing begins");
    this.#healing.abort();
    await Promise.all(this.#underWay);
    this.#note("healed");
  }

  /** Kills all processes. */
  close(): void {
    this.#isClosed = true;
    for (const node of this.nodes) node.close();
  }

  #begin(fault: Fault): void {
    const { kind } = fault;
    const work = this.#work(fault);
    if (!work) return;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.#track(kind, work);
  }

  #track(what: string, work: Promise<void>): void {
    const done = work.catch((error: unknown) => this.#report("faults", `${what}: ${error}`))
      .finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  /** Starts the fault; null if it is not possible now. */
  #work({ kind, node, ms }: Fault): Promise<void> | null {
    switch (kind) {
      case "redis_kill":
      case "redis_freeze":
      case "redis_planned":
        return this.#isRedisBusy ? null : this.#breakRedis(kind, ms);
      case "blackout":
        return this.#blackOut(ms);
      default: {
        const up = this.nodes.filter(({ state }) => state === "up");
        const victim = this.nodes[node] as ManagedNode;
        if (victim.state !== "up" || up.length < 2) return null;
        if (kind === "kill") return this.#kill(victim, ms);
        if (kind === "freeze") return this.#freeze(victim, ms);
        return kind === "drain" ? this.#drain(victim, ms) : this.#replace(victim, ms);
      }
    }
  }

  async #kill(node: ManagedNode, ms: number): Promise<void> {
    this.#note(`SIGKILL ${node.current?.id}, for ${ms} ms`);
    await node.kill();
    await this.#pause(ms);
    await this.#start(node);
  }

  async #blackOut(ms: number): Promise<void> {
    const up = this.nodes.filter(({ state }) => state === "up");
    await Promise.all(up.map((node) => this.#kill(node, ms)));
  }

  async #freeze(node: ManagedNode, ms: number): Promise<void> {
    await this.#registry.freeze(node);
    this.#note(`SIGSTOP ${node.current?.id}, for ${ms} ms`);
    await this.#pause(ms);
    node.thaw();
    this.#note(`SIGCONT ${node.current?.id}`);
  }

  async #drain(node: ManagedNode, ms: number): Promise<void> {
    const id = node.current?.id;
    this.#note(`SIGTERM ${id}, for ${ms} ms`);
    const status = await within(DRAIN_MS, node.drain(), `${id} did not drain`).catch(String);
    this.#note(`${id} ended: ${status}`);
    if (status !== 0) this.#report("drain", `${id} ended with ${status} after SIGTERM, not 0`);
    await this.#pause(ms);
    await this.#start(node);
  }

  async #replace(node: ManagedNode, ms: number): Promise<void> {
    await this.#registry.freeze(node);
    this.#note(`SIGSTOP ${node.current?.id}, to be replaced`);
    const old = await node.replace();
    old.program.ended.then((status) => {
      if (status === 1 || this.#isClosed || node.returned.has(old)) return;
      this.#report("one name", `${old.id}, whose name was taken, ended with ${status}, not 1`);
    });
    this.#note(`${node.current?.id} took its name`);
    await this.#pause(ms);
    old.program.signal("SIGCONT");
    this.#note(`SIGCONT ${old.id}, which is replaced`);
  }

  /**
   * A process ended by itself: its supervisor starts another. It ends if a resumed process
   * registered under the name first, after both leases had lapsed; the process that starts now
   * keeps the name.
   */
  async #ended(node: ManagedNode, id: string, status: number | string): Promise<void> {
    this.#note(`${id} ended by itself: ${status}`);
    if (status !== 1 || node.former.size === 0) {
      this.#report("alive", `${id} ended by itself, with ${status}`);
    }
    await this.#start(node);
  }

  async #breakRedis(kind: StoreFault, ms: number): Promise<void> {
    this.#isRedisBusy = true;
    this.#note(`${kind}, for ${ms} ms`);
    await this.#registry.suffer(kind, () => this.#pause(ms));
    this.#note("Redis is back");
    this.#isRedisBusy = false;
  }

  async #start(node: ManagedNode): Promise<void> {
    await node.start();
    this.#note(`${node.current?.id} is ready`);
  }

  #note(what: string): void {
    this.log.push({ at: performance.now(), what });
  }

  /** Waits for `ms`, but no longer than until healing begins. */
  #pause(ms: number): Promise<void> {
    const { signal } = this.#healing;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, ms));
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }
}
