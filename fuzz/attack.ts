/**
 * One hostile input: its number, its random stream, and the connections that it opens, which are
 * closed when it ends. The input is a function of seed, part and number, so it can be repeated.
 */
import { MAX_CONNECTIONS } from "./bounds.ts";
import type { Draw } from "./draw.ts";
import { answersIn, faultsOf } from "./answers.ts";
import type { RawConnection, RawConnections } from "./lines.ts";
import type { Target } from "./target.ts";

/** Reports that a rule was broken, and how. */
export type Report = (rule: string, message: string) => void;

/** A kind of input. */
export interface Part {
  readonly name: string;
  /** The kind of registry that the node under attack has. */
  readonly registry: "file" | "redis" | "upstash";
  /**
   * Whether the lease may lapse and healthy calls may fail, because the registry gives wrong
   * replies.
   */
  readonly liesOfRegistry?: boolean;
  /**
   * Connections that the node may keep open to its registry. Default 0: the base includes them.
   */
  readonly ownConnections?: number;
  /**
   * Statuses with which some inputs must be answered; otherwise the inputs don't reach the code.
   */
  readonly reaches: readonly number[];
  /** Called once, when the node serves; gives the sender of inputs. */
  begin(target: Target, report: Report): Promise<Sender>;
}

export interface Sender {
  /** Sends one input; resolves when it has ended. */
  send(attack: Attack): Promise<void>;
  /** Runs after the last input, before the final measurement. */
  end?(): Promise<void>;
  /** Prints remarks of its own at the end. */
  close?(): Promise<void>;
}

export class Attack {
  readonly number: number;
  readonly draw: Draw;
  readonly target: Target;
  /** Whether it is one of the few that may take long. */
  readonly isSlow: boolean;
  /** A description of the input, for the report. */
  what = "not started";
  /** The first bytes that it wrote, for the report. */
  written: Buffer = Buffer.alloc(0);
  /** Set when its time is over. */
  isLate = false;
  readonly #lines: RawConnections;
  readonly #own: RawConnection[] = [];

  constructor(number: number, draw: Draw, target: Target, lines: RawConnections, isSlow: boolean) {
    this.number = number;
    this.draw = draw;
    this.target = target;
    this.isSlow = isSlow;
    this.#lines = lines;
  }

  /** Opens a connection of its own; at most {@link MAX_CONNECTIONS}. */
  open(): RawConnection {
    if (this.#own.length >= MAX_CONNECTIONS) {
      throw new Error("an input opened too many connections");
    }
    const line = this.#lines.open();
    this.#own.push(line);
    return line;
  }

  /** Opens a connection and writes. */
  async say(bytes: Uint8Array | string): Promise<RawConnection> {
    const line = this.open();
    const buffer = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : Buffer.from(bytes);
    if (this.written.length === 0) this.written = buffer.subarray(0, 2_000);
    await line.write(buffer);
    return line;
  }

  /** Waits. */
  async rest(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
  }

  /**
   * Closes its connections, in a drawn way; gives the errors in the answers, and their statuses.
   */
  finish(onStatus: (status: number) => void): string[] {
    const faults: string[] = [];
    for (const line of this.#own.splice(0)) {
      const { bytes } = line;
      faults.push(...faultsOf(bytes));
      for (const { status } of answersIn(bytes)) onStatus(status);
      if (this.draw.chance(0.3)) line.reset();
      else line.close();
    }
    return faults;
  }
}
