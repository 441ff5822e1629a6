/** The sample of `onConflict` in docs/available.md: all lines below are as on that page. */
import { type Ownership, Resource } from "../../mod.ts";

export class Notes extends Resource {
  async add(line: string): Promise<number> {
    await this.storage.put(line, this.epoch);
    return this.epoch;
  }
  async all(): Promise<string[]> {
    return [...(await this.storage.list()).keys()];
  }
  override async onConflict(_winner: Ownership): Promise<void> {
    for (const line of (await this.storage.list()).keys()) {
      await this.node.call("notes", this.id, "add", [line]); // to the winner
    }
  }
}
