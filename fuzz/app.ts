/**
 * The app of nodes under attack: the example's channels for the well-behaved callers, resources
 * that misbehave in every way, and a module.
 */
import { Channel } from "../examples/channels/app.ts";
import { type App, defineApp, defineModule, type Module } from "../mod.ts";
import { Unruly } from "../test/e2e/apps/unruly.ts";

const copy: Module<{ echo: (value: unknown) => unknown }> = defineModule({
  version: "1.0.0",
  capacity: 4,
  functions: { echo: (value: unknown) => value },
});

/** Is deactivated soon, so that data which hostile input wrote is read from the store again. */
const IDLE_MS = 2_000;

const app: App<{
  healthy: typeof Channel;
  channels: { class: typeof Channel; idleAfterMs: number };
  unruly: { class: typeof Unruly; maxTurnMs: number; idleAfterMs: number };
  crowded: { class: typeof Unruly; mailbox: number };
}, { copy: typeof copy }> = defineApp({
  resources: {
    healthy: Channel,
    channels: { class: Channel, idleAfterMs: IDLE_MS },
    unruly: { class: Unruly, maxTurnMs: 3_000, idleAfterMs: IDLE_MS },
    crowded: { class: Unruly, mailbox: 4 },
  },
  modules: { copy },
});
export default app;
