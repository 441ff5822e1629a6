/**
 * The rules for nodes that lose only the store: a key with a live owner is called there. Checked
 * only if `store_away` is the only fault.
 *
 * - *reached*: a node answers no call itself if the key's owner has answered it before, is alive
 *   and still holds the key.
 * - *cut off*: no call to such an owner is cut off while the calling node is unaffected.
 */
import { breaksLinks, STORE_AWAY } from "../faults/network_faults.ts";
import type { CallRecord } from "../engine/history.ts";
import type { Observer } from "../engine/observer.ts";
import type { Reporter } from "../run/run_world.ts";
import type { FaultEvent } from "../plan/plan.ts";
import type { SimNode, World } from "../engine/world.ts";

/** The owner that last answered a process for a key. */
interface SeenOwner {
  readonly rrp: string;
  readonly epoch: number;
}

export class Reach implements Observer {
  /** The number of answers that nodes without the store got from owners elsewhere. */
  reached = 0;
  readonly #world: World;
  readonly #report: Reporter;
  readonly #isJudged: boolean;
  readonly #mayBreak: boolean;
  readonly #heard = new Map<string, SeenOwner>();
  /** The incarnation of the calling node, for each unanswered call. */
  readonly #lives = new Map<CallRecord, string>();

  constructor(faults: readonly FaultEvent[], world: World, report: Reporter) {
    this.#isJudged = faults.every(({ kind }) => kind === STORE_AWAY.name);
    this.#mayBreak = faults.some(breaksLinks);
    this.#world = world;
    this.#report = report;
  }

  called(record: CallRecord): void {
    const life = this.#nodeOf(record.process)?.node?.incarnation;
    if (life !== undefined) this.#lives.set(record, life);
  }

  returned(record: CallRecord): void {
    const life = this.#lives.get(record);
    this.#lives.delete(record);
    if (!this.#isJudged || record.what === "lookup") return;
    const { key, process, rrp, epoch, verdict, outcome } = record;
    const name = `${process} ${key}`;
    if (outcome !== "ok") return this.#failed(record, life, this.#heard.get(name));
    const isElsewhere = nodeIn(rrp ?? "") !== slotOf(process);
    if (verdict === null) {
      this.#heard.set(name, { rrp: rrp ?? "", epoch });
      if (isElsewhere && this.#nodeOf(process)?.node?.state === "fenced") this.reached++;
    } else if (!isElsewhere && this.#stands(record, this.#heard.get(name))) {
      const { rrp: owner } = this.#heard.get(name) as SeenOwner;
      this.#report("reached")(`${process} answered for ${key} itself, which ${owner} has`);
    }
  }

  #failed(record: CallRecord, life: string | undefined, heard: SeenOwner | undefined): void {
    const { key, process, outcome, code } = record;
    if (outcome !== "info" || code !== "unavailable" || !this.#stands(record, heard)) return;
    // A node that begins a new incarnation closes the links of the former one; some faults break
    // links.
    const node = this.#nodeOf(process)?.node;
    if (node?.state !== "fenced" || node.incarnation !== life || this.#mayBreak) return;
    this.#report("cut off")(`a call of ${process} to ${key} broke off, which ${heard?.rrp} has`);
  }

  /** Whether the owner that answered last is another node and still owns the key. */
  #stands({ key, process }: CallRecord, heard: SeenOwner | undefined): boolean {
    if (!heard || nodeIn(heard.rrp) === slotOf(process)) return false;
    const owner = this.#world.store.state.lookup(key);
    if (owner?.rrp !== heard.rrp || owner.epoch !== heard.epoch) return false;
    for (const { node } of this.#world.nodes()) {
      if (node?.incarnation === owner.incarnation) return node.state === "serving";
    }
    return false;
  }

  #nodeOf(process: string): SimNode | undefined {
    return [...this.#world.nodes()].find((it) => it.process.id === process);
  }
}

/** The node's name in an RRP. */
function nodeIn(rrp: string): string {
  return rrp.split("/")[1] ?? "";
}

/** The node's name of a process. */
function slotOf(process: string): string {
  return process.split("#")[0] as string;
}
