/**
 * Simulated clients: call journals through any node, with idempotency keys or without, and record
 * the answers. Each appended value is unique, so the final state shows the outcome of each call.
 */
import type { CallOptions, CallResult } from "../../src/api/calls.ts";
import { isAtlasError } from "../../src/errors.ts";
import { type CallRecord, openRecord } from "../engine/history.ts";
import { JOURNALS } from "../engine/journal_app.ts";
import type { WorkEvent } from "../plan/plan.ts";
import type { SimNode, World } from "../engine/world.ts";

/** How often a client repeats a keyed call whose outcome it doesn't know, and after which time. */
const MAX_REPEATS = 3;
const REPEAT_MS = 150;
/** Between two probes of a healed world, and how long each may take. */
const PROBE_PAUSE_MS = 50;
const PROBE_TIMEOUT_MS = 1_000;

/** The key of a journal by its number. */
const nameOf = (key: number): string => `${JOURNALS}/k${key}`;

interface WorkItem {
  readonly what: CallRecord["what"];
  readonly key: number;
  readonly value: string;
  readonly idempotencyKey: string | null;
  readonly client: string;
  readonly timeoutMs: number;
  /** Journals that the call goes through first. */
  readonly path: readonly number[];
  readonly isConfirmed: boolean;
  readonly giveUpMs: number;
  readonly leavesWork: boolean;
}

export class Workload {
  readonly calls: CallRecord[] = [];
  readonly #world: World;
  #values = 0;
  #isProbing = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** Makes the calls of one line of the plan, through a process that runs under the name now. */
  begin(work: WorkEvent): void {
    if (work.isEverywhere) {
      for (const { index } of this.#world.slots) this.#beginAt(index, work);
    } else this.#beginAt(work.node, work);
  }

  #beginAt(index: number, work: WorkEvent): void {
    const slot = this.#world.slot(index);
    // Clients of a replaced process go on calling it while it runs.
    const node = work.client === 1 ? slot.former.at(-1) ?? slot.current : slot.current;
    if (!node) return;
    node.process.enter(() => {
      for (let i = 0; i < work.count; i++) {
        const value = `v${this.#values++}`;
        const { what, key, path = [], timeoutMs, giveUpMs = Infinity, leavesWork = false } = work;
        const idempotencyKey = work.isKeyed ? `i-${value}` : null;
        const client = `${node.process.id}/${work.client}`;
        const isConfirmed = work.isConfirmed ?? timeoutMs > 500;
        const item = { what, key, value, idempotencyKey, client, timeoutMs };
        this.#call(node, { ...item, path, isConfirmed, giveUpMs, leavesWork }, 0);
      }
    });
  }

