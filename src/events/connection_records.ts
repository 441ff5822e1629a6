/**
 * Which connections a resource has, kept in its state for the next owner: one field for each
 * connection, written in the turn of `onConnect` and deleted in that of `onDisconnect`. Only
 * resources with an `onDisconnect` have them.
 *
 * A field is `c:<connection id>`; its text is a JSON object. Readers MUST ignore names that they
 * don't know: later versions may add some.
 */
import type { AtlasError } from "../errors.ts";
import { SUBSCRIBER_TIMEOUT_MS } from "../limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { pause } from "../time/wait.ts";
import type { Hook } from "./hook_call.ts";

const SPACE = "c:";
const SPACE_END = "c;";
/** Records that one read returns. */
const PAGE = 4_096;
/** The pause before a failed read is repeated, in ms. */
const AGAIN_MS = 2_000;

/** What events need of the resource's storage: fields of its state, written with its turns. */
export interface EventStorage {
  /** Whether a turn is running. */
  readonly isOpen: boolean;
  /** Sets a field in the running turn; null deletes it. */
  reserve(field: string, text: string | null): void;
  field(field: string): Promise<string | null>;
}

export interface RecordParts {
  readonly key: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly storage: () => EventStorage;
  /** Runs a turn of the resource; resolves to its error, null if it was committed. */
  readonly turn: (hook: string, run: Hook) => Promise<AtlasError | null>;
  /** Schedules {@link ConnectionRecords.sweep} every 2 s, while any are absent. */
  readonly watch: () => void;
  /** Whether a connection is joined to this owner now. */
  readonly isHere: (id: string) => boolean;
  /** What to run in the turn that reports a connection of a former owner as gone. */
  readonly end: (id: string) => Hook;
}

/** The record of a connection. */
interface ConnectionRecord {
  readonly id: string;
  /** The incarnation of the node that has its socket; empty if that can't be read. */
  readonly life: string;
}

export class ConnectionRecords {
  readonly #parts: RecordParts;
  /**
   * The incarnation in each record that the state has, or has once the running turn is committed.
   */
  readonly #lives = new Map<string, string>();
  /**
   * Connections of former owners that haven't come back, each with the time since when it is
   * awaited.
   */
  readonly #absent = new Map<string, { readonly life: string; readonly since: number }>();
  /** Connections that were reported as gone since reading began. */
  readonly #reported = new Set<string>();
  #isReading = false;
  #isOver = false;

  constructor(parts: RecordParts) {
    this.#parts = parts;
  }

  /** Connections of former owners that may still come back. */
  get absent(): number {
    return this.#absent.size;
  }

  /**
   * Starts reading the connections of former owners. Returns what to run once turns are possible:
   * it reports those whose node is dead as gone, while the others may still come back, and
   * resolves to their number.
   */
  recall(isDead: (life: string) => boolean): () => Promise<number> {
    const { store, key, clock, isHere } = this.#parts;
    const reading = readRecords(store, key).catch(() => null);
    this.#isReading = true;
    return async () => {
      const records = await reading;
      if (this.#isOver) return 0;
      if (records === null) {
        void pause(clock, AGAIN_MS).then(() => this.#isOver ? 0 : this.recall(isDead)());
        return 0;
      }
      this.#isReading = false;
      const since = clock.now();
      for (const { id, life } of records) {
        if (isHere(id) || this.#reported.has(id)) continue;
        this.#lives.set(id, life);
        this.#absent.set(id, { life, since });
      }
      this.#reported.clear();
      if (this.#absent.size > 0) this.#parts.watch();
      this.sweep(since, isDead);
      return records.length;
    };
  }

  /**
   * In a turn: writes a connection's record, unless the state has it. Returns a function that
   * undoes this.
   */
  write(id: string, life: string): () => void {
    const former = this.#lives.get(id);
    if (former === life) return () => {};
    this.#parts.storage().reserve(SPACE + id, JSON.stringify({ life }));
    return this.#set(id, life);
  }

  /** In a turn: deletes a connection's record. Returns a function that undoes this. */
  #remove(id: string): () => void {
    if (this.#lives.has(id)) this.#parts.storage().reserve(SPACE + id, null);
    return this.#set(id, undefined);
  }

  /**
   * Updates the map to what the state has once the running turn is committed. Returns a function
   * that undoes this if the turn fails.
   */
  #set(id: string, life: string | undefined): () => void {
    const former = this.#lives.get(id);
    const note = (life: string | undefined): void => {
      if (life === undefined) this.#lives.delete(id);
      else this.#lives.set(id, life);
    };
    note(life);
    return () => note(former);
  }

  /** Whether the state has a record of a connection. */
  has(id: string): boolean {
    return this.#lives.has(id);
  }

  /** A connection of a former owner has come back. */
  returned(id: string): void {
    this.#absent.delete(id);
  }

  /** Reports connections of former owners as gone whose node is dead, or that don't come back. */
  sweep(now: number, isDead: (life: string) => boolean): void {
    for (const [id, { life, since }] of this.#absent) {
      if (now - since > SUBSCRIBER_TIMEOUT_MS || isDead(life)) void this.miss(id);
    }
  }

  /** A connection of a former owner has gone. Resolves once that was reported. */
  async miss(id: string): Promise<void> {
    const { isHere, end } = this.#parts;
    // The connection may come back before this turn runs.
    if (this.#absent.delete(id)) await this.ended(id, end(id), () => isHere(id));
  }

  /**
   * A connection has ended: reports that and deletes its record, even if the app's code throws. If
   * the store can't be reached, this is repeated.
   */
  async ended(id: string, report: Hook, isBack: () => boolean = () => false): Promise<void> {
    const { turn, watch: attend } = this.#parts;
    if (this.#isReading) this.#reported.add(id);
    let undo: (() => void) | null = null;
    const remove = (): void => void (undo = this.#remove(id));
    const error = await turn("onDisconnect", (it) => {
      // The connection was reported already, or has come back meanwhile.
      if (!this.#lives.has(id) || isBack()) return;
      remove();
      return report(it);
    });
    if (error === null || undo === null || this.#isOver) return;
    (undo as () => void)();
    if (error.retryable) {
      this.#absent.set(id, { life: "", since: -Infinity });
      return attend();
    }
    if (await turn("onDisconnect", remove)) (undo as () => void)();
  }

  /**
   * The node of some connections has a new incarnation, whose liveness the next owner must check.
   */
  async rewrite(ids: () => readonly string[], life: string): Promise<void> {
    let undo: (() => void)[] = [];
    const error = await this.#parts.turn("onConnect", () => {
      undo = ids().map((id) => this.write(id, life));
    });
    if (error) { for (const run of undo) run(); }
  }

  stop(): void {
    this.#isOver = true;
    this.#absent.clear();
  }
}

/** All records that a resource's state has. Rejects if the store can't be read. */
async function readRecords(store: Store, key: string): Promise<ConnectionRecord[]> {
  const records: ConnectionRecord[] = [];
  for (let start = SPACE;;) {
    const range = { start, end: SPACE_END, limit: PAGE, reverse: false };
    const rows = await store.range(key, range);
    for (const [field, text] of rows) {
      records.push({ id: field.slice(SPACE.length), life: lifeIn(text) });
    }
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return records;
    start = `${last[0]}\0`;
  }
}

function lifeIn(text: string): string {
  try {
    const { life } = JSON.parse(text) as { life?: unknown };
    return typeof life === "string" ? life : "";
  } catch {
    return "";
  }
}
