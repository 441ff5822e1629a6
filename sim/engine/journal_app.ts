/**
 * The app that simulations run: journals, each a list of entries with their writer, position and
 * epoch, which show lost, repeated and misplaced calls.
 */
import { type App, defineApp, type ResourceType } from "../../src/api/app.ts";
import { MAX_MAILBOX } from "../../src/limits.ts";
import { Resource } from "../../src/api/resource.ts";
import type { Entry } from "./history.ts";
import type { StoreState } from "../../adapters/store/store_state.ts";

/** The resource type's name. */
export const JOURNALS = "journals";
const DIGITS = 6;

export class Journal extends Resource {
  /** Adds an entry; gives its position, from 0, and the epoch that wrote it. */
  async append(value: string): Promise<[seq: number, epoch: number]> {
    const seq = (await this.storage.get<number>("n")) ?? 0;
    await this.storage.put(`e${String(seq).padStart(DIGITS, "0")}`, `${this.epoch} ${value}`);
    await this.storage.put("n", seq + 1);
    return [seq, this.epoch];
  }

  /** Appends, and leaves work behind that would append again after its turn has ended. */
  async leave(value: string): Promise<[seq: number, epoch: number]> {
    // Called in this turn; when it is answered another turn may be running.
    const looked = this.node.lookup(JOURNALS, this.id, { require: "confirmed" });
    void looked.then(() => this.append(`left-by-${value}`)).catch(() => {});
    return await this.append(value);
  }

  /** Makes the last journal of `path` append a value; each journal on the way calls the next. */
  async relay(
    path: string[],
    value: string,
    isKeyed: boolean,
  ): Promise<[seq: number, epoch: number]> {
    const [next, ...rest] = path;
    if (next === undefined) return await this.append(value);
    const options = isKeyed ? { idempotencyKey: value } : {};
    const args = [rest, value, isKeyed];
    const { result } = await this.node.call(JOURNALS, next, "relay", args, options);
    return result as [number, number];
  }

  /** The number of entries; -1 if `list` gives a different number. */
  async audit(): Promise<number> {
    const listed = (await this.storage.list({ prefix: "e" })).size;
    const count = await this.count();
    return listed === count ? count : -1;
  }

  /** The number of entries. */
  async count(): Promise<number> {
    return (await this.storage.get<number>("n")) ?? 0;
  }
}

/** How journals behave in one simulation. */
export interface JournalOptions {
  readonly idleAfterMs: number;
  readonly mailbox?: number | undefined;
  readonly isReentrant?: boolean;
}

export function journalApp(manners: JournalOptions): App<{ journals: ResourceType<Journal> }> {
  const { idleAfterMs, mailbox = MAX_MAILBOX, isReentrant = false } = manners;
  const type = { class: Journal, idleAfterMs, mailbox, reentrant: isReentrant };
  return defineApp({ resources: { [JOURNALS]: type } });
}

/** A journal as the store has it. */
export function readJournal(state: Pick<StoreState, "range">, key: string): Entry[] {
  const rows = state.range(key, { start: FIRST, end: END, limit: 1e6, reverse: false });
  return rows.map(([, text]) => entryOf(text));
}

/** The value of the entry that a commit adds to a journal; null if it adds none. */
export function valueIn([field, text]: readonly [field: string, text: string]): string | null {
  return field >= FIRST && field < END ? entryOf(text).value : null;
}

/** The bounds of the fields that are a journal's entries. */
const FIRST = "s:e";
const END = "s:f";

function entryOf(text: string): Entry {
  const [epoch = "", value = ""] = (JSON.parse(text) as string).split(" ");
  return { value, epoch: Number(epoch) };
}
