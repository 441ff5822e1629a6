/**
 * `atlas race` against a real Redis, and against one by HTTP: what it counts, what it
 * leaves behind (nothing), and what it refuses.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../adapters/cli/run.ts";
import { parseRedisUrl } from "../../adapters/store/redis_client.ts";
import { RedisConnection } from "../../adapters/store/redis_connection.ts";
import { messageOf } from "../../src/errors.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";

/** Runs a command; gives its status and what it wrote. */
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

describe.skipIf(redisMissing !== null)("at a Redis", () => {
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
  // Whatever a test does, none of its keys stay.
  afterEach(async () => expect(await line.send("DBSIZE", [])).toBe(0));

  test("it counts both rules, for machines", async () => {
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

  test("nodes that stall own names twice by the published rule alone, and people are told", async () => {
    const words = ["race", "--stall", "40", "--trials", "15"];
    const { status, out, err } = await atlas(words, { ATLAS_REGISTRY_URL: redis.url });
    expect([status, err]).toEqual([0, ""]);
    expect(out).toMatch(/^STEPS +P50 MS +P99 MS +MAX MS\nround trip +\d/);
    expect(out).toMatch(/\nSET, wait one round trip, GET +15 +[1-9]\d* +\d+\.\d %\n/);
    expect(out).toMatch(/\ncompare-and-set +15 +0 +0\.0 %\n/);
    expect(out).toMatch(/held up for up to 40 ms, compare-and-set in none: that is why/);
  });

  test("by HTTP, with a token", async () => {
    const words = ["race", "--registry", restUrl, "--trials", "10", "--json"];
    const { status, out, err } = await atlas(words, { ATLAS_REGISTRY_TOKEN: "t0ken" });
    expect([status, err]).toEqual([0, ""]);
    expect(JSON.parse(out)).toMatchObject({ compareAndSet: { trials: 10, doubles: 0 } });
  });

  test("a token that is refused ends it with exit 1, and is not told", async () => {
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

/** Redis by HTTP, as Upstash's REST API takes single commands, before a real one. */
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
