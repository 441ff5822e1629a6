/**
 * Shopping baskets with `partition: "available"`: resources that are served without the store, and
 * merge conflicting writes.
 */
import { type App, defineApp, type Ownership, Resource, type ResourceType } from "../../../mod.ts";

export class Basket extends Resource {
  /** Adds an item unless it is there already; returns all items. */
  async add(item: string): Promise<string[]> {
    const all = await this.all();
    if (!all.includes(item)) all.push(item);
    await this.storage.put("all", all);
    return all;
  }

  async all(): Promise<string[]> {
    return (await this.storage.get<string[]>("all")) ?? [];
  }

  async merge(items: string[]): Promise<void> {
    const all = await this.all();
    await this.storage.put("all", [...new Set([...all, ...items])]);
  }

  override async onConflict(winner: Ownership): Promise<void> {
    console.error(`conflict ${this.key} with ${winner.rrp}`);
    await this.node.call("baskets", this.id, "merge", [await this.all()]);
  }
}

const app: App<{ baskets: ResourceType<Basket> }> = defineApp({
  resources: { baskets: { class: Basket, partition: "available" } },
});
export default app;
