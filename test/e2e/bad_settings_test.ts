/**
 * A node that can't start prints one line with the reason and the variable, and exits with 2: on
 * each runtime, for each variable, without a stack or a password.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { endAll, runScript, type RuntimeName } from "./process.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-e2e-"));
/** Listens and never answers: serves as a port in use, and as a registry that doesn't respond. */
const mute = createServer((socket) => void socket.on("error", () => {}));
beforeAll(async () => {
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  writeFileSync(join(folder, "broken.mts"), "export default {");
  writeFileSync(join(folder, "empty.mts"), "export const nothing = 1;");
  writeFileSync(join(folder, "text.db"), "this is no database, ".repeat(100));
});
afterAll(async () => {
  await endAll();
  mute.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Each variable with an invalid value; `%PORT%` is in use, `%FOLDER%` is the test's own. */
const SETTINGS: [variable: string, value: string, also?: Record<string, string>][] = [
  ["ATLAS_REGISTRY_URL", "postgres://me:hunter2@host/db"],
  ["ATLAS_REGISTRY_URL", "registry.db"],
  ["ATLAS_REGISTRY_URL", "redis://:hunter2@127.0.0.1:1"],
  ["ATLAS_REGISTRY_URL", "redis://:hunter2@127.0.0.1:%PORT%"],
  ["ATLAS_REGISTRY_URL", "redis://127.0.0.1:6379/ninety"],
  ["ATLAS_REGISTRY_URL", "file:/dev/null/registry.db"],
  ["ATLAS_REGISTRY_URL", "file:%FOLDER%/text.db"],
  ["ATLAS_REGISTRY_URL", "rediss://default:hunter2/x@127.0.0.1:1"],
  ["ATLAS_REGISTRY_URL", "local=redis://:x/hunter2@127.0.0.1:1,eu=memory:"],
  ["ATLAS_REGISTRY_URL", "local=memory:,local=memory:"],
  ["ATLAS_REGISTRY_URL", "local=memory:,eu=redis://:hunter2@h?foo=1"],
  ["ATLAS_REGISTRY_URL", "local=redis://:hunter2@127.0.0.1:1,eu=redis://localhost:1/0"],
  ["ATLAS_REGISTRY_URL", "local=file:a.db,eu=file:./a.db"],
  [
    "ATLAS_REGISTRY_TOKEN",
    "local=hunter2,mars=hunter3",
    { ATLAS_REGISTRY_URL: "local=https://a.example,eu=https://b.example" },
  ],
  ["PORT", "%PORT%"],
  ["PORT", "eighty"],
  ["PORT", "65536"],
  ["ATLAS_HOST", "http://127.0.0.1"],
  ["ATLAS_HOST", "192.0.2.1", { ATLAS_SECRET: "0123456789abcdef0123456789abcdef" }],
  ["ATLAS_SECRET", "hunter2", { ATLAS_HOST: "0.0.0.0" }],
  ["ATLAS_SECRET", "hunter2,hunter3,hunter4"],
  ["ATLAS_TOKEN", "hunter2 and more"],
  ["ATLAS_ORIGINS", "https://me:hunter2@app.example"],
  ["ATLAS_PUBLIC_URL", "ftp://node.example"],
  ["ATLAS_PUBLIC_URL", "https://me:hunter2@node.example"],
  ["ATLAS_LEASE", "quick"],
  ["ATLAS_LEASE", "1000/1500"],
  ["ATLAS_ROLE", "boss"],
  ["ATLAS_BOOTSTRAP", "consul"],
  ["ATLAS_BOOTSTRAP", "static:node-1:8080"],
  ["ATLAS_BOOTSTRAP", "static:https://me:hunter2@node.example"],
  ["ATLAS_BOOTSTRAP", "dns:atlas.internal"],
  ["ATLAS_WATCH", "always"],
  ["ATLAS_LOG", "loud"],
  ["ATLAS_REGION", "us/east"],
  ["ATLAS_REGION", "mars", { ATLAS_REGISTRY_URL: "us=memory:,eu=memory:" }],
  ["ATLAS_NODE", "a b"],
  ["ATLAS_NODE", "x".repeat(65)],
  ["ATLAS_APP", "%FOLDER%/nowhere.ts"],
  ["ATLAS_APP", "%FOLDER%/broken.mts"],
  ["ATLAS_APP", "%FOLDER%/empty.mts"],
];

/** The time limit of each start: five run at once, on a machine that may be busy. */
const each = { timeout: 90_000 };

describe.each<RuntimeName>(["bun", "deno", "node"])(
  "a node on %s refuses to start, in one line, with",
  each,
  (runtime) => {
    // Most of the time passes waiting for a registry that never answers.
    test.concurrent.for(SETTINGS)("%s=%s", async ([variable, template, also = {}], { expect }) => {
      const { port } = mute.address() as AddressInfo;
      const value = template.replace("%PORT%", String(port)).replace("%FOLDER%", folder);
      const defaults = { PORT: "0", ATLAS_REGISTRY_URL: "memory:" };
      const program = runScript(runtime, "node.ts", { ...defaults, ...also, [variable]: value });
      expect(await program.ended).toBe(2);
      const { stdout, stderr } = program.output;
      expect(stdout).toBe("");
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
      expect(stderr).toContain(variable);
      expect(stderr).not.toMatch(/hunter\d|\n\s+at /);
    });
  },
);
