/** Detects the running runtime and loads its adapter, and no other. */
import type { Runtime } from "../../src/ports/runtime.ts";

/** The adapter of the runtime that runs this program. */
export async function detectRuntime(): Promise<Runtime> {
  if ("Bun" in globalThis) return (await import("./bun.ts")).runtime;
  if ("Deno" in globalThis) return (await import("./deno.ts")).runtime;
  return (await import("./node.ts")).runtime;
}
