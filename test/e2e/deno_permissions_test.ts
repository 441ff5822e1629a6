/** The Deno permissions in docs/security.md are enough for a node. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { ROOT } from "../../scripts/runtimes.ts";
import { endAll, readyLine, run } from "./process.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-rights-"));
afterAll(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

const DOCS = readFileSync(`${ROOT}docs/security.md`, "utf8");

test("a node on Deno serves with the documented permissions, and asks for no others", async () => {
  const [, words = ""] = /^ *deno run (.*) node\.ts$/m.exec(DOCS) ?? [];
  const flags = words.split(" ").map((flag) =>
    flag.replace("--allow-read=.", `--allow-read=.,${folder}`)
      .replace("--allow-write=.atlas", `--allow-write=${folder}`)
  );
  expect(flags.length).toBeGreaterThan(4);
  const env = { PORT: "0", ATLAS_REGISTRY_URL: `file:${join(folder, "registry.db")}` };
  const program = run([`${ROOT}node_modules/.bin/deno`, "run", ...flags, "node.ts"], env);
  const { url } = await readyLine(program);
  const path = "/v1/resources/channels/a/send";
  const sent = await fetch(url + path, { method: "POST", body: '["ann","hi"]' });
  expect(await sent.json()).toMatchObject({ result: { seq: 1 } });
  expect((await fetch(`${url}/metrics`)).status).toBe(200);
  program.signal("SIGTERM");
  expect(await program.ended).toBe(0);
  expect(program.output.stderr).not.toMatch(/Requires|permission|--allow/i);
});
