/**
 * The command line against a real node.
 *
 * Covers adapters/cli/usage.ts.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../adapters/cli/run.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import { defineApp, defineModule, Resource } from "../../mod.ts";
import { start } from "./spawn.ts";

const ROOT = new URL("../../", import.meta.url);

let node: ServedNode;
beforeAll(async () => {
  node = await serve(undefined, {
    registry: "memory:",
    port: 0,
    region: "r",
    node: "n",
    token: "t0ken",
    onEvent: () => {},
  });
});
afterAll(() => node.close());

/** Runs a command; gives its exit status and its output. */
async function atlas(...words: string[]): Promise<{ status: number; out: string; err: string }> {
  const env = { ATLAS_URL: node.url, ATLAS_TOKEN: "t0ken" };
  let out = "";
  let err = "";
  const status = await runCli(words, env, {
    out: (text) => out += text,
    err: (text) => err += text,
  });
  return { status, out, err };
}

describe("the command line shows", () => {
  test("calls, lookups and resources, for people and machines", async () => {
    const called = await atlas("call", "channels", "c:1", "send", '"ann"', '"hi"', "--key", "k");
    expect(called).toMatchObject({ status: 0, err: "" });
    expect(JSON.parse(called.out)).toMatchObject({ seq: 1 });
    const json = await atlas("call", "channels", "c:1", "whereami", "--json");
    expect(json.out.trimEnd()).not.toContain("\n");
    expect(JSON.parse(json.out)).toMatchObject({
      result: { node: "n" },
      rrp: "rrp:r/n/channels/c:1",
    });

    const looked = await atlas("lookup", "channels", "c:1", "--confirmed", "--json");
    expect(JSON.parse(looked.out)).toMatchObject({ key: "channels/c:1", verdict: "confirmed" });
    expect((await atlas("lookup", "channels", "nobody")).out).toMatch(/unowned/);

    const listed = await atlas("resources", "rrp:r/n/channels/");
    expect(listed.out).toMatch(/^RRP +EPOCH\nrrp:r\/n\/channels\/c:1 +\d+\n$/);
    const page = await atlas("resources", "--json");
    expect(JSON.parse(page.out)).toMatchObject({
      resources: [{ rrp: "rrp:r/n/channels/c:1" }],
      next: null,
    });
  });

  test("nodes", async () => {
    expect((await atlas("nodes")).out).toMatch(/^REGION +NODE +STATE.*\nr +n +live /);
    const { nodes } = JSON.parse((await atlas("nodes", "--json")).out);
    expect(nodes).toMatchObject([{ region: "r", node: "n", state: "live" }]);
  });

  test("modules, a request, order books and authorities", async () => {
    const answer = await atlas("request", "calc", "pi", "5", "--version", "^1", "--json");
    expect(JSON.parse(answer.out)).toEqual({ result: "3.14159", node: "n", version: "1.0.0" });
    expect(await atlas("request", "calc", "pi", "5")).toMatchObject({ out: '"3.14159"\n' });

    expect((await atlas("modules")).out).toMatch(
      /^MODULE +VERSION +REGION +NODE +CAPACITY +GRANTED +IN FLIGHT\ncalc +1\.0\.0 +r +n +2 +\d +0\n$/,
    );
    const { modules } = JSON.parse((await atlas("modules", "--json")).out);
    expect(modules).toMatchObject([{ name: "calc", versions: ["1.0.0"], capacity: 2 }]);

    expect((await atlas("exchange", "calc")).out).toMatch(
      /^EXCHANGE +SIDE +TRADER +QUANTITY +HELD +VERSION\nr\/n +sell +r\/n +\d +\d +1\.0\.0\n/,
    );
    const book = JSON.parse((await atlas("exchange", "calc", "--json")).out);
    expect(book).toMatchObject({ module: "calc", exchanges: [{ region: "r", node: "n" }] });

    expect((await atlas("authorities")).out).toMatch(
      /^REGION +NODE +INCARNATION +AUTHORITIES +BROKERS +MODULES\nr +n +\S+ +0 +1 +calc\n$/,
    );
    const mesh = JSON.parse((await atlas("authorities", "--json")).out);
    expect(mesh).toMatchObject({ authorities: [{ region: "r", node: "n", modules: ["calc"] }] });
  });

  test("null for a call without a result", async () => {
    class Quiet extends Resource {
      nothing(): void {}
    }
    const module = defineModule({ version: "1.0.0", capacity: 1, functions: { nothing() {} } });
    const app = defineApp({ resources: { quiet: Quiet }, modules: { still: module } });
    const other = await serve(app, { registry: "memory:", port: 0, onEvent: () => {} });
    try {
      for (const words of [["call", "quiet", "q", "nothing"], ["request", "still", "nothing"]]) {
        const called = await atlas(...words, "--json", "--url", other.url);
        expect(JSON.parse(called.out)).toHaveProperty("result", null);
        expect((await atlas(...words, "--url", other.url)).out).toBe("null\n");
      }
    } finally {
      await other.close();
    }
  });

  test("its help", async () => {
    expect(await atlas("--help")).toMatchObject({ status: 0, err: "" });
    expect((await atlas("--help")).out).toContain("atlas call TYPE ID METHOD");
  });

  test("the package's version, if only that is asked for", async () => {
    const read = (file: string) => JSON.parse(readFileSync(new URL(file, ROOT), "utf8"));
    const { version } = read("package.json");
    expect(read("deno.json")).toMatchObject({ version });
    expect(await atlas("--version")).toEqual({ status: 0, out: `${version}\n`, err: "" });
    expect(await atlas("nodes", "--version")).toMatchObject({ status: 2, out: "" });
  });

  test("results for commands with negative numbers as argument, operand and option value", async () => {
    const looked = await atlas("lookup", "channels", "-5", "--json");
    expect(JSON.parse(looked.out)).toMatchObject({ key: "channels/-5" });
    expect((await atlas("resources", "--limit", "-5")).err).toMatch(/^atlas: --limit is "-5": /);
    expect(await atlas("call", "channels", "c:1", "history", "-1")).toMatchObject({ status: 0 });
  });
});

