/**
 * Covers test/upstash/server.ts: the HTTP Redis of the tests, compared with Upstash's own client
 * and protocol.
 */
import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, fresh } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { atRandom, type Fault, inOrder } from "./faults.ts";
import { startUpstash, type TestUpstash } from "./server.ts";

warnIfRedisMissing("the HTTP Redis of the tests");

describe("the HTTP Redis", unless(redisMissing), () => {
  let redis: TestRedis;
  let server: TestUpstash;

  beforeAll(async () => {
    redis = await startRedis();
    server = await startUpstash(redis.port);
  });
  afterAll(async () => {
    await server?.close();
    await redis?.close();
  });

  function client(over: object = {}): Redis {
    const { url, token } = server;
    return new Redis({ url, token, retry: { retries: 0 }, enableTelemetry: false, ...over });
  }

  async function post(
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: unknown; headers: Headers }> {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${server.token}`, ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: response.status, body: await response.json(), headers: response.headers };
  }

  const BASE64 = { "upstash-encoding": "base64" };

  describe("for Upstash's own client", () => {
    test("tells values, numbers, hashes and nil apart", async () => {
      for (const responseEncoding of ["base64", false]) {
        const upstash = client({ responseEncoding });
        const key = fresh("k");
        expect(await upstash.set(key, { a: [1, "é😀"] })).toBe("OK");
        expect(await upstash.get(key)).toEqual({ a: [1, "é😀"] });
        expect(await upstash.get(fresh("none"))).toBeNull();
        expect(await upstash.hset(fresh("h"), { a: 1, b: "OK" })).toBe(2);
        expect(await upstash.incrby(fresh("n"), 41)).toBe(41);
        expect(await upstash.ping()).toBe("PONG");
      }
    });

    test("returns the text OK as text, not as a status", async () => {
      const upstash = client();
      const key = fresh("k");
      await upstash.set(key, "OK");
      expect(await upstash.get(key)).toBe("OK");
      const { body } = await post("/", ["GET", key], BASE64);
      expect(body).toEqual({ result: btoa("OK") });
    });

    test("returns lists within lists from scripts", async () => {
      const script = "return { 1, 'two', false, { KEYS[1], { ARGV[1], 5 } } }";
      for (const responseEncoding of ["base64", false]) {
        const upstash = client({ responseEncoding });
        expect(await upstash.eval(script, ["k"], ["é"])).toEqual([1, "two", null, ["k", ["é", 5]]]);
        const digest = await upstash.scriptLoad(script);
        expect(await upstash.evalsha(digest, ["k"], ["x"]))
          .toEqual([1, "two", null, ["k", ["x", 5]]]);
      }
    });

    test("answers each command of a pipeline, and a transaction as one", async () => {
      const upstash = client();
      const key = fresh("k");
      const batch = upstash.pipeline().set(key, "a").incr(key).get(key);
      const answers = await batch.exec({ keepErrors: true });
      expect(answers.map(({ result }) => result)).toEqual(["OK", undefined, "a"]);
      expect(answers[1]?.error).toContain("ERR value is not an integer");
      expect(await upstash.multi().set(key, 1).incr(key).exec()).toEqual(["OK", 2]);
    });

    test("delivers the messages of channels", async () => {
      const upstash = client({ automaticDeserialization: false });
      const channel = fresh("c");
      const heard: unknown[] = [];
      const subscription = upstash.subscribe<string>(channel);
      subscription.on("message", ({ message }) => heard.push(message));
      await eventually(async () => await upstash.publish(channel, "a,b") === 1 || undefined);
      await eventually(async () => heard.length > 0 || undefined);
      expect(heard).toEqual(["a,b"]);
      await subscription.unsubscribe();
    });
  });

  describe("in its protocol", () => {
    test("answers an error of Redis with 400, or in its place in a pipeline, and never encodes it", async () => {
      const { status, body } = await post("/", ["INCR"], BASE64);
      expect(status).toBe(400);
      expect(body).toEqual({ error: expect.stringMatching(/^ERR wrong number of arguments/) });
      const listed = await post("/pipeline", [["INCR"], ["PING"]], BASE64);
      expect(listed).toMatchObject({
        status: 200,
        body: [{ error: expect.stringContaining("wrong number") }, { result: btoa("PONG") }],
      });
    });

    test("encodes texts in base64 at any depth, but not the status OK, numbers and nil", async () => {
      const key = fresh("k");
      const script = "return { 'a', 1, false, { 'b', redis.status_reply('OK') } }";
      const { body } = await post("/pipeline", [
        ["SET", key, "v"],
        ["INCR", fresh("n")],
        ["GET", fresh("none")],
        ["EVAL", script, 0],
      ], BASE64);
      const [a, b, ok] = ["a", "b", "OK"].map(btoa);
      expect(body).toEqual([
        { result: "OK" },
        { result: 1 },
        { result: null },
        { result: [a, 1, null, [b, ok]] },
      ]);
    });

    test("refuses a transaction as a whole if a command can't be queued", async () => {
      const key = fresh("k");
      const { status, body } = await post("/multi-exec", [["SET", key, "1"], ["NONSENSE"]]);
      expect(status).toBe(400);
      expect(body).toEqual({ error: expect.stringMatching(/^EXECABORT/) });
      expect(await client().get(key)).toBeNull();
    });

    test("returns hashes as flat lists, as RESP2 does", async () => {
      const key = fresh("h");
      await post("/", ["HSET", key, "a", 1, "b", 2]);
      expect((await post("/", ["HGETALL", key])).body).toEqual({ result: ["a", "1", "b", "2"] });
    });

    test("refuses a wrong token, another method and a body that is no command", async () => {
      const wrong = await post("/", ["PING"], { authorization: "Bearer nobody" });
      expect(wrong.status).toBe(401);
      expect(wrong.body).toEqual({ error: expect.stringContaining("auth token") });
      const pipelined = await post("/pipeline", [["PING"]], { authorization: "" });
      expect(pipelined.status).toBe(401);
      const response = await fetch(server.url, { method: "DELETE" });
      expect(response.status).toBe(405);
      await response.body?.cancel();
      for (const body of ["{", "[]", "{}", '[["PING"]]', "[null]"]) {
        expect((await post("/", body)).status).toBe(400);
      }
      for (const body of ["[]", '["PING"]', '[["PING"],[]]']) {
        expect((await post("/pipeline", body)).status).toBe(400);
        expect((await post("/multi-exec", body)).status).toBe(400);
      }
    });

    test("returns the sync token that it was sent", async () => {
      const { headers } = await post("/", ["PING"], { "upstash-sync-token": "s:7" });
      expect(headers.get("upstash-sync-token")).toBe("s:7");
    });
  });

  describe("with faults", () => {
    async function countAfter(fault: Fault): Promise<[unknown, string]> {
      const key = fresh("n");
      // Deno's fetch resends a request that is cut off on a reused connection: the repetition gets
      // the same fault.
      server.faults = () => fault;
      const answer = await post("/", ["INCR", key]).then(
        ({ status }) => String(status),
        () => "cut",
      );
      server.faults = () => null;
      return [Number(await client().get(key)), answer];
    }

    test("applies each fault as documented", async () => {
      expect(await countAfter("reset")).toEqual([0, "cut"]);
      const [times, answer] = await countAfter("lost");
      expect([1, 2]).toContain(times);
      expect(answer).toBe("cut");
      expect(await countAfter("refused")).toEqual([0, "500"]);
      expect(await countAfter("failed")).toEqual([1, "cut"]);
      expect(await countAfter("truncated")).toEqual([1, "cut"]);
      expect(await countAfter("broken")).toEqual([1, "cut"]);
      expect(await countAfter("twice")).toEqual([2, "200"]);
      expect(await countAfter("slow")).toEqual([1, "200"]);
    });

    test("runs a late copy some requests later", async () => {
      const key = fresh("n");
      server.faults = inOrder("late");
      await post("/", ["INCR", key]);
      const counts = [];
      for (let i = 0; i < 4; i++) counts.push(Number(await client().get(key)));
      expect(counts).toEqual([1, 1, 2, 2]);
    });

    test("sends a hanging answer when it is released", async () => {
      const key = fresh("n");
      server.faults = inOrder("hung");
      const answer = post("/", ["INCR", key]);
      await eventually(async () => server.hanging === 1 || undefined);
      expect(Number(await client().get(key))).toBe(1);
      server.release();
      expect((await answer).body).toEqual({ result: 1 });
    });

    test("draws the same faults for the same seed, in the given share", () => {
      const draw = (seed: number) => {
        const faults = atRandom(seed, 0.25);
        return Array.from({ length: 4_000 }, faults);
      };
      expect(draw(7)).toEqual(draw(7));
      expect(draw(7)).not.toEqual(draw(8));
      const share = draw(7).filter((fault) => fault !== null).length / 4_000;
      expect(share).toBeGreaterThan(0.2);
      expect(share).toBeLessThan(0.3);
    });
  });
});
