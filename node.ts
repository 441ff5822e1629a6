/**
 * One node from the environment: `bun run node.ts`, `deno run -A node.ts`, `node node.ts`.
 *
 * Variables: ATLAS_APP, ATLAS_REGION, ATLAS_NODE, ATLAS_REGISTRY_URL, ATLAS_HOST, PORT,
 * ATLAS_PUBLIC_URL, ATLAS_SECRET, ATLAS_TOKEN, ATLAS_LEASE, ATLAS_ROLE, ATLAS_BOOTSTRAP,
 * ATLAS_WATCH, ATLAS_LOG; docs/reference.md describes each.
 */
import module from "node:module";
import { fileURLToPath } from "node:url";

// Node compiles all modules at each start. With the code kept, a start takes half as long. It has
// an effect only on what is imported later. Node's variables NODE_COMPILE_CACHE and
// NODE_DISABLE_COMPILE_CACHE apply; a folder that can't be written to is no error.
if (!("Bun" in globalThis || "Deno" in globalThis)) {
  module.enableCompileCache?.(fileURLToPath(new URL("node_modules/.cache/atlas", import.meta.url)));
}
const { runNode } = await import("./adapters/server/run_node.ts");

await runNode();
