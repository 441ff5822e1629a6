/**
 * A simulated operating system process. All callbacks into a node's code pass through it.
 *
 * Runs callbacks of clocks, links and store connections at once, after the process was resumed, or
 * never if it is dead. Everything that it sends checks `isAlive` first, so a crashed node's code
 * stops for good, whatever promises it still awaits.
 */
import type { SeededRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

export class SimProcess {
  /** The number of the process, unique in a simulation. */
  readonly id: string;
  /** The number of its machine in the network. */
  readonly host: string;
  isAlive = true;
  /** The number of callbacks that have run in it. */
  runs = 0;
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  /** Tokens of the pauses in progress. */
  readonly #holds = new Set<object>();
  #heldMs = 0;
  #heldSince = 0;
  /** Callbacks that came while it was paused, in order. */
  #waiting: { readonly run: () => void; readonly isTimer: boolean }[] = [];
  readonly #onEnd: (() => void)[] = [];

  constructor(id: string, host: string, scheduler: Scheduler, random: SeededRandom) {
    this.id = id;
    this.host = host;
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** Whether its code can run now. */
  get isRunning(): boolean {
    return this.isAlive && this.#holds.size === 0;
  }

  /** The total time for which it was paused, ms. */
  get heldMs(): number {
    const present = this.#holds.size > 0 ? this.#scheduler.now - this.#heldSince : 0;
    return this.#heldMs + present;
  }

  /** Runs `run` inside the process: now, once it is resumed, or never. */
  enter(run: () => void, isTimer: boolean = false): void {
    if (!this.isAlive) return;
    if (this.#holds.size > 0 || this.#waiting.length > 0) this.#waiting.push({ run, isTimer });
    else this.#run(run);
  }

  /** Stops it as SIGSTOP does, until `token` is given to {@link resume}. */
  pause(token: object): void {
    if (this.#holds.size === 0) this.#heldSince = this.#scheduler.now;
    this.#holds.add(token);
  }

  /** Resumes it: callbacks that came during the pause run. */
  resume(token: object): void {
    if (!this.#holds.delete(token) || this.#holds.size > 0) return;
    this.#heldMs += this.#scheduler.now - this.#heldSince;
    // Whether timers or sockets run first depends on the runtime.
    const timersFirst = this.#random.chance(0.5);
    const first = this.#waiting.filter(({ isTimer }) => isTimer === timersFirst);
    this.#waiting = [...first, ...this.#waiting.filter(({ isTimer }) => isTimer !== timersFirst)];
    this.#scheduler.after(0, () => this.#wake());
  }

  /** Ends every pause. */
  resumeAll(): void {
    for (const token of [...this.#holds]) this.resume(token);
  }

  /** Ends it without warning. */
  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#waiting = [];
    for (const end of this.#onEnd) end();
  }

  /** Calls `run` when it is killed. */
  onEnd(run: () => void): void {
    this.#onEnd.push(run);
  }

  #run(run: () => void): void {
    this.runs++;
    run();
  }

  /** Runs callbacks one by one; the promises of each settle before the next. */
  #wake(): void {
    if (!this.isRunning) return;
    const next = this.#waiting.shift();
    if (next) this.#run(next.run);
    if (this.#waiting.length > 0) this.#scheduler.after(0, () => this.#wake());
  }
}
