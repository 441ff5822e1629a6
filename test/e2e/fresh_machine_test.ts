/**
 * A fresh machine: a copy of the tracked files, without node_modules, starts with Bun alone; with
 * default settings the node serves, on a SQLite file in the working directory.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ROOT } from "../../scripts/runtimes.ts";
import { npmSettings } from "../support/npm_settings.ts";
import { freePort } from "../support/ports.ts";
import { history, result } from "./calls.ts";
import { endAll, readyLine, run, type RuntimeName, startNode } from "./process.ts";

const BUN = `${ROOT}node_modules/.bin/bun`;
/** Bun's message if it can't fetch the packages. */
const NO_NETWORK =
  /ConnectionRefused|FailedToOpenSocket|DNSResolveFailed|ENOTFOUND|Unable\s*[Tt]o\s*[Cc]onnect|Timeout/;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "atlas-fresh-"));
});
afterEach(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

/** Copies the tracked files in their current state; false if this isn't a checkout. */
function copyTracked(): boolean {
  let files: string[];
  try {
    files = execFileSync("git", ["ls-files", "-z"], { cwd: ROOT, encoding: "utf8" }).split("\0");
  } catch {
    return false;
  }
  for (const file of files) {
    if (file === "" || !existsSync(ROOT + file)) continue;
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(ROOT + file, join(folder, file));
  }
  return true;
}

describe("a fresh machine", () => {
  test(
    "starts a node with Bun alone, without node_modules",
    { timeout: 120_000 },
    async ({ skip }) => {
      if (!copyTracked()) skip("this is no git checkout");
      const program = run([BUN, "run", "node.ts"], { ...npmSettings(), PORT: "0" }, folder);
      const line = await readyLine(program, 100_000).catch((error) => {
        if (NO_NETWORK.test(program.output.stderr)) skip("the package registry can't be reached");
        throw error;
      });
      expect(await result(line.url, "channels/first", "send", ["ann", "hi"]))
        .toMatchObject({ seq: 1 });
      expect(existsSync(join(folder, "node_modules"))).toBe(false);
      expect(existsSync(join(folder, ".atlas/registry.db"))).toBe(true);
      program.signal("SIGTERM");
      expect(await program.ended).toBe(0);
    },
  );

  test.for<RuntimeName>(["bun", "deno", "node"])(
    "serves with the defaults on %s, and keeps its SQLite file over a restart",
    { timeout: 60_000 },
    async (runtime) => {
      for (const seq of [1, 2]) {
        const node = await startNode({ runtime, env: {}, cwd: folder, script: `${ROOT}node.ts` });
        expect(existsSync(join(folder, ".atlas/registry.db"))).toBe(true);
        expect(node.line).toMatchObject({ event: "ready", region: "local" });
        expect(await result(node.url, "channels/kept", "send", ["ann", `${seq}`]))
          .toMatchObject({ seq });
        expect(await history(node.url, "kept")).toHaveLength(seq);
        node.signal("SIGTERM");
        expect(await node.ended).toBe(0);
      }
    },
  );

  test("prints the ready line on npm start, and drains the node on a signal", {
    timeout: 60_000,
  }, async () => {
    const port = await freePort();
    const program = run(["npm", "start"], {
      PORT: String(port),
      ATLAS_REGISTRY_URL: `file:${join(folder, "registry.db")}`,
    });
    const line = await readyLine(program, 40_000);
    expect(line.url).toBe(`http://127.0.0.1:${port}`);
    expect(await result(line.url, "channels/first", "whereami")).toMatchObject({ node: line.node });
    program.signal("SIGTERM");
    expect(await program.ended).toBe(0);
  });
});
