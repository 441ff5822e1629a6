/**
 * The package as users get it, on each runtime: imported by its own name within the checkout, and
 * installed from the tarball that would be published.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT, RUNTIMES } from "../../scripts/runtimes.ts";

const FIXTURE = "test/e2e/fixtures/own_name.mjs";
const EXPECTED = {
  result: 42,
  // The same number on each runtime.
  answered: expect.any(Number),
  entries: ["server", "client", "store/sqlite", "store/redis", "transport/websocket"],
};

function run(command: readonly string[], script: string, cwd: string): unknown {
  const [binary, ...args] = command as [string, ...string[]];
  const output = execFileSync(binary, [...args, script], { cwd, encoding: "utf8" });
  return JSON.parse(output.trim().split("\n").at(-1) ?? "null");
}

beforeAll(() => {
  // `npm ci` builds it; without install scripts a checkout has no build.
  if (!existsSync(`${ROOT}dist/mod.js`)) {
    execFileSync(RUNTIMES[0]?.run[0] as string, ["scripts/build.ts"], { cwd: ROOT });
  }
}, 120_000);

describe("the package imported by its own name from within the checkout", () => {
  for (const { name, run: command } of RUNTIMES) {
    test(`works on ${name}`, { timeout: 60_000 }, () => {
      expect(run(command, FIXTURE, ROOT)).toEqual(EXPECTED);
    });
  }
});

describe("the package installed from its tarball", () => {
  const folder = mkdtempSync(join(tmpdir(), "atlas-package-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  beforeAll(() => {
    execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], {
      cwd: ROOT,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { version, dependencies } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8"));
    const home = join(folder, "node_modules/@atlas-edge/atlas");
    mkdirSync(home, { recursive: true });
    const tarball = join(folder, `atlas-edge-atlas-${version}.tgz`);
    execFileSync("tar", ["-xzf", tarball, "-C", home, "--strip-components=1"]);
    // The packages that `npm install` would fetch are copied from the checkout.
    for (const dependency of Object.keys(dependencies)) {
      const link = join(folder, "node_modules", dependency);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(`${ROOT}node_modules/${dependency}`, link);
    }
    writeFileSync(join(folder, "package.json"), '{"name":"a-user","type":"module"}');
    cpSync(ROOT + FIXTURE, join(folder, "main.mjs"));
  }, 120_000);

  for (const { name, run: command } of RUNTIMES) {
    test(`works on ${name}`, { timeout: 60_000 }, () => {
      expect(run(command, "main.mjs", folder)).toEqual(EXPECTED);
    });
  }

  test("holds nothing that users don't need", () => {
    const home = join(folder, "node_modules/@atlas-edge/atlas");
    for (
      const wanted of ["README.md", "LICENSE", "mod.ts", "node.ts", "dist/mod.js", "dist/mod.d.ts"]
    ) {
      expect([wanted, existsSync(join(home, wanted))]).toEqual([wanted, true]);
    }
    for (const unwanted of ["test", "bench", "scripts", ".ci", "dist/test"]) {
      expect([unwanted, existsSync(join(home, unwanted))]).toEqual([unwanted, false]);
    }
  });
});
