/**
 * A private Redis for tests that can be killed, frozen and restarted.
 *
 * Takes its durability; gives its URL and the controls. Each listens on a free loopback port and
 * keeps its files in its own directory, which is deleted when it ends.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./ports.ts";

/** Why no Redis can be started here; null if one can. Skipped tests print it. */
export const redisMissing: string | null =
  spawnSync("redis-server", ["--version"], { stdio: "ignore" }).status === 0
    ? null
    : "redis-server is not installed on this machine";

/** A Redis refuses to start where the user's locale isn't installed. */
export function redisEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: "C" };
}

/** If tests that need a Redis are skipped, prints the reason. */
export function warnIfRedisMissing(what: string): void {
  if (redisMissing !== null) console.warn(`skipped: ${what}: ${redisMissing}`);
}

export interface TestRedisOptions {
  /** Keeps every acknowledged write on disk (appendonly, appendfsync always). Default false. */
  durable?: boolean;
  /** A node of a cluster, with all slots its own. Default false. */
  cluster?: boolean;
  /** Further arguments for redis-server. */
  args?: readonly string[];
  /**
   * Has its settings in a file that it may rewrite, so that its role survives a restart. Default
   * false.
   */
  hasFile?: boolean;
}

export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** Ends it without warning (SIGKILL); its files stay. */
  kill(): Promise<void>;
  /** Starts it again on the same port and files; resolves when it answers. */
  restart(): Promise<void>;
  /** Freezes it (SIGSTOP), which looks like a network that drops everything. */
  freeze(): void;
  /** Resumes it (SIGCONT). */
  thaw(): void;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

/** Starts a Redis and waits until it answers. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), "atlas-redis-"));
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""];
  if (options.durable) args.push("--appendonly", "yes", "--appendfsync", "always");
  // The bus port is the port + 10,000 by default, which the system may have given to others.
  if (options.cluster) {
    args.push("--cluster-enabled", "yes", "--cluster-port", String(await freePort()));
  }
  args.push(...options.args ?? []);
  const given = options.hasFile ? [settingsFile(directory, args)] : args;
  let child: ChildProcess;
  let ended: Promise<void> = Promise.resolve();
  let running = false;
  const start = async (): Promise<void> => {
    child = spawn("redis-server", given, { stdio: "ignore", env: redisEnvironment() });
    running = true;
    ended = new Promise((resolve) =>
      child.once("exit", () => {
        running = false;
        resolve();
      })
    );
    await answers(port);
  };
  // By process id: Deno's `child.kill` sends only one signal to each child.
  const signal = (name: NodeJS.Signals): void => {
    if (running) process.kill(child.pid as number, name);
  };
  const kill = async (): Promise<void> => {
    signal("SIGKILL");
    await ended;
  };
  const atExit = (): void => signal("SIGKILL");
  process.on("exit", atExit);
  await start();
  if (options.cluster) {
    await awaitReply(port, "CLUSTER ADDSLOTSRANGE 0 16383", /\+OK/);
    await awaitReply(port, "CLUSTER INFO", /cluster_state:ok/);
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    kill,
    restart: start,
    freeze: () => signal("SIGSTOP"),
    thaw: () => signal("SIGCONT"),
    async close() {
      process.off("exit", atExit);
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The arguments as a file of settings; gives its path. */
function settingsFile(directory: string, args: readonly string[]): string {
  const path = join(directory, "redis.conf");
  const quoted = args.map((arg) => arg.startsWith("--") ? `\n${arg.slice(2)}` : ` "${arg}"`);
  writeFileSync(path, `${quoted.join("").trimStart()}\n`);
  return path;
}

async function answers(port: number): Promise<void> {
  await awaitReply(port, "PING", /PONG/);
}

/** The time limits for servers to be ready, and for one answer, in ms. */
const PATIENCE_MS = 60_000;
const ANSWER_MS = 5_000;

/**
 * Sends an inline command until the answer is as expected, for a minute at most; gives the answer's
 * beginning.
 */
export async function awaitReply(port: number, command: string, wanted: RegExp): Promise<string> {
  const giveUp = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask(port, command);
    if (wanted.test(answer)) return answer;
    if (performance.now() > giveUp) {
      throw new Error(`redis-server on port ${port} answers ${command} with: ${answer}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The first bytes of the answer, or the error's message. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const done = (answer: string): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(ANSWER_MS, () => done(`nothing within ${ANSWER_MS} ms`));
    socket.once("error", (error) => done(error.message));
    socket.once("end", () => done("nothing"));
    socket.once("data", (data) => done(String(data)));
    socket.once("connect", () => socket.write(`${command}\r\n`));
  });
}
