/**
 * The example's channels with a delay before the event is sent: an app for tests that stop a
 * process between a turn's start and its event.
 */
import { Channel } from "../../../examples/channels/app.ts";
import { type App, defineApp } from "../../../mod.ts";

/** A channel whose sender can wait before the message is kept and its event sent. */
export class Room extends Channel {
  /** Logs on standard error that it has begun, waits for `ms`, then sends. */
  async sendLater(from: string, text: string, ms: number): Promise<{ seq: number }> {
    console.error(`begun ${text}`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return await this.send(from, text);
  }
}

const app: App<{ channels: typeof Room }> = defineApp({ resources: { channels: Room } });
export default app;
