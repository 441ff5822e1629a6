/** Moving a resource's home over HTTP, by a client, and by the command line. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../adapters/cli/run.ts";
import { connect } from "../../adapters/client/client.ts";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";
import app from "../../examples/channels/app.ts";
import { until } from "../support/until.ts";

const folder = mkdtempSync(join(tmpdir(), "atlas-move-"));
const token = "t0ken";
const secret = "a secret of two nodes on loopback";
let us: ServedNode<typeof app>;
let eu: ServedNode<typeof app>;
beforeAll(async () => {
  const registry = ["us", "eu"].map((region) => `${region}=file:${join(folder, region)}.db`).join();
  const open = (region: string) =>
    serve(app, { registry, region, node: "n", port: 0, token, secret, onEvent: () => {} });
  [us, eu] = await Promise.all([open("us"), open("eu")]);
  // Each region reads the other's members.
  const knows = (node: ServedNode<typeof app>, other: string) => async () =>
    (await node.members()).some(({ region }) => region === other);
  await Promise.all([until(knows(us, "eu")), until(knows(eu, "us"))]);
});
afterAll(async () => {
  await Promise.all([us?.close(), eu?.close()]);
  rmSync(folder, { recursive: true, force: true });
});

const post = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${us.url}/v1/resources/channels/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, ...headers },
  });

test("POST …?move= moves a resource with its state, and answers with its new place", async () => {
  const lobby = connect<typeof app>(us.url, { token }).resource("channels", "lobby");
  const { epoch } = await lobby.send("ann", "1");
  const moved = await post("lobby?move=eu");
  expect(moved.status).toBe(200);
  const place = await moved.json() as { rrp: string; epoch: number };
  expect(place).toEqual({ rrp: "rrp:eu/n/channels/lobby", epoch: expect.any(Number) });
  expect(place.epoch).toBeGreaterThan(epoch);
  expect(await lobby.send("bob", "2")).toMatchObject({ seq: 2, epoch: place.epoch });
  // If it is already there, nothing changes.
  expect(await (await post("lobby?move=eu")).json()).toEqual(place);
});

test("connect().move and atlas move also move a resource with its state", async () => {
  const client = connect<typeof app>(eu.url, { token });
  await client.resource("channels", "a/b").send("ann", "1");
  const moved = await client.move("channels", "a/b", "eu", { timeoutMs: 20_000 });
  expect(moved).toMatchObject({ rrp: "rrp:eu/n/channels/a%2Fb" });

  const atlas = async (...words: string[]) => {
    let out = "";
    const streams = { out: (text: string) => void (out += text), err: () => {} };
    const status = await runCli(words, { ATLAS_URL: us.url, ATLAS_TOKEN: token }, streams);
    return { status, out };
  };
  const json = await atlas("move", "channels/a/b", "us", "--json");
  expect(json.status).toBe(0);
  expect(JSON.parse(json.out)).toMatchObject({ rrp: "rrp:us/n/channels/a%2Fb" });
  expect((await atlas("move", "channels/a/b", "eu")).out).toMatch(
    /^RRP +EPOCH\nrrp:eu\/n\/channels\/a%2Fb +\d+\n$/,
  );
  expect(await client.resource("channels", "a/b").history()).toHaveLength(1);
});

test.each([
  [401, "unauthorized", "lobby?move=eu", { authorization: "Bearer wrong" }],
  [404, "not_found", "lobby", {}],
  [400, "invalid_rrp", "lobby?move=", {}],
  [400, "invalid_rrp", "lobby?move=e/u", {}],
  [400, "bad_request", "lobby?move=eu", { "atlas-timeout-ms": "soon" }],
  [404, "not_found", "lobby/constructor?move=eu", {}],
])("%i %s: %s", async (status, code, path, headers: Record<string, string>) => {
  const answer = await post(path, headers);
  expect(answer.status).toBe(status);
  expect(await answer.json()).toMatchObject({ error: { code } });
});

test("a client refuses an invalid move before anything is sent", async () => {
  const client = connect("http://127.0.0.1:9");
  await expect(client.move("channels", "", "eu")).rejects.toMatchObject({ code: "invalid_rrp" });
  await expect(client.move("channels", "a", "e/u")).rejects.toMatchObject({ code: "invalid_rrp" });
});