  /**
   * Asks for every key through every node until each has answered once. Then clients stop repeating
   * calls: dozens of repeats, each with several round trips to the store, would only delay the
   * answers.
   */
  probe(): void {
    this.#isProbing = true;
    for (const { index } of this.#world.slots) {
      for (let key = 0; key < this.#world.shape.keys; key++) this.#probe(index, key);
    }
  }

  #probe(index: number, key: number): void {
    const { scheduler } = this.#world;
    const node = this.#world.slot(index).current;
    let isRepeated = false;
    const again = (): void => {
      if (isRepeated) return;
      isRepeated = true;
      scheduler.after(PROBE_PAUSE_MS, () => this.#probe(index, key));
    };
    if (node?.process.isRunning && node.node) {
      const value = `v${this.#values++}`;
      const client = `probe ${index}`;
      const item: WorkItem = {
        what: "append",
        key,
        value,
        idempotencyKey: null,
        client,
        timeoutMs: PROBE_TIMEOUT_MS,
        path: [],
        isConfirmed: false,
        giveUpMs: Infinity,
        leavesWork: false,
      };
      // One at a time, because several would queue behind each other.
      this.#call(node, item, MAX_REPEATS, ({ outcome }) => {
        if (outcome !== "ok") again();
      });
      node.process.onEnd(again);
    } else again();
  }

  #call(
    sim: SimNode,
    item: WorkItem,
    repeats: number,
    onReturn?: (record: CallRecord) => void,
  ): void {
    const { scheduler, observer, trace } = this.#world;
    const { node, process } = sim;
    if (!node) return;
    const record = openRecord({
      id: this.calls.length,
      what: item.what,
      key: nameOf(item.key),
      process: process.id,
      caller: item.client,
      idempotencyKey: item.idempotencyKey,
      value: item.value,
      timeoutMs: item.timeoutMs,
      via: item.path.map(nameOf),
      mayReenter: this.#world.shape.isReentrant === true,
      invokedAt: scheduler.now,
    });
    this.calls.push(record);
    observer.called(record);
    trace.note("call", record.id, process.id, record.what, record.key, record.value);
    const returned = (): void => {
      record.returnedAt = scheduler.now;
      const { id, outcome, code, seq, epoch } = record;
      trace.note("return", id, outcome, code, seq, epoch);
      observer.returned(record);
      onReturn?.(record);
    };
    this.#ask(sim, item, record).then(returned, (error: unknown) => {
      record.outcome = isAtlasError(error) && !error.maybeExecuted ? "fail" : "info";
      record.code = isAtlasError(error) ? error.code : String(error);
      returned();
      if (item.idempotencyKey !== null && repeats < MAX_REPEATS) this.#again(item, repeats + 1);
    });
  }

  async #ask(sim: SimNode, item: WorkItem, record: CallRecord): Promise<void> {
    const { node } = sim;
    const { what, value, idempotencyKey, timeoutMs, path, isConfirmed } = item;
    const id = `k${item.key}`;
    if (!node) return;
    if (what === "lookup") {
      const options = isConfirmed ? { require: "confirmed", timeoutMs } as const : {};
      const { rrp, epoch, verdict } = await node.lookup(JOURNALS, id, options);
      Object.assign(record, { outcome: "ok", rrp, epoch, verdict });
      return;
    }
    const options: CallOptions = { timeoutMs };
    if (idempotencyKey !== null) options.idempotencyKey = idempotencyKey;
    if (Number.isFinite(item.giveUpMs)) options.signal = this.#giveUp(sim, item, record);
    if (path.length > 0) {
      const [first = "", ...rest] = [...path, item.key].map((key) => `k${key}`);
      const args = [rest, value, idempotencyKey !== null];
      const { result, ...told } = await node.call(JOURNALS, first, "relay", args, options);
      const [seq] = result as number[];
      Object.assign(record, { outcome: "ok", ...originOf(told), seq });
      return;
    }
    const isAppend = what === "append";
    const reading = this.#world.shape.isAudited ? "audit" : "count";
    const method = item.leavesWork ? "leave" : isAppend ? "append" : reading;
    const { result, ...told } = await node.call(
      JOURNALS,
      id,
      method,
      isAppend ? [value] : [],
      options,
    );
    const seq = isAppend ? (result as number[])[0] : result as number;
    Object.assign(record, { outcome: "ok", ...originOf(told), seq });
  }

  /** A signal with which the client aborts the call before its deadline. */
  #giveUp({ process }: SimNode, { giveUpMs }: WorkItem, record: CallRecord): AbortSignal {
    const giver = new AbortController();
    const { scheduler, trace } = this.#world;
    scheduler.after(giveUpMs, () =>
      process.enter(() => {
        if (record.returnedAt < Infinity) return;
        record.givenUpAt = scheduler.now;
        trace.note("give up", record.id);
        giver.abort();
      }));
    return giver.signal;
  }

  /** Repeats a keyed call, through any node that runs. */
  #again(item: WorkItem, repeats: number): void {
    if (this.#isProbing) return;
    this.#world.scheduler.after(REPEAT_MS, () => {
      const running = this.#world.slots.flatMap(({ current }) =>
        current?.process.isRunning && current.node ? [current] : []
      );
      const node = running[repeats % Math.max(1, running.length)];
      // A repeat has its own caller: it has no order with later calls of the first caller.
      const client = `again ${item.value} ${repeats}`;
      node?.process.enter(() => this.#call(node, { ...item, client }, repeats));
    });
  }
}

/** The owner that answered, and the verdict. */
function originOf(
  { rrp, epoch, verdict }: Omit<CallResult, "result">,
): Pick<CallRecord, "rrp" | "epoch" | "verdict"> {
  return { rrp, epoch, verdict: verdict ?? null };
}
