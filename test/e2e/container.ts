/**
 * Processes with as little access to the machine as in a container, without a container engine.
 *
 * Takes an image of `image.ts` and a folder of binaries; starts what the image starts, in exec
 * form, in its folder, as its user (if the test runs as root), with the image's variables and those
 * given, and a PATH that leads to those binaries alone.
 */
import { spawn, spawnSync } from "node:child_process";
import process from "node:process";
import type { Image } from "./image.ts";
import { type Program, programOf } from "../support/program.ts";

/**
 * Whether processes can be started as that user here; if not, they run as the current user. Only
 * root can do that, and only if other users can read the binaries' folder.
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

/** Starts what the image starts, or `words` in its place. */
export function runImage(image: Image, { binaries, env, words }: ContainerOptions): Program {
  const command = words ?? [...image.entrypoint, ...image.command];
  const [uid, gid] = image.user === "" ? [] : image.user.split(":").map(Number);
  return programOf(spawn(`${binaries}/${command[0]}`, command.slice(1), {
    cwd: image.root + image.workdir,
    env: { HOME: "/nonexistent", ...image.env, PATH: binaries, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid !== undefined && canBe(uid, binaries) ? { uid, gid } : {}),
  }));
}
