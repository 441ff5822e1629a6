/**
 * Processes with as little access to the machine as in a container, without a container engine.
 *
 * Takes an image of `image.ts` and a folder of binaries; starts what the image starts, in
 * exec form, in its folder, as its user (where the test runs as root), with the image's
 * variables and those given, and a PATH that leads to those binaries alone.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import process from "node:process";
import type { Image } from "./image.ts";
import type { Program } from "./process.ts";

/**
 * Whether processes can be started as that user here; if not, they run as this one. Only root
 * can, unless the binaries are in a folder that other users can't read.
 */
export function canBe(uid: number, binaries: string): boolean {
  const known = usable.get(uid);
  if (known !== undefined) return known;
  const found = process.getuid?.() === 0 &&
    spawnSync(`${binaries}/node`, ["--version"], { uid, gid: uid, cwd: binaries }).status === 0;
  usable.set(uid, found);
  return found;
}

const usable = new Map<number, boolean>();

export interface ContainerOptions {
  /** Holds the runtimes' binaries. */
  binaries: string;
  /** As by `docker run -e`. */
  env: Record<string, string>;
  /** What to run instead of the image's own command. */
  words?: readonly string[];
}

const running: Set<ChildProcess> = new Set();

/** Starts what the image starts, or `words` in its place. */
export function runImage(image: Image, { binaries, env, words }: ContainerOptions): Program {
  const command = words ?? [...image.entrypoint, ...image.command];
  const [uid, gid] = image.user === "" ? [] : image.user.split(":").map(Number);
  const child = spawn(`${binaries}/${command[0]}`, command.slice(1), {
    cwd: image.root + image.workdir,
    env: { HOME: "/nonexistent", ...image.env, PATH: binaries, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid !== undefined && canBe(uid, binaries) ? { uid, gid } : {}),
  });
  running.add(child);
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (data) => output.stdout += data);
  child.stderr?.on("data", (data) => output.stderr += data);
  let over = false;
  const ended = new Promise<number | string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("exit", () => over = true);
    child.on("close", (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? "unknown");
    });
  });
  return {
    pid: child.pid as number,
    output,
    ended,
    signal: (name) => void (over || process.kill(child.pid as number, name)),
  };
}

/** Ends whatever a test left running. */
export async function endContainers(): Promise<void> {
  await Promise.all([...running].map((child) =>
    new Promise<void>((resolve) => {
      child.on("close", () => resolve());
      child.kill("SIGKILL");
    })
  ));
}
