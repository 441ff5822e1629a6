/**
 * The example's channels, which log their activation: an app for tests that need to know when a
 * node claimed a key.
 */
import { Channel } from "../../../examples/channels/app.ts";
import { type App, defineApp } from "../../../mod.ts";

/** Writes `began`, with its key and epoch, in the form of the node's own log. */
export class Watched extends Channel {
  override onStart(): void {
    const { key, epoch } = this;
    const at = new Date().toISOString();
    console.error(JSON.stringify({ "@timestamp": at, message: "began", key, epoch }));
  }
}

const app: App<{ channels: typeof Watched }> = defineApp({ resources: { channels: Watched } });
export default app;
