/**
 * The example's channels, and resources that misbehave in every way: an app for tests of the node's
 * answers.
 */
import { Channel } from "../../../examples/channels/app.ts";
import { type App, defineApp, Resource } from "../../../mod.ts";

/** Each method misbehaves as its name says. */
export class Unruly extends Resource {
  override onStart(): void {
    if (this.id === "unstartable") throw new Error("it won't start");
  }

  echo(value: unknown): unknown {
    return value;
  }

  throws(): void {
    throw new Error("thrown on purpose");
  }

  throwsNothing(): void {
    throw undefined;
  }

  /** Never answers, and ignores its signal. */
  hangs(): Promise<void> {
    return new Promise(() => {});
  }

  answersFunction(): () => void {
    return () => {};
  }

  answersSymbol(): symbol {
    return Symbol("s");
  }

  answersCircle(): unknown {
    const circle: unknown[] = [];
    circle.push(circle);
    return circle;
  }

  answersDepth(): unknown {
    let value: unknown = 1;
    for (let depth = 0; depth < 10_000; depth++) value = [value];
    return value;
  }

  answersTooMuch(): string {
    return "x".repeat(2_000_000);
  }
}

const app: App<{
  channels: typeof Channel;
  unruly: { class: typeof Unruly; maxTurnMs: number };
  crowded: { class: typeof Unruly; mailbox: number };
}> = defineApp({
  resources: {
    channels: Channel,
    unruly: { class: Unruly, maxTurnMs: 3_000 },
    crowded: { class: Unruly, mailbox: 4 },
  },
});
export default app;