describe("the command line refuses", () => {
  test.each([
    [[]],
    [["dance"]],
    [["constructor"]],
    [["lookup", "channels"]],
    [["nodes", "extra"]],
    [["nodes", "--colour"]],
    [["call", "channels", "a", "send", "ann"]],
    [["nodes", "--url", "ftp://x"]],
    [["nodes", "--timeout", "soon"]],
    [["modules", "calc"]],
    [["request", "calc"]],
    [["request", "calc", "pi", "five"]],
    [["exchange"]],
    [["authorities", "all"]],
    [["resources", "--limit", "0"]],
    [["resources", "eu"]],
    [["resources", "rrp:us-east-1/u0"]],
    [["resources", "eu", "--count"]],
    [["drain", "rrp:us-east-1/u0"]],
    [["drain", "rrp:r/", "--for", "soon"]],
    [["drain", "rrp:r/", "--for", "0s"]],
    [["drain", "rrp:r/", "--for", "2d"]],
    [["drain", "n", "--for", "1m"]],
    [["request", "calc", "pi", "5", "--version", "newest"]],
    [["modules", "--version", "1"]],
    [["exchange", "calc", "--version", "1"]],
    [["nodes", "--key", "k"]],
    [["race", "--limit", "5"]],
    [["move", "channels/a"]],
    [["move", "channels", "eu"]],
    [["move", "channels/a", "e/u"]],
  ])("bad usage, exit 2: %j", async (words) => {
    const { status, out, err } = await atlas(...words);
    expect([status, out]).toEqual([2, ""]);
    expect(err).toMatch(/^atlas: .+\n/);
  });

  test.each([
    [
      ["--url", "nonsense"],
      '--url or ATLAS_URL is "nonsense", it must be an http:// or https:// URL',
    ],
    [["--url", "http://a,ftp://b"], '--url or ATLAS_URL is "ftp://b", it must be'],
    [["--url", "http://me:secret@a"], '--url or ATLAS_URL is "http://***@a", it must be'],
    [["--token", "a b"], "--token or ATLAS_TOKEN must be text of printable ASCII characters"],
  ])(
    "the error names and shows the wrong value, unless it is secret: %j",
    async (options, message) => {
      const { status, out, err } = await atlas("nodes", ...options);
      expect([status, out]).toEqual([2, ""]);
      expect(err).toMatch(new RegExp(`^atlas: ${message.replace(/[.*?]/g, "\\$&")}`));
    },
  );

  test.each([
    ["not_found", ["call", "channels", "a", "dance"]],
    ["not_found", ["call", "nothing", "a", "dance"]],
    ["not_found", ["drain", "elsewhere"]],
    ["not_found", ["request", "calc", "tau", "5"]],
    ["bad_request", ["request", "calc", "pi", "-1"]],
    ["invalid_rrp", ["lookup", "channels", ""]],
    ["unauthorized", ["nodes", "--token", "wrong"]],
    ["unavailable", ["nodes", "--url", "http://127.0.0.1:1", "--timeout", "200"]],
  ])("%s, exit 1: %j", async (code, words) => {
    const { status, out, err } = await atlas(...words);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toMatch(new RegExp(`^${code}: `));
  });
});

