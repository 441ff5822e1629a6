/**
 * The rules for types that operate without the store: compare the answers that callers got with the
 * entries in the store, and with the values that losers of a conflict got.
 *
 * - *marked*: a write that was answered without the offline mark is in the store by then.
 * - *kept*: it stays in the store, and no write is there twice.
 * - *handed over*: a write that was answered with the mark is in the store at the end, or was
 *   passed to
 *   `onConflict`,
 *   unless the process that held it ended.
 * - *told once*: `onConflict` runs once for each conflict that a node reports, and never otherwise.
 * - *one in the end*: after healing no node operates without the store, and nothing is in memory
 *   that
 *   is not owned.
 *
 * `offline_reach.ts` holds the rules for nodes that lose only the store.
 */
import type { LiveChecker } from "../checkers/checker.ts";
import type { CallRecord } from "../engine/history.ts";
import { readJournal } from "../engine/journal_app.ts";
import type { Observer } from "../engine/observer.ts";
import type { Reporter } from "../run/run_world.ts";
import type { FaultEvent } from "../plan/plan.ts";
import type { World } from "../engine/world.ts";
import { Reach } from "./offline_reach.ts";

/** The arguments of a call of `onConflict`. */
export interface Sighting {
  readonly key: string;
  readonly rrp: string;
  readonly epoch: number;
  /** The values that it could still read. */
  readonly values: readonly string[];
}

export class OfflineCheckers implements Observer {
  /** Answers with the offline mark. */
  marked = 0;
  /** Times that `onConflict` ran. */
  conflicts = 0;
  /** This object as a checker. */
  readonly checker: LiveChecker = { name: "offline", watch: () => this };
  #world!: World;
  #report!: Reporter;
  readonly #appends: CallRecord[] = [];
  /** Values that a call of `onConflict` got. */
  readonly #shown = new Set<string>();
  /** Conflicts that nodes logged, less the calls of `onConflict`. */
  readonly #open = new Map<string, number>();
  /** When processes ended, by node name. */
  readonly #ends = new Map<string, number[]>();
  readonly #faults: readonly FaultEvent[];
  #reach!: Reach;

  constructor(faults: readonly FaultEvent[]) {
    this.#faults = faults;
  }

  enter(world: World, report: Reporter): void {
    this.#world = world;
    this.#report = report;
    this.#reach = new Reach(this.#faults, world, report);
  }

  /** The number of answers that nodes without the store got from owners elsewhere. */
  get reached(): number {
    return this.#reach.reached;
  }

  called(record: CallRecord): void {
    this.#reach.called(record);
  }

  returned(record: CallRecord): void {
    this.#reach.returned(record);
    if (record.outcome !== "ok" || record.what !== "append") return;
    this.#appends.push(record);
    if (record.verdict !== null) return void this.marked++;
    if (this.#journal(record.key).some(({ value }) => value === record.value)) return;
    this.#report("marked")(`${nameOf(record)} is not in the store, and has no mark`);
  }

  /** A resource was told that it lost a conflict. */
  conflicted({ key, rrp, epoch, values }: Sighting): void {
    this.conflicts++;
    for (const value of values) this.#shown.add(value);
    this.#count(`${key} of ${nodeOf(rrp)} under ${epoch}`, -1);
  }

  eventLogged(process: string, { event, fields }: { event: string; fields: object }): void {
    if (event !== "lost to another owner while offline") return;
    const { key, epoch } = fields as { key: string; epoch: number };
    this.#count(`${key} of ${process.split("#")[0]} under ${epoch}`, 1);
  }

  process(id: string, isAlive: boolean, at: number): void {
    if (isAlive) return;
    const name = id.split("#")[0] as string;
    this.#ends.set(name, [...this.#ends.get(name) ?? [], at]);
  }

  finished(): void {
    for (const record of this.#appends) this.#checkKept(record);
    for (const [conflict, left] of this.#open) {
      const name = /of (\S+) under/.exec(conflict)?.[1] ?? "";
      // A process may have ended between the loss and the call.
      if (left === 0 || (left > 0 && this.#ends.has(name))) continue;
      const what = left > 0 ? "was told, and onConflict did not run" : "was none";
      this.#report("told once")(`the conflict about ${conflict} ${what}`);
    }
    this.#checkEnd();
  }

  #checkKept(record: CallRecord): void {
    const { key, value, verdict, rrp, invokedAt } = record;
    const times = this.#journal(key).filter((entry) => entry.value === value).length;
    if (times > 1) this.#report("kept")(`${nameOf(record)} is there ${times} times`);
    if (times > 0) return;
    if (verdict === null) return this.#report("kept")(`${nameOf(record)} is gone`);
    const hasEnded = this.#ends.get(nodeOf(rrp ?? ""))?.some((at) => at >= invokedAt);
    if (this.#shown.has(value) || hasEnded) return;
    this.#report("handed over")(`${nameOf(record)} was neither committed nor shown to anybody`);
  }

  #checkEnd(): void {
    let inMemory = 0;
    const keys = new Set(this.#appends.map(({ key }) => key));
    for (const { process, node } of this.#world.nodes()) {
      const { offlineResources = 0, resources = 0 } = node?.stats() ?? {};
      inMemory += resources;
      if (offlineResources > 0) {
        this.#report("one in the end")(`${offlineResources} are offline at ${process.id}`);
      }
    }
    const owned = [...keys].filter((key) => this.#world.store.state.lookup(key) !== null).length;
    if (inMemory <= owned) return;
    this.#report("one in the end")(`${inMemory} resources are in memory, ${owned} are owned`);
  }

  #journal(key: string): ReturnType<typeof readJournal> {
    return readJournal(this.#world.store.state, key);
  }

  #count(conflict: string, by: number): void {
    this.#open.set(conflict, (this.#open.get(conflict) ?? 0) + by);
  }
}

function nameOf({ key, value, rrp, epoch }: CallRecord): string {
  return `${value} of ${key}, which ${rrp} answered under ${epoch},`;
}

/** The node's name in an RRP. */
function nodeOf(rrp: string): string {
  return rrp.split("/")[1] ?? "";
}
