/**
 * The app of the benches: an echo that keeps nothing, as a resource and as a module that a node
 * publishes on request; a note that writes with each call; a room that broadcasts each message.
 */
import {
  type App,
  type Connection,
  defineApp,
  defineModule,
  type Module,
  Resource,
} from "../../mod.ts";

export class Echo extends Resource {
  echo(text: string): string {
    return text;
  }
}

export class Note extends Resource {
  async keep(text: string): Promise<string> {
    await this.storage.put("text", text);
    return text;
  }
}

export class Room extends Resource {
  override onMessage(_connection: Connection, data: unknown): void {
    this.broadcast(data);
  }
}

export const wall: Module<{ echo: (text: string) => string }> = defineModule({
  functions: { echo: (text: string) => text },
});

const app: App<
  {
    readonly echo: { class: typeof Echo; idleAfterMs: number };
    readonly note: { class: typeof Note; idleAfterMs: number };
    readonly room: { class: typeof Room; idleAfterMs: number };
  },
  { readonly wall: typeof wall }
> = defineApp({
  // Longer than any bench, so that an idle resource is not released during the measurement.
  resources: {
    echo: { class: Echo, idleAfterMs: 3_600_000 },
    note: { class: Note, idleAfterMs: 3_600_000 },
    room: { class: Room, idleAfterMs: 3_600_000 },
  },
  modules: { wall },
});

export default app;