test("a node's error within the time limit is shown, with exit status 1, if no node sells the module", async () => {
  const runtime = await detectRuntime();
  // The proxy shortens the time limit, so that the node answers before the caller gives up.
  const proxy = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_024,
    async fetch(request) {
      const headers = new Headers(request.headers);
      headers.set("atlas-timeout-ms", "200");
      const { pathname } = new URL(request.url);
      const body = await request.arrayBuffer();
      return await fetch(node.url + pathname, { method: "POST", headers, body });
    },
  });
  const { status, out, err } = await atlas(
    "request",
    "nothing",
    "run",
    "--timeout",
    "1000",
    "--url",
    `http://127.0.0.1:${proxy.port}`,
  );
  await proxy.close();
  expect([status, out]).toEqual([1, ""]);
  expect(err).toMatch(/^unavailable: nobody sold any within \d+ ms: .*nothing/);
});

test("the command line's status is the exit status of its process", async () => {
  const env = { ATLAS_URL: node.url, ATLAS_TOKEN: "t0ken" };
  const good = start("cli.ts", ["nodes", "--json"], env);
  expect(await good.ended).toBe(0);
  expect(JSON.parse(good.output.stdout).nodes).toHaveLength(1);
  expect(await start("cli.ts", ["nodes", "--token", "wrong"], env).ended).toBe(1);
  expect(await start("cli.ts", ["dance"], env).ended).toBe(2);
});

test("resources under a prefix are counted and drained", async () => {
  await atlas("call", "channels", "counted", "whereami");
  const { count } = JSON.parse((await atlas("resources", "rrp:r/n/", "--count", "--json")).out);
  expect(count).toBeGreaterThan(0);
  expect((await atlas("resources", "--count")).out).toBe(`${count}\n`);
  expect((await atlas("resources", "rrp:elsewhere/", "--count")).out).toBe("0\n");

  const prefix = "rrp:r/n/channels/";
  expect(await atlas("drain", prefix)).toMatchObject({
    status: 0,
    out: `r/n hands over ${prefix}\n`,
  });
  await expect.poll(() => atlas("resources", prefix, "--count")).toMatchObject({ out: "0\n" });
  expect((await fetch(`${node.url}/readyz`)).status).toBe(200);
  expect(await atlas("drain", "rrp:elsewhere/")).toMatchObject({ status: 1, out: "" });
  expect(await atlas("drain", "rrp:r")).toMatchObject({ status: 2, out: "" });
  const brief = await atlas("drain", "rrp:r/n/sessions/", "--for", "2s", "--json");
  expect(JSON.parse(brief.out)).toMatchObject({
    nodes: [{ prefix: "rrp:r/n/sessions/", forMs: 2_000, region: "r", node: "n" }],
  });
});

test("a drained node goes on answering", async () => {
  expect(await atlas("drain", "r/n")).toMatchObject({ status: 0, out: "r/n is draining\n" });
  while ((await fetch(`${node.url}/readyz`)).status !== 503) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect((await atlas("nodes")).status).toBe(0);
});
