/**
 * A part of the market: a clerk with a letter box, who does nothing but read letters,
 * write letters, and look at the clock.
 *
 * Takes letters, one after another; gives letters. Nobody calls a part, and it calls
 * nobody. One that throws is gone, and whoever watched it gets a letter that says so.
 *
 * Source: design §5.
 */
import type { Peer } from "../ports/transport.ts";
import type { Timer } from "../ports/clock.ts";
import type { Address } from "./address.ts";
import type { Letter } from "./letters.ts";

/** What a part has of the world. */
export interface Desk {
  readonly address: Address;
  /** This node, as others dial it now. */
  self(): Peer;
  /** Monotonic ms. */
  now(): number;
  /** A number ≥ 0 and < 1. */
  chance(): number;
  /** A number that this node never draws again. */
  draw(): number;
  send(to: Address, letter: Letter): void;
  /** Has a `down` come when the part at `to` is gone, or can't be reached. */
  watch(to: Address): void;
  unwatch(to: Address): void;
  /** Opens another part here. */
  hire(name: string, part: Part): Address;
  /** Ends another part here. */
  dismiss(part: Address, reason: string): void;
  /** Runs `run` once the letters that are here already have been read. */
  soon(run: () => void): void;
  /** Runs `run` at once, which is not in the middle of anything: a promise was settled. */
  act(run: () => void): void;
  after(ms: number, run: () => void): Timer;
  tell(level: "debug" | "info" | "warning" | "error", event: string, fields: Fields): void;
}

type Fields = Readonly<Record<string, string | number | boolean | null>>;

export abstract class Part {
  #desk: Desk | null = null;
  #ended = false;

  /** Where it works; only once it was hired. */
  protected get desk(): Desk {
    return this.#desk as Desk;
  }

  get address(): Address {
    return this.desk.address;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Called by the post office, when it is hired. */
  begin(desk: Desk): void {
    this.#desk = desk;
    this.started();
  }

  /** Called by the post office, once it is gone. */
  end(): void {
    this.#ended = true;
    this.stopped();
  }

  abstract receive(letter: Letter, from: Address): void;
  protected started(): void {}
  protected stopped(): void {}
}
