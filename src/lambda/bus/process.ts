/**
 * A part of the market: a state machine that receives messages and sends messages.
 *
 * It takes one message after another. No part calls another one; a test of the architecture
 * holds that. One that throws is gone, and whoever watched it gets a message that says so; one
 * that has to be there is started anew (`restarts.ts`).
 *
 * Source: design §5; the supervisors of Erlang/OTP, one for one.
 */
import type { Peer } from "../../ports/transport.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Address } from "./address.ts";
import type { BusMessage } from "./messages.ts";

/** What a part has of the world. */
export interface ProcessContext {
  readonly address: Address;
  /** This node, as others dial it now. */
  self(): Peer;
  /** Monotonic ms. */
  now(): number;
  /** A number ≥ 0 and < 1. */
  random(): number;
  /** A number that this node never draws again. */
  nextId(): number;
  send(to: Address, letter: BusMessage): void;
  /** Has a `down` come when the part at `to` is gone, or can't be reached. */
  watch(to: Address): void;
  unwatch(to: Address): void;
  /** Opens another part here. */
  spawn(name: string, part: Process): Address;
  /** Ends another part here. */
  stop(part: Address, reason: string): void;
  /** Runs `run` once the letters that are here already have been read. */
  defer(run: () => void): void;
  /** Runs `run` at once, which is not in the middle of anything: a promise was settled. */
  resume(run: () => void): void;
  after(ms: number, run: () => void): Timer;
  tell(level: "debug" | "info" | "warning" | "error", event: string, fields: Fields): void;
}

type Fields = Readonly<Record<string, string | number | boolean | null>>;

/** A part that users reach; another one takes its place where it fails. */
export interface ProcessRef<P> {
  part: P;
}

export abstract class Process {
  #context: ProcessContext | null = null;
  #ended = false;

  /** Where it works; only once it was hired. */
  protected get context(): ProcessContext {
    return this.#context as ProcessContext;
  }

  get address(): Address {
    return this.context.address;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Called by the post office, when it is hired. */
  begin(desk: ProcessContext): void {
    this.#context = desk;
    this.started();
  }

  /**
   * Called by the post office, once it is gone.
   *
   * @param isOver false: it failed, and another will be started in its place
   */
  end(reason: string, isOver: boolean): void {
    this.#ended = true;
    this.stopped(reason, isOver);
  }

  abstract receive(letter: BusMessage, from: Address): void;
  protected started(): void {}
  protected stopped(_reason: string, _isOver: boolean): void {}
}
