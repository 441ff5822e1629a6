/**
 * Compares `package.json` with `deno.json`: name, version (also `atlas --version`) and exports.
 *
 * Prints differences and exports that lead nowhere; exits with 1 if there are any. Run after a
 * build.
 */
import { existsSync, readFileSync } from "node:fs";
import { VERSION } from "../adapters/cli/version.ts";
import { ROOT } from "./runtimes.ts";

const read = (file: string) => JSON.parse(readFileSync(ROOT + file, "utf8"));
const npm = read("package.json") as {
  name: string;
  version: string;
  license: string;
  exports: Record<string, string | Record<string, string>>;
};
const deno = read("deno.json") as typeof npm & { exports: Record<string, string> };
const troubles: string[] = [];

for (const field of ["name", "version", "license"] as const) {
  if (npm[field] !== deno[field]) {
    troubles.push(`${field} is ${npm[field]} in package.json, ${deno[field]} in deno.json`);
  }
}
if (npm.version !== VERSION) {
  troubles.push(`version is ${npm.version} in package.json, ${VERSION} in adapters/cli/version.ts`);
}
const entries = Object.entries(npm.exports).filter(([, target]) => typeof target !== "string");
for (const [entry, target] of entries) {
  const { types, bun, default: script } = target as Record<string, string>;
  if (deno.exports[entry] !== bun) {
    troubles.push(`${entry} is ${bun} for Bun, ${deno.exports[entry]} in deno.json`);
  }
  for (const file of [types, bun, script]) {
    if (!file || !existsSync(ROOT + file)) {
      troubles.push(`${entry} leads to ${file}, which doesn't exist`);
    }
  }
  const built = `./dist/${bun?.slice(2, -3)}`;
  if (script !== `${built}.js` || types !== `${built}.d.ts`) {
    troubles.push(`${entry}: types and default must be the files that ${bun} is built to`);
  }
}
for (const entry of Object.keys(deno.exports)) {
  if (!Object.hasOwn(npm.exports, entry)) troubles.push(`${entry} is missing in package.json`);
}
for (const trouble of troubles) console.error(trouble);
if (troubles.length > 0) process.exitCode = 1;
