/** The three runtimes of this checkout, and how each runs scripts and tests. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface RuntimeCommand {
  readonly name: "node" | "bun" | "deno";
  /** Starts a script: `[binary, ...arguments before the script]`. */
  readonly run: readonly string[];
  /** Starts vitest: `[binary, ...arguments before vitest's own]`. */
  readonly vitest: readonly string[];
}

/** The root of the checkout, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

const VITEST = "node_modules/vitest/vitest.mjs";

/** How to start each runtime, with the binaries that `npm ci` installs. */
export const RUNTIMES: readonly RuntimeCommand[] = [
  { name: "node", run: [nodeBinary()], vitest: [nodeBinary(), VITEST] },
  { name: "bun", run: [local("bun"), "run"], vitest: [local("bun"), "--bun", VITEST] },
  {
    name: "deno",
    run: [local("deno"), "run", "-A"],
    vitest: [local("deno"), "run", "-A", "npm:vitest"],
  },
];

/** The version that a runtime prints; null where it can't be started. */
export function versionOf(runtime: RuntimeCommand): string | null {
  const { status, stdout } = spawnSync(runtime.run[0] as string, ["--version"], {
    encoding: "utf8",
  });
  if (status !== 0) return null;
  return /\d+\.\d+\.\d+\S*/.exec(stdout)?.[0] ?? null;
}

function nodeBinary(): string {
  const bundled = `${ROOT}node_modules/node24/bin/node`;
  return existsSync(bundled) ? bundled : process.execPath;
}

function local(name: string): string {
  return `${ROOT}node_modules/.bin/${name}`;
}
