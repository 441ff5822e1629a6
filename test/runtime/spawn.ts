/** Starts this package's programs as processes of the runtime that runs the test. */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Program, programOf } from "../support/program.ts";

export { endAll, type Program } from "../support/program.ts";

export interface ReadyLine {
  event: "ready";
  url: string;
  region: string;
  node: string;
  incarnation: string;
}

/**
 * Starts `file` of the package's root with only PATH of this environment. With `leads` it gets its
 * own process group, so that its children end with it. `descriptors`: how many it may have open.
 */
export function start(
  file: string,
  words: readonly string[],
  env: Record<string, string> = {},
  { leads = false, descriptors }: { leads?: boolean; descriptors?: number } = {},
): Program {
  const program = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  const first = "Deno" in globalThis ? ["run", "-A", program] : [program];
  const command = [process.execPath, ...first, ...words];
  const limited = ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...command];
  const [binary, ...rest] = (descriptors === undefined ? command : limited) as [string];
  const child = spawn(binary, rest, {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: leads,
  });
  return programOf(child, leads);
}

/** The line that a node prints once it serves. Rejects with its output if it ends before that. */
export async function ready(program: Program): Promise<ReadyLine> {
  let over = false;
  program.ended.then(() => over = true);
  while (!program.output.stdout.includes("\n")) {
    if (over) throw new Error(`the node ended: ${program.output.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return JSON.parse(program.output.stdout.split("\n")[0] as string);
}
