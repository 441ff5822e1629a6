/**
 * `atlas race` against a real Redis, and against one over HTTP: what it counts, that it leaves
 * nothing behind, and what it refuses.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../adapters/cli/run.ts";
import { parseRedisUrl } from "../../adapters/store/redis/client.ts";
import { openRaceStores, type RaceStoresOptions } from "../../adapters/store/open/race.ts";
import { RedisConnection } from "../../adapters/store/redis/connection.ts";
import { messageOf } from "../../src/errors.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";

/** Runs a command; gives its exit status and its output. */
async function atlas(
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<{ status: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const status = await runCli(words, env, {
    out: (text) => out += text,
    err: (text) => err += text,
  });
  return { status, out, err };
}

warnIfRedisMissing("atlas race against a real Redis");

describe("atlas race at a Redis", unless(redisMissing), () => {
  let redis: TestRedis;
  let line: RedisConnection;
  let rest: Server;
  let restUrl: string;

  beforeAll(async () => {
    redis = await startRedis();
    line = new RedisConnection(parseRedisUrl(redis.url), { timeoutMs: 5_000, scripts: [] });
    await line.open();
    rest = restServer(line);
    await new Promise<void>((resolve) => rest.listen(0, "127.0.0.1", resolve));
    restUrl = `http://127.0.0.1:${(rest.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await new Promise((resolve) => rest.close(resolve));
    line.close();
    await redis.close();
  });
  // After each test, none of its keys remain.
  afterEach(async () => expect(await line.send("DBSIZE", [])).toBe(0));

  test("counts both rules, as JSON", async () => {
    const words = ["--registry", redis.url, "--trials", "30", "--contenders", "3", "--json"];
    const { status, out, err } = await atlas(["race", ...words]);
    expect([status, err]).toEqual([0, ""]);
    const report = JSON.parse(out);
    expect(report).toMatchObject({
      contenders: 3,
      complete: true,
      published: { trials: 30 },
      compareAndSet: { trials: 30, doubles: 0, rate: 0 },
    });
    expect(report.rtt.p50).toBeGreaterThan(0);
    expect(report.rtt.max).toBeGreaterThanOrEqual(report.rtt.p99);
  });

  test("stalled nodes make double owners only by the published rule, and the text says so", async () => {
    // Far longer than a round trip, also on a busy machine.
    const words = ["race", "--stall", "300", "--trials", "8"];
    const { status, out, err } = await atlas(words, { ATLAS_REGISTRY_URL: redis.url });
    expect([status, err]).toEqual([0, ""]);
    expect(out).toMatch(/^STEPS +P50 MS +P99 MS +MAX MS\nround trip +\d/);
    expect(out).toMatch(/\nSET, wait one round trip, GET +8 +[1-9]\d* +\d+\.\d %\n/);
    expect(out).toMatch(/\ncompare-and-set +8 +0 +0\.0 %\n/);
    expect(out).toMatch(/held up for up to 300 ms, compare-and-set in none: that is why/);
  });

  test("also runs over HTTP, with a token", async () => {
    // Because they are delayed, all of them have looked before the first one writes.
    const words = ["race", "--registry", restUrl, "--trials", "10", "--stall", "30", "--json"];
    const { status, out, err } = await atlas(words, { ATLAS_REGISTRY_TOKEN: "t0ken" });
    expect([status, err]).toEqual([0, ""]);
    expect(JSON.parse(out)).toMatchObject({ compareAndSet: { trials: 10, doubles: 0 } });
  });

  const query = (master: string, bound = "500") =>
    `?master=${master}&strategy=optimistic&masters=a,b&bound=${bound}`;

  test("masters that don't copy each other have two owners by both rules, and keys are deleted", async () => {
    const other = await startRedis();
    const line = new RedisConnection(parseRedisUrl(other.url), { timeoutMs: 5_000, scripts: [] });
    try {
      await line.open();
      const urls = [redis.url + query("a"), other.url + query("b")];
      const words = urls.flatMap((url) => ["--registry", url]);
      const { status, out, err } = await atlas(["race", ...words, "--trials", "10"]);
      expect([status, err]).toEqual([0, ""]);
      expect(out).toMatch(/\nSET, wait one round trip, GET +10 +10 +100\.0 %\n/);
      expect(out).toMatch(/\ncompare-and-set +10 +10 +100\.0 %\n/);
      expect(out).toMatch(
        /Even compare-and-set let two nodes own one name in 100\.0 % of the races/,
      );
      expect(out).toMatch(/on these 2 masters: .+ without the strategy optimistic/);
      const json = await atlas(["race", ...words, "--trials", "5", "--contenders", "3", "--json"]);
      expect(JSON.parse(json.out)).toMatchObject({
        contenders: 3,
        masters: 2,
        unraced: [],
        compareAndSet: { trials: 5, doubles: 5 },
      });
      expect(await line.send("DBSIZE", [])).toBe(0);
    } finally {
      line.close();
      await other.close();
    }
  });

  test("a race at one of two masters warns of that", async () => {
    const words = ["race", "--registry", redis.url + query("a"), "--trials", "5"];
    const { status, out, err } = await atlas(words);
    expect([status, err]).toEqual([0, ""]);
    expect(out).toContain(
      "But all contenders used one master, and none used b: across several masters " +
        "compare-and-set does not hold. Give --registry once for each.\n",
    );
    expect(out).not.toContain("on this store");
    const json = await atlas([...words, "--json"]);
    expect(JSON.parse(json.out)).toMatchObject({ masters: 1, unraced: ["b"] });
  });

  test("a refused token ends the race with exit status 1, and is not shown", async () => {
    const words = ["race", "--registry", restUrl];
    const { status, err } = await atlas(words, { ATLAS_REGISTRY_TOKEN: "hunter2" });
    expect(status).toBe(1);
    expect(err).toMatch(/^unauthorized: .+ refuses the token\n$/);
    expect(err).not.toContain("hunter2");
  });
});

test.each([
  ["redis://127.0.0.1:1"],
  ["redis://:hunter2@127.0.0.1:1"],
  ["http://127.0.0.1:1"],
])("a registry that can't be reached, %s: exit 1", async (registry) => {
  const words = ["race", "--registry", registry, "--timeout", "200"];
  const { status, out, err } = await atlas(words, { ATLAS_REGISTRY_TOKEN: "t0ken" });
  expect([status, out]).toEqual([1, ""]);
  expect(err).toMatch(/^unavailable: the Redis at 127\.0\.0\.1:1 can't be reached: .+\n$/);
  expect(err).not.toContain("hunter2");
});

test.each<[RegExp, string[]]>([
  [/race needs --registry/, []],
  [/one redis:\/\/, rediss:\/\/ or https:\/\/ URL/, ["--registry", "memory:"]],
  [/one redis:\/\/, rediss:\/\/ or https:\/\/ URL/, ["--registry", "file:x.db"]],
  [/race at one of them/, ["--registry", "us=redis://a,eu=redis://b"]],
  [/ATLAS_REGISTRY_TOKEN is not set/, ["--registry", "https://a.example"]],
  [/https: beyond loopback/, ["--registry", "http://a.example"]],
  [/scheme, host and path alone/, ["--registry", "https://me:hunter2@a.example"]],
  [/Redis URL database/, ["--registry", "redis://a/x"]],
  [/the registry URL's strategy is "bogus", it must be optimistic/, [
    "--registry",
    "redis://a?strategy=bogus",
  ]],
  [/the registry URL's bound is "abc", it must be 1 to 60000 ms/, [
    "--registry",
    "redis://a?bound=abc&strategy=optimistic&master=a&masters=a,b",
  ]],
  [/the registry is "redis:\/\/\*\*\*@a" twice/, [
    "--registry",
    "redis://:hunter2@a",
    "--registry",
    "redis://:hunter2@a",
  ]],
  [/--contenders is "2": it must be 3 to 16/, [
    ...["a", "b", "c"].flatMap((host) => ["--registry", `redis://${host}`]),
    "--contenders",
    "2",
  ]],
  [
    /--registry is given 17 times: at most 16/,
    Array.from({ length: 17 }, (_, i) => ["--registry", `redis://h${i}`]).flat(),
  ],
  [/--trials is "-3": it must be 1 to 10000/, ["--trials", "-3"]],
  [/--trials is "0": it must be 1 to 10000/, ["--trials", "0"]],
  [/--contenders is "1": it must be 2 to 16/, ["--contenders", "1"]],
  [/--stall is "10001": it must be 0 to 10000/, ["--stall", "10001"]],
  [/--seconds is "soon": it must be 1 to 600/, ["--seconds", "soon"]],
  [/race does not take 1 operands/, ["channels"]],
])("bad usage, exit 2: %s", async (message, words) => {
  const { status, out, err } = await atlas(["race", ...words]);
  expect([status, out]).toEqual([2, ""]);
  expect(err).toMatch(message);
  expect(err).not.toContain("hunter2");
});

test.each<[string, unknown, unknown, string]>([
  ["no URL", undefined, { count: 2 }, "the registry is undefined, it must be a URL, or a list of"],
  ["no URLs", [], { count: 2 }, "the registry is [], it must be a URL, or a list of 1"],
  ["numbers", ["redis://a", 5], { count: 2 }, "the registry is 5, it must be a URL"],
  ["no options", "redis://a", undefined, "count is undefined, it must be 1 to 16"],
  ["nobody", "redis://a", { count: 0 }, "count is 0, it must be 1 to 16"],
  ["fewer than nobody", "redis://a", { count: -1 }, "count is -1, it must be 1 to 16"],
  ["half of one", "redis://a", { count: 1.5 }, "count is 1.5, it must be 1 to 16"],
  ["a count in text", "redis://a", { count: "2" }, `count is "2", it must be 1 to 16`],
  [
    "too few",
    ["redis://a", "redis://b"],
    { count: 1 },
    "count is 1, it must be 2 to 16, at least one",
  ],
  ["a number as token", "https://a", { count: 2, token: 5 }, "token is 5, it must be text"],
  [
    "no time",
    "redis://a",
    { count: 2, timeoutMs: NaN },
    "timeoutMs is NaN, it must be a whole number of ms from 1 to",
  ],
])("openRaceStores refuses %s by name", async (_, urls, options, message) => {
  await expect(openRaceStores(urls as string, options as RaceStoresOptions)).rejects.toMatchObject({
    name: "AtlasError",
    code: "bad_request",
    message: expect.stringContaining(message),
  });
});

/** A Redis over HTTP, in front of a real one: single commands, as in Upstash's REST API. */
function restServer(line: RedisConnection): Server {
  return createServer((request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    let text = "";
    request.on("data", (chunk) => text += chunk);
    request.on("end", () => {
      if (request.headers.authorization !== "Bearer t0ken") {
        return answer(401, { error: "Unauthorized" });
      }
      const [command, ...args] = JSON.parse(text);
      line.send(command, args).then(
        (result) => answer(200, { result }),
        (error) => answer(400, { error: messageOf(error) }),
      );
    });
  });
}
