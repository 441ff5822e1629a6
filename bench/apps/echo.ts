/** The app of the benches: a wall that gives back what it hears, and keeps nothing. */
import { type App, defineApp, Resource } from "../../mod.ts";

export class Echo extends Resource {
  echo(text: string): string {
    return text;
  }
}

const app: App<{ readonly echo: { class: typeof Echo; idleAfterMs: number } }> = defineApp({
  // Longer than any bench: an idle resource stays where it is measured.
  resources: { echo: { class: Echo, idleAfterMs: 3_600_000 } },
});

export default app;
