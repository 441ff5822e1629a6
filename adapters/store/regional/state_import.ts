/**
 * Copies a moved key's state from its former home to its new one, resumably.
 *
 * Takes the former home's store, in which the state is frozen, and the new home's store, with an
 * ownership there that nobody else uses. Resolves once the new home has the whole state. Each page
 * is committed together with a progress mark, under that ownership, so that a copier is fenced once
 * another one has taken over. A page that was copied is not copied again.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import type { Stamp, Store } from "../../../src/ports/store.ts";
import { brokenEntry, publicError } from "../check.ts";

/** The field of the progress mark; no field of the core begins with `~`. */
const MARK = "~home";
/** Sorts after all fields, which are ASCII. */
const LAST = "\uffff";
/** Fields of the first page, and of the largest. */
const FIRST_PAGE = 16;
const MOST_PAGE = 1_024;
/** The largest text of one commit, in characters; a single larger value is committed alone. */
const MOST_TEXT = 262_144;

/** The progress of the move that ended the ownership of epoch `at`. */
interface Mark {
  readonly at: number;
  /** The region that it came from. */
  readonly from: string;
  /** First the fields of an earlier stay are deleted, then fields are copied in order. */
  readonly phase: "clear" | "copy" | "done";
  /** The last field that was copied. */
  readonly after: string;
}

/** What is copied, and between which stores. */
export interface StateImport {
  readonly key: string;
  readonly from: Store;
  readonly to: Store;
  /** The region of `from`. */
  readonly region: string;
  /** The epoch that ended the key's time at `from`. */
  readonly at: number;
  /**
   * The ownership at `to` under which the state is written. It is new: none of its turns has been
   * used.
   */
  readonly incarnation: string;
  readonly epoch: number;
  /** The last turn that was committed at `to`. */
  readonly last: Stamp;
}

/** Whether the state of the move that ended epoch `at` is complete. */
export async function hasArrived(store: Store, key: string, at: number): Promise<boolean> {
  const mark = await readMark(store, key);
  return mark !== null && mark.at >= at && mark.phase === "done";
}

/** The origin of the last complete move to here, and the epoch that it ended. */
export async function arrivalOf(
  store: Store,
  key: string,
): Promise<{ readonly from: string; readonly at: number } | null> {
  const mark = await readMark(store, key);
  return mark?.phase === "done" ? mark : null;
}

/** Copies the state, or the rest of it. @throws AtlasError `unavailable` */
export async function importState(source: StateImport): Promise<void> {
  const { to, key, at, region: from } = source;
  let mark = await readMark(to, key);
  // This is a late copy of an earlier move's arrival: the state at this home is newer.
  if (mark !== null && mark.at > at) {
    if (mark.phase === "done") return;
    throw publicError(`a later move of ${key} to this region is in progress`);
  }
  const copier = new StateCopier(source);
  // The owner that won the conflict committed here after the key left.
  if (mark?.at !== at && source.last.epoch > at) return await copier.keep({ at, from });
  if (mark === null || mark.at !== at) mark = { at, from, phase: "clear", after: "" };
  if (mark.phase === "clear") {
    await copier.clear(mark);
    mark = { at, from, phase: "copy", after: "" };
  }
  if (mark.phase === "copy") await copier.copy(mark);
}

class StateCopier {
  readonly #source: StateImport;
  #turn = 0;

  constructor(source: StateImport) {
    this.#source = source;
  }

  /** Keeps the state that is at this home. */
  async keep(move: Pick<Mark, "at" | "from">): Promise<void> {
    await this.#commit({ ...move, phase: "done", after: "" }, [], []);
  }

  /** Deletes the fields of an earlier stay of the key. */
  async clear(mark: Mark): Promise<void> {
    for await (const page of pages(this.#source.to, this.#source.key, "")) {
      await this.#commit(mark, [], page.map(([field]) => field));
    }
  }

  async copy(mark: Mark): Promise<void> {
    const { after } = mark;
    let last = after;
    for await (const page of pages(this.#source.from, this.#source.key, after)) {
      for (const slice of slices(page)) {
        last = slice.at(-1)?.[0] ?? last;
        await this.#commit({ ...mark, after: last }, slice, []);
      }
    }
    await this.#commit({ ...mark, phase: "done", after: "" }, [], []);
  }

  async #commit(mark: Mark, fields: readonly [string, string][], deletes: string[]): Promise<void> {
    const { to, key, incarnation, epoch } = this.#source;
    const puts = [...fields, [MARK, JSON.stringify(mark)]] as const;
    const commit = { key, incarnation, epoch, turn: ++this.#turn, puts, deletes };
    if (await to.commit(commit) === "committed") return;
    throw publicError(`another node brings the state of ${key} here`);
  }
}

/** All fields after `after`, except the mark, in pages. */
async function* pages(
  store: Store,
  key: string,
  after: string,
): AsyncGenerator<[string, string][]> {
  let start = after === "" ? "" : `${after}\0`;
  for (let limit = FIRST_PAGE;;) {
    const page = await store.range(key, { start, end: LAST, limit, reverse: false });
    const fields = page.filter(([field]) => field !== MARK);
    if (fields.length > 0) yield fields;
    if (page.length < limit) return;
    start = `${page.at(-1)?.[0]}\0`;
    const isLarge = page.reduce((sum, [, value]) => sum + value.length, 0) > MOST_TEXT / 2;
    limit = isLarge ? Math.max(1, limit >> 1) : Math.min(MOST_PAGE, limit * 2);
  }
}

/** A page in parts that one commit may carry. */
function* slices(page: readonly [string, string][]): Generator<[string, string][]> {
  let slice: [string, string][] = [];
  let size = 0;
  for (const entry of page) {
    const more = entry[0].length + entry[1].length;
    if (slice.length > 0 && size + more > MOST_TEXT) {
      yield slice;
      slice = [];
      size = 0;
    }
    slice.push(entry);
    size += more;
  }
  yield slice;
}

async function readMark(store: Store, key: string): Promise<Mark | null> {
  const [text = null] = await store.read(key, [MARK]);
  if (text === null) return null;
  try {
    const { at, from, phase, after } = JSON.parse(text) as Mark;
    if (Number.isSafeInteger(at) && ["clear", "copy", "done"].includes(phase)) {
      return { at, from: String(from), phase, after: String(after) };
    }
  } catch {
    // Reported below, like any other unreadable entry.
  }
  throw brokenEntry(key, "mark of its move", text);
}
