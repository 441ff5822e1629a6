/**
 * A node name under which processes run one after the other; starts, freezes and kills them. A
 * failed start is retried, as a supervisor would.
 */
import type { Atlas } from "../src/api/node.ts";
import { connect } from "../adapters/client/client.ts";
import { type Program, readyLine, runScript, type RuntimeName } from "../test/e2e/process.ts";

/** One process of a node. */
export interface NodeRun {
  /** The node's name and the number of processes that had it before: `n0#3`. */
  readonly id: string;
  readonly program: Program;
  readonly url: string;
  readonly atlas: Atlas;
}

export type ManagedNodeState = "down" | "starting" | "up" | "frozen" | "draining";

/** How long a process may take from its start to its ready line, in ms. */
const START_MS = 15_000;
const RETRY_MS = 250;
/** How long a replaced process may take to answer whether it serves, in ms. */
const ASK_MS = 1_000;

export class ManagedNode {
  readonly name: string;
  readonly runtime: RuntimeName;
  state: ManagedNodeState = "down";
  /** The process that has the name, also if it is frozen or has ended, until another one has it. */
  current: NodeRun | null = null;
  /** Processes that lost the name while they were frozen, and have not ended. */
  readonly former: Set<NodeRun> = new Set();
  /** The processes among them that have the name again. */
  readonly returned: Set<NodeRun> = new Set();
  /** All processes that ran here since {@link forget}, for their logs. */
  readonly programs: { id: string; program: Program }[] = [];
  /** Called when the process that has the name ended by itself, with its exit status. */
  onDeath: (run: NodeRun, status: number | string) => void = () => {};
  /** Called when a process that had lost the name has it again. */
  onReturn: (run: NodeRun) => void = () => {};
  readonly #env: Record<string, string>;
  #count = 0;
  #isClosed = false;

  constructor(name: string, runtime: RuntimeName, env: Record<string, string>) {
    this.name = name;
    this.runtime = runtime;
    this.#env = { ...env, ATLAS_NODE: name, PORT: "0" };
  }

  /** Starts processes under the name until one is ready. */
  async start(): Promise<void> {
    this.state = "starting";
    while (!this.#isClosed) {
      const id = `${this.name}#${this.#count++}`;
      const program = runScript(this.runtime, "node.ts", this.#env);
      this.programs.push({ id, program });
      try {
        const { url } = await within(START_MS, readyLine(program), `${id} was not ready`);
        this.#settle({ id, program, url, atlas: connect(url) });
        return;
      } catch {
        // The store is down or the machine is slow: retried, as a supervisor would.
        program.signal("SIGKILL");
        await program.ended;
        const back = await this.#returned();
        if (back) return this.#takeBack(back);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** A replaced process that serves again: it has the name, and keeps it as long as it renews. */
  async #returned(): Promise<NodeRun | null> {
    for (const run of this.former) {
      const signal = AbortSignal.timeout(ASK_MS);
      const answer = await fetch(`${run.url}/readyz`, { signal }).catch(() => null);
      if (answer?.ok) return run;
    }
    return null;
  }

  #takeBack(run: NodeRun): void {
    this.former.delete(run);
    this.returned.add(run);
    this.#settle(run);
    this.onReturn(run);
  }

  #settle(run: NodeRun): void {
    this.current = run;
    this.state = "up";
    run.program.ended.then((status) => {
      if (this.#isClosed || this.current !== run || this.state !== "up") return;
      this.state = "down";
      this.onDeath(run, status);
    });
  }

  /** SIGKILL, and its end. */
  async kill(): Promise<void> {
    this.state = "down";
    this.current?.program.signal("SIGKILL");
    await this.current?.program.ended;
  }

  freeze(): void {
    this.state = "frozen";
    this.current?.program.signal("SIGSTOP");
  }

  thaw(): void {
    this.current?.program.signal("SIGCONT");
    if (this.state === "frozen") this.state = "up";
  }

  /** SIGTERM, and its exit status. */
  async drain(): Promise<number | string> {
    this.state = "draining";
    const { program } = this.current as NodeRun;
    program.signal("SIGTERM");
    const status = await program.ended;
    this.state = "down";
    return status;
  }

  /** Starts a successor that takes the frozen process's name; gives the frozen one. */
  async replace(): Promise<NodeRun> {
    const old = this.current as NodeRun;
    this.former.add(old);
    old.program.ended.then(() => this.former.delete(old));
    await this.start();
    return old;
  }

  /** Drops the logs of processes that have ended. */
  forget(): void {
    const running = [this.current?.program, ...[...this.former].map(({ program }) => program)];
    const kept = this.programs.filter(({ program }) => running.includes(program));
    this.programs.splice(0, Infinity, ...kept);
  }

  close(): void {
    this.#isClosed = true;
  }
}

/** `work`, or an error after `ms`. */
export async function within<T>(ms: number, work: Promise<T>, otherwise: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${otherwise} within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
