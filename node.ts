/**
 * One node from the environment: `bun run node.ts`, `deno run -A node.ts`, `node node.ts`.
 *
 * Variables: ATLAS_APP, ATLAS_REGION, ATLAS_NODE, ATLAS_REGISTRY_URL, ATLAS_HOST, PORT,
 * ATLAS_PUBLIC_URL, ATLAS_SECRET, ATLAS_TOKEN, ATLAS_LEASE, ATLAS_ROLE, ATLAS_BOOTSTRAP,
 * ATLAS_WATCH, ATLAS_LOG; docs/reference.md describes each.
 */
import { runNode } from "./adapters/server/run_node.ts";

await runNode();
