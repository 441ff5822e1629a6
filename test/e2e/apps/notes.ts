/**
 * The example's channels, and notes with slow turns: an app for tests that stop a process in the
 * middle of a turn.
 */
import { existsSync } from "node:fs";
import { Channel } from "../../../examples/channels/app.ts";
import { type App, defineApp, Resource } from "../../../mod.ts";

/** A note whose writer can wait before it writes. */
export class Notes extends Resource {
  /** Logs on standard error that it has begun, waits until the file `gate` exists, then writes. */
  async write(text: string, gate: string): Promise<number> {
    console.error(`begun ${text}`);
    while (!existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 10));
    const notes = await this.read();
    await this.storage.put("notes", [...notes, text]);
    return notes.length + 1;
  }

  async read(): Promise<string[]> {
    return (await this.storage.get<string[]>("notes")) ?? [];
  }
}

const app: App<{ channels: typeof Channel; notes: typeof Notes }> = defineApp({
  resources: { channels: Channel, notes: Notes },
});
export default app;
