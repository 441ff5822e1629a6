/**
 * Starts a TypeScript script on a Node that can run it.
 *
 * Takes `<script.ts> [arguments…]`; exits with the script's code. Runs on any Node from 20 on,
 * because `npm` may use one that supports neither `node:sqlite` nor TypeScript.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const bundled = fileURLToPath(new URL("../node_modules/node24/bin/node", import.meta.url));
const own = Number(process.versions.node.split(".")[0]) >= 24 ? process.execPath : null;
const node = existsSync(bundled) ? bundled : own;
if (node === null) {
  console.error(`needs Node 24: run "npm ci" first, or use a newer Node than ${process.version}`);
  process.exit(2);
}
const child = spawn(node, process.argv.slice(2), { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal ? 1 : code ?? 1));
