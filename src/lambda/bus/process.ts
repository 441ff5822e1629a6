/**
 * A process of the market: a state machine that receives messages and sends messages.
 *
 * It handles one message at a time. No process calls another; the architecture test checks that. A
 * process that throws is stopped, and the processes that watch it get a `down`. A process that must
 * exist is restarted (`restarts.ts`).
 *
 * Source: `docs/design.md`, Modules; Erlang/OTP's processes and one-for-one supervisors.
 */
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import type { Address } from "./address.ts";
import type { BusMessage } from "./messages.ts";

/** All that a process can use of the outside world. */
export interface ProcessContext {
  readonly address: Address;
  /** This node, as other nodes dial it now. */
  self(): Peer;
  /** Monotonic ms. */
  now(): number;
  /** A number ≥ 0 and < 1. */
  random(): number;
  /** A number that is unique on this node. */
  nextId(): number;
  send(to: Address, message: BusMessage): void;
  /**
   * Monitors the process at `to`: a `down` comes when that process has ended or can't be reached.
   */
  watch(to: Address): void;
  unwatch(to: Address): void;
  /** Starts another process on this node. */
  spawn(name: string, process: Process): Address;
  /** Stops a process on this node. */
  stop(process: Address, reason: string): void;
  /** Runs `run` after the messages that are queued now. */
  defer(run: () => void): void;
  /**
   * Runs `run` at once. To be called only from a promise callback, never while a message is
   * handled.
   */
  resume(run: () => void): void;
  after(ms: number, run: () => void): Timer;
  log(level: "debug" | "info" | "warning" | "error", event: string, fields: Fields): void;
}

type Fields = Readonly<Record<string, string | number | boolean | null>>;

/** Refers to the running instance of a process that is replaced when it fails. */
export interface ProcessRef<P> {
  current: P;
}

export abstract class Process {
  #context: ProcessContext | null = null;
  #hasStopped = false;

  /** Available once the process was started. */
  protected get context(): ProcessContext {
    return this.#context as ProcessContext;
  }

  get address(): Address {
    return this.context.address;
  }

  get hasStopped(): boolean {
    return this.#hasStopped;
  }

  /** Called by the bus at the start. */
  begin(context: ProcessContext): void {
    this.#context = context;
    this.started();
  }

  /**
   * Called by the bus after the process was removed.
   *
   * @param isOver false: it failed and will be restarted
   */
  end(reason: string, isOver: boolean): void {
    this.#hasStopped = true;
    this.stopped(reason, isOver);
  }

  abstract receive(message: BusMessage, from: Address): void;
  protected started(): void {}
  protected stopped(_reason: string, _isOver: boolean): void {}
}
