/** `atlas listen` against a real node. */
import { afterEach, expect, test } from "vitest";
import { runCli } from "../../adapters/cli/run.ts";
import { serve } from "../../adapters/server/serve.ts";
import { endAll, start } from "./spawn.ts";
import { until } from "../support/until.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();
// Runs before the cleanups.
afterEach(endAll);

test("prints each event as a line, from the requested one on", async () => {
  const node = await serve(undefined, { registry: "memory:", port: 0, onEvent: () => {} });
  cleanups.push(() => node.close());
  await node.call("channels", "lobby", "send", ["ann", "before"]);
  const env = { ATLAS_URL: node.url };
  const all = start("cli.ts", ["listen", "channels", "lobby", "--after", "0"], env);
  const later = start("cli.ts", ["listen", "channels", "lobby", "--after", "1"], env);
  await until(() => node.stats().sockets === 2);
  await until(() => all.output.stdout.includes("\n"));
  await node.call("channels", "lobby", "send", ["bob", "after"]);
  await until(() => all.output.stdout.split("\n").length === 3 && later.output.stdout !== "");
  const { epoch } = await node.lookup("channels", "lobby");
  const line = (seq: number, from: string, text: string) =>
    JSON.stringify({ seq, epoch, data: { seq, from, text } });
  const [before, after] = [line(1, "ann", "before"), line(2, "bob", "after")];
  expect(all.output).toEqual({ stdout: `${before}\n${after}\n`, stderr: "" });
  expect(later.output).toEqual({ stdout: `${after}\n`, stderr: "" });
});

test("prints the reason if it can't listen", async () => {
  const node = await serve(undefined, { registry: "memory:", port: 0, onEvent: () => {} });
  cleanups.push(() => node.close());
  let err = "";
  const streams = { out: () => {}, err: (text: string) => err += text };
  expect(await runCli(["listen", "attics", "x"], { ATLAS_URL: node.url }, streams)).toBe(1);
  expect(err).toMatch(/^not_found: /);
  expect(await runCli(["listen", "channels"], { ATLAS_URL: node.url }, streams)).toBe(2);
});
