/**
 * `npm run check`: all checks to pass before a pull request: format, lint, types, architecture, and
 * the package as installed.
 *
 * Takes `[NAME…]`, by default all checks; prints each outcome and the output of failed ones. Exits
 * with 0, 1 if one failed, 2 on bad usage.
 */
import { spawn } from "node:child_process";
import { ROOT, RUNTIMES } from "./runtimes.ts";

interface Check {
  readonly name: string;
  readonly command: readonly string[];
  /** What to do if it fails. */
  readonly advice: string;
}

const bin = (name: string) => `${ROOT}node_modules/.bin/${name}`;
const [node, vitest] = RUNTIMES[0]?.vitest as [string, string];

const CHECKS: readonly Check[] = [
  { name: "format", command: [bin("deno"), "fmt", "--check"], advice: "run npx deno fmt" },
  {
    name: "lint",
    command: [bin("deno"), "lint"],
    advice: "see above; npx deno lint --fix corrects some of it",
  },
  { name: "types", command: [bin("tsc"), "-p", "."], advice: "see above" },
  {
    name: "architecture",
    command: [node, vitest, "run", "test/architecture"],
    advice: "each line above names the file and what to use instead",
  },
  { name: "build", command: [node, "scripts/build.ts"], advice: "see above" },
  {
    name: "exports",
    command: [node, "scripts/check_exports.ts"],
    advice: "package.json and deno.json must name the same entries",
  },
  { name: "publint", command: [bin("publint"), "--strict"], advice: "correct package.json" },
  {
    name: "attw",
    command: [bin("attw"), "--pack", ".", "--profile", "esm-only"],
    advice: "correct the types in the exports of package.json",
  },
  {
    name: "deno publish",
    command: [bin("deno"), "publish", "--dry-run", "--allow-dirty", "--quiet"],
    advice: "correct deno.json or the file that it names",
  },
];

async function main(asked: string[]): Promise<number> {
  const unknown = asked.find((name) => !CHECKS.some((check) => check.name === name));
  if (unknown !== undefined) {
    console.error(
      `no check named ${unknown}; there are: ${CHECKS.map((it) => it.name).join(", ")}`,
    );
    return 2;
  }
  let failed = 0;
  for (const check of CHECKS) {
    if (asked.length > 0 && !asked.includes(check.name)) continue;
    const { code, output } = await run(check.command);
    if (code === 0) {
      console.log(`ok      ${check.name}`);
      continue;
    }
    failed += 1;
    console.log(`${output.trimEnd()}\nFAILED  ${check.name}: ${check.advice}`);
  }
  return failed > 0 ? 1 : 0;
}

function run(command: readonly string[]): Promise<{ code: number; output: string }> {
  const [binary, ...args] = command as [string, ...string[]];
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(binary, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (chunk) => output += chunk);
    child.stderr.on("data", (chunk) => output += chunk);
    child.on("error", (error) => resolve({ code: 1, output: error.message }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

process.exitCode = await main(process.argv.slice(2));
