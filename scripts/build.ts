/**
 * `npm run build`: compiles what users import to JavaScript and types in `dist/`, for Node and for
 * bundlers. Bun and Deno run the sources.
 *
 * The new folder replaces the old one in one step, so that concurrent importers never see half of
 * it.
 */
import { spawnSync } from "node:child_process";
import { renameSync, rmSync } from "node:fs";
import { ROOT } from "./runtimes.ts";

const fresh = `${ROOT}dist.${process.pid}`;
const compiler = `${ROOT}node_modules/.bin/tsc`;
const { status, error } = spawnSync(
  compiler,
  ["-p", "tsconfig.build.json", "--noEmitOnError", "--outDir", fresh],
  { cwd: ROOT, stdio: "inherit" },
);
if (status === 0) {
  rmSync(`${ROOT}dist`, { recursive: true, force: true });
  renameSync(fresh, `${ROOT}dist`);
} else {
  rmSync(fresh, { recursive: true, force: true });
  console.error(`the build failed${error ? `: ${error.message}` : ""}`);
  process.exitCode = 1;
}
