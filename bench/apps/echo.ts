/**
 * The app of the benches: an echo that keeps nothing, as a resource and as a module that a node
 * publishes on request.
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
  // Longer than any bench, so that an idle resource is not released during the measurement.
  resources: { echo: { class: Echo, idleAfterMs: 3_600_000 } },
  modules: { wall },
});

export default app;
