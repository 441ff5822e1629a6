/**
 * The example's channels, once unchanged and once placed `caller`, and a type that moves them: a
 * node for tests of several regions.
 *
 * A script: it takes its settings from the environment like `node.ts`, serves, and prints the ready
 * line.
 */
import { Channel } from "../../../examples/channels/app.ts";
import { type App, type AtlasNode, defineApp, Resource } from "../../../mod.ts";
import { serve } from "../../../adapters/server/serve.ts";

/** Moves resources for callers over HTTP: only a node has `move`. */
export class Mover extends Resource {
  /** `node.move` on the node that owns this resource. */
  async move(type: string, id: string, region: string): Promise<{ rrp: string; epoch: number }> {
    return await (node as AtlasNode).move(type, id, region);
  }
}

type RegionsApp = App<{
  channels: typeof Channel;
  followers: { class: typeof Channel; placement: "caller" };
  guides: typeof Mover;
}>;

const app: RegionsApp = defineApp({
  resources: {
    channels: Channel,
    followers: { class: Channel, placement: "caller" },
    guides: Mover,
  },
});

const node = await serve(app, { onEvent: (event) => console.error(JSON.stringify(event)) });
const { url, region, node: name, incarnation } = node;
console.log(JSON.stringify({ event: "ready", url, region, node: name, incarnation }));
