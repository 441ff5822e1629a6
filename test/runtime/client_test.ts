/** A client as a process of its own. */
import { expect, test } from "vitest";
import { serve } from "../../adapters/server/serve.ts";
import { start } from "./spawn.ts";

test("a proxy that isn't closed keeps no process alive", async () => {
  const node = await serve(undefined, { registry: "memory:", port: 0, onEvent: () => {} });
  try {
    const program = start("test/runtime/fixtures/forgetful.ts", [node.url]);
    expect(await program.ended, program.output.stderr).toBe(0);
    expect(program.output.stdout).toContain("3.14159");
  } finally {
    await node.close();
  }
});
