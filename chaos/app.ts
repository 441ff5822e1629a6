/**
 * The app of nodes under chaos: the simulator's journals, with a way to read them back.
 *
 * There are two types: `journals` stay in memory; `fleeting` ones are released as soon as they are
 * idle, so that names also change their owner without a fault.
 */
import { type App, defineApp, type ResourceType } from "../src/api/app.ts";
import { Journal, JOURNALS } from "../sim/engine/journal_app.ts";

/** The type whose owners keep their keys. */
export const LASTING: string = JOURNALS;
/** The type whose owners release their keys when idle. */
export const FLEETING = "fleeting";

/** One stored entry: its position, the epoch that wrote it, and its value. */
export type EntryRow = readonly [place: number, epoch: number, value: string];

/** A journal that can be read. */
export class OpenJournal extends Journal {
  /** Up to `limit` entries from position `from` on, in order. */
  async entries(from: number, limit: number): Promise<EntryRow[]> {
    const start = `e${String(from).padStart(6, "0")}`;
    const rows = await this.storage.list<string>({ prefix: "e", start, limit });
    return [...rows].map(([field, text]) => {
      const [epoch = "", value = ""] = text.split(" ");
      return [Number(field.slice(1)), Number(epoch), value];
    });
  }
}

const app: App<{ [type: string]: ResourceType<OpenJournal> }> = defineApp({
  resources: {
    [LASTING]: { class: OpenJournal, idleAfterMs: 60_000 },
    [FLEETING]: { class: OpenJournal, idleAfterMs: 400 },
  },
});
export default app;
