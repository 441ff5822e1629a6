/**
 * The app of the benches: a wall that gives back what it hears, and keeps nothing; as a
 * resource, and as a module that a node offers when it is told to.
 */
import { type App, defineApp, defineModule, type Module, Resource } from "../../mod.ts";

export class Echo extends Resource {
  echo(text: string): string {
    return text;
  }
}

export const wall: Module<{ echo: (text: string) => string }> = defineModule({
  functions: { echo: (text: string) => text },
});

const app: App<
  { readonly echo: { class: typeof Echo; idleAfterMs: number } },
  { readonly wall: typeof wall }
> = defineApp({
  // Longer than any bench: an idle resource stays where it is measured.
  resources: { echo: { class: Echo, idleAfterMs: 3_600_000 } },
  modules: { wall },
});

export default app;
