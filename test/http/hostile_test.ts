/**
 * Hostile requests, state and answers: each is refused with one clear error, in linear time, and
 * later requests are served.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { bearerCheck } from "../../adapters/http/auth.ts";
import { refusalOf } from "../../adapters/http/origin_rules.ts";
import { provenFormer, socketRoute } from "../../adapters/http/sockets.ts";
import { isMsgpack } from "../../adapters/http_wire/body.ts";
import {
  callerRegionOf,
  callOptions,
  faultOfHost,
  isHeaderText,
  moduleOf,
  pageOf,
  queryOf,
  rawPath,
  readCursor,
  resourceOf,
} from "../../adapters/http_wire/inputs.ts";
import { readPath } from "../../adapters/http_wire/path.ts";
import { memoryStore } from "../../adapters/store/memory.ts";
import { fieldOf } from "../../adapters/store/redis/replies.ts";
import { redirectionOf } from "../../adapters/store/redis/slots.ts";
import { systemContext } from "../../adapters/system/async_context.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { inProcessTransport } from "../../adapters/transport/in_process.ts";
import { checkAddress, linkAddress } from "../../adapters/transport/link_address.ts";
import { type App, defineApp } from "../../src/api/app.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import { Resource } from "../../src/api/resource.ts";
import { AtlasError } from "../../src/errors.ts";
import { MAX_ANSWER_BYTES, MAX_ARGUMENTS } from "../../src/limits.ts";
import { encodeValue, pack } from "../../src/model/value.ts";
import { createNode } from "../../src/node/node.ts";
import { calc, CallGate } from "../lambda/market.ts";
import { counter } from "./counter.ts";
import { type Serving, serving } from "./serving.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

const MSGPACK = { "content-type": "application/msgpack" };
const many = Array.from({ length: MAX_ARGUMENTS + 1 }, () => 0);
const tooMany = {
  status: 400,
  body: { error: { code: "bad_request", message: expect.stringContaining("1025 arguments") } },
};

describe("long text in a request's head is read in linear time", () => {
  const header = (name: string) => (text: string) => new Headers({ [name]: text });
  const at = (path: string) => new Request(`http://x.test/${path}`);
  const node = {} as AtlasNode;
  const entrance = socketRoute(() => node, "token");
  const upgrade = () => new Response();
  const ANYWHERE = { knowsRegion: () => true };
  const TOKENLESS = { origins: [], url: "http://x.test", hasToken: false, hasSecret: false };
  const NOBODY = "00000000-0000-8000-8000-000000000000";
  const READERS: Record<string, (text: string) => unknown> = {
    "a token": (text) => bearerCheck("token")(text),
    "a token with its scheme": (text) => bearerCheck("token")(`Bearer ${text}\n`),
    "a token with its scheme, in capitals": (text) => bearerCheck("token")(`BEARER${text}`),
    "a token as a subprotocol": (text) => {
      const protocol = `atlas.token.%20${text}%0A`;
      return entrance(
        new Request("http://x.test/v1/connect/a/b", {
          headers: { "sec-websocket-protocol": protocol },
        }),
        upgrade,
      );
    },
    "a media type": (text) => isMsgpack(text),
    "a path": (text) => rawPath(at(text)),
    "a resource's path": (text) => resourceOf(rawPath(at(`v1/resources/t/${text}/m`))),
    "a module's path": (text) => moduleOf(rawPath(at(`v1/modules/${text}/m`))),
    "a query": (text) => queryOf(at(`?${text}`), ["limit"]),
    "a page": (text) => pageOf(new URLSearchParams({ prefix: text, limit: text })),
    "a cursor": readCursor,
    "a host": (text) => faultOfHost(header("host")(text)),
    "a host's name": (text) => refusalOf("/", header("host")(text), TOKENLESS),
    "an origin": (text) => refusalOf("/", header("origin")(`http://${text}`), TOKENLESS),
    "a foreign page's authorization": (text) => {
      const headers = header("authorization")(text);
      headers.set("origin", "https://evil.example");
      return refusalOf("/", headers, TOKENLESS);
    },
    "a connection's id": (text) => provenFormer(text, []),
    "a connection's secret": (text) => provenFormer(NOBODY, [`atlas.resume.${text}`]),
    "an idempotency key": (text) => callOptions(header("idempotency-key")(text), undefined),
    "a header's text": isHeaderText,
    "a deadline": (text) => callOptions(header("atlas-timeout-ms")(text), undefined),
    "a trace": (text) => callOptions(header("traceparent")(text), undefined),
    "a region": (text) => callerRegionOf(header("atlas-caller-region")(text), ANYWHERE),
    "an answer's path": (text) => readPath(header("atlas-path")(text)),
    "a link's address": (text) => linkAddress(`http://x.test/${text}`),
    "a peer's address": (text) => checkAddress(`ws://x.test/${text}`, { secured: true }),
    "a redirection of Redis": (text) =>
      redirectionOf(new Error(`MOVED 1 ${text}:1`), { host: "x", port: 1 }),
    "what Redis says of itself": (text) => fieldOf(`role:${text}\r\r\nrole:`.repeat(2), "role"),
  };
  const PIECES = [
    " ",
    "=",
    "/",
    "a",
    "%20",
    "%2F",
    ",",
    ":",
    "0",
    ".",
    "&a=",
    "\\",
    "application/",
  ];
  for (const [name, read] of Object.entries(READERS)) {
    test(name, () => {
      for (const length of [1e3, 1e4, 1e5, 1e6]) {
        for (const piece of PIECES) {
          try {
            read(piece.repeat(length / piece.length));
          } catch (error) {
            // Text that this runtime doesn't accept as a header never reaches the node.
            expect(error instanceof AtlasError || error instanceof TypeError).toBe(true);
            if (error instanceof AtlasError) expect(error.message.length).toBeLessThan(2_000);
          }
        }
      }
    });
  }
});

test("the token is the text after its scheme and spaces, unchanged", () => {
  const isRight = bearerCheck("to ken");
  for (const text of ["Bearer to ken", "bearer    to ken", "BEARER to ken"]) {
    expect(isRight(text)).toBe(true);
  }
  for (
    const text of [
      null,
      "",
      "Bearer",
      "Bearer ",
      "Bearerto ken",
      "Bearer\tto ken",
      "Bearer to ken ",
    ]
  ) expect(isRight(text)).toBe(false);
});

test("a guess that is not the token to its last character is wrong, whatever came before it", () => {
  for (const token of ["t", "to ken", "tökén", "x".repeat(255), "x".repeat(256), "ü".repeat(300)]) {
    const isRight = bearerCheck(token);
    const wrong = [`${token}x`, `${token}\0`, `${token}ü`, token.slice(0, -1), `x${token}`, "\0"];
    for (
      const guess of [...wrong, token.repeat(2), `${token.slice(0, -1)}\ud800`, "x".repeat(1e4)]
    ) {
      expect(isRight(`Bearer ${token}`)).toBe(true);
      expect(isRight(`Bearer ${guess}`)).toBe(false);
    }
  }
});

describe("more arguments than a call may have are bad_request, and nothing runs", () => {
  const path = "/v1/resources/probes/many/echo";

  test("in a call over HTTP, as JSON and as MessagePack", async () => {
    const json = await served.ask("POST", path, { body: JSON.stringify(many) });
    expect(json).toMatchObject(tooMany);
    expect(json.body.error.maybeExecuted).toBe(false);
    const body = encodeValue(many, "args");
    expect(await served.ask("POST", path, { body, headers: MSGPACK })).toMatchObject(tooMany);
    const fits = JSON.stringify(many.slice(1));
    expect((await served.ask("POST", path, { body: fits })).body.result).toHaveLength(1_024);
  });

  test("also for a million of them, which a runtime's stack can't hold", async () => {
    for (const name of ["echo", "nothing"]) {
      const body = `[${"0,".repeat(500_000)}0]`;
      expect(await served.ask("POST", `/v1/resources/probes/many/${name}`, { body }))
        .toMatchObject({ status: 400, body: { error: { code: "bad_request" } } });
    }
  });

  test("in a call that a program makes", async () => {
    const stub = served.node.resource("probes", "many") as unknown as {
      echo(...args: unknown[]): Promise<unknown>;
    };
    for (
      const called of [
        () => stub.echo(...many),
        () => served.node.call("probes", "many", "echo", many),
        () => served.client().call("probes", "many", "echo", many),
      ]
    ) await expect(called()).rejects.toMatchObject({ code: "bad_request" });
  });

  test("in a call of a module", async () => {
    const { ask, node, seller } = await counter();
    seller.publish(calc(new CallGate()), { capacity: 1 });
    const body = JSON.stringify(many);
    expect(await ask("POST", "/v1/modules/calc/pi", { body })).toMatchObject(tooMany);
    const bought = await node.discover("calc", { capacity: 1 });
    const pi = bought.pi as (...args: number[]) => Promise<unknown>;
    await expect(pi(...many)).rejects.toMatchObject({ code: "bad_request" });
    await bought.$plb.close();
    expect((await ask("POST", "/v1/modules/calc/pi", { body: "[3]" })).body.result).toBe("3.141");
  });
});

describe("a key named __proto__", () => {
  const refused = {
    status: 400,
    body: { error: { code: "bad_request", message: expect.stringContaining("__proto__") } },
  };
  const path = "/v1/resources/probes/proto/echo";
  const inMsgpack = new Uint8Array([
    ...[0x91, 0x81, 0xa9],
    ...new TextEncoder().encode("__proto__"),
    ...[0x81, 0xa1, 0x61, 1],
  ]);

  test("is refused in JSON and in MessagePack alike", async () => {
    for (const body of ['[{"__proto__":{"a":1}}]', '[{"b":[{"\\u005f_proto__":1}]}]']) {
      expect(await served.ask("POST", path, { body })).toMatchObject(refused);
    }
    expect(await served.ask("POST", path, { body: inMsgpack, headers: MSGPACK }))
      .toMatchObject(refused);
  });

  test("constructor and prototype, and the name as a value, come back unchanged", async () => {
    const value = { constructor: 1, prototype: { constructor: null }, a: "__proto__" };
    const answer = await served.ask("POST", path, { body: JSON.stringify([value]) });
    expect(answer.body.result).toEqual(value);
    const { result } = await served.client().call("probes", "proto", "echo", [value]);
    expect(result).toStrictEqual(value);
  });
});

/** Reads a field that another program wrote. */
class Reader extends Resource {
  async read(key: string): Promise<unknown> {
    return await this.storage.get(key);
  }

  async list(): Promise<number> {
    return (await this.storage.list()).size;
  }

  async count(): Promise<number> {
    const count = ((await this.storage.get<number>("count")) ?? 0) + 1;
    await this.storage.put("count", count);
    return count;
  }

  say(): void {
    this.broadcast("hello");
  }
}

test("state that another program wrote is `unavailable` with its name, and other resources are served", async () => {
  const poison: Record<string, string> = {
    "not JSON": "{oops",
    empty: "",
    "deep JSON": "[".repeat(200_000) + "]".repeat(200_000),
    "a key __proto__": '{"__proto__":{"admin":true}}',
    "no base64": "~***",
    "100,000,000 items": "~" + btoa("\xdd\x05\xf5\xe1\x00"),
    "deep MessagePack": "~" + btoa("\x91".repeat(700_000)),
    "a record": "~" + btoa("\xd4\x72\x40\x91\xa1a\x01"),
    "a pattern": "~" + btoa("\xd4\x78\x00\x92\xa6(a+)+$\xa0"),
    "too long": JSON.stringify("x".repeat(2_000_000)),
  };
  const store = memoryStore();
  const { read, range } = store;
  store.read = async (key, fields) => {
    const found = await read.call(store, key, fields);
    return fields.map((field, i) =>
      /^(?:i:|n$|q:)/.test(field) && key === "readers/own"
        ? "{oops"
        : poison[field.slice("s:".length)] ?? found[i] ?? null
    );
  };
  store.range = async (key, asked) =>
    key === "readers/list" ? [["s:bad", "~***"]] : await range.call(store, key, asked);
  const app: App<{ readers: typeof Reader }> = defineApp({ resources: { readers: Reader } });
  const node = await createNode(app, {
    region: "test",
    node: "one",
    store,
    transport: inProcessTransport(),
    clock: systemClock,
    random: systemRandom,
    context: systemContext,
  });
  const unreadable = (what: string) => ({
    code: "unavailable",
    retryable: false,
    message: expect.stringMatching(`${what}.* can't be read, Atlas did not write it: `),
  });
  for (const key of Object.keys(poison)) {
    const read = node.resource("readers", "x").read(key);
    await expect(read).rejects.toMatchObject(unreadable(`the value of storage key "${key}"`));
    expect(await node.resource("readers", "x").count()).toBeGreaterThan(0);
  }
  await expect(node.resource("readers", "list").list()).rejects.toMatchObject(unreadable('"bad"'));
  await node.resource("readers", "own").count();
  const keyed = node.resource("readers", "own", { idempotencyKey: "k" }).count();
  await expect(keyed).rejects.toMatchObject(unreadable(""));
  await expect(node.resource("readers", "own").say()).rejects.toMatchObject(unreadable("number"));
  expect(await node.resource("readers", "other").count()).toBe(1);
  await node.close({ drainMs: 0 });
});

describe("an answer that is not a node's", () => {
  const answering = (body: BodyInit, headers: Record<string, string>) =>
    connect("http://atlas.test", {
      // Requests that may be repeated are repeated until then.
      timeoutMs: 200,
      fetch: () => Promise.resolve(new Response(body, { headers })),
    });
  const msgpack = { "content-type": "application/msgpack" };

  test("is an error, and gives only plain values", async () => {
    const error = new Uint8Array([0xd4, 0x65, 0, 0x92, 0xa5, ...new TextEncoder().encode("Error")]);
    for (const body of [error, new Uint8Array([0xdd, 5, 0xf5, 0xe1, 0]), new Uint8Array(0)]) {
      const call = answering(body, msgpack).call("t", "a", "m", []);
      await expect(call).rejects.toMatchObject({ code: "unavailable", maybeExecuted: true });
    }
    for (const body of ["{", "[".repeat(1e6), '{"nodes":[{"__proto__":1}]}']) {
      const members = answering(body, { "content-type": "application/json" }).members();
      await expect(members).rejects.toMatchObject({ code: "unavailable" });
    }
  });

  test("is read up to a limit, whatever length it announces", async () => {
    let pulled = 0;
    const endless = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => {
          pulled += 65_536;
          controller.enqueue(new Uint8Array(65_536));
        },
      });
    const wrongHeaders: Record<string, string> = {
      "content-length": "5",
      "content-encoding": "gzip",
    };
    for (const more of [{}, wrongHeaders]) {
      pulled = 0;
      const call = answering(endless(), { ...msgpack, ...more }).call("t", "a", "m", []);
      await expect(call).rejects.toMatchObject({ code: "payload_too_large", maybeExecuted: true });
      expect(pulled).toBeLessThan(2 * MAX_ANSWER_BYTES);
    }
  });

  test("has a message of bounded length", async () => {
    const message = "x".repeat(100_000);
    const fetch = () =>
      Promise.resolve(Response.json({ error: { code: "app", message } }, { status: 500 }));
    const error = await connect("http://atlas.test", { fetch }).call("t", "a", "m", [])
      .catch((thrown: AtlasError) => thrown) as AtlasError;
    expect([error.code, error.message.length]).toEqual(["app", 2_000]);
    expect(pack(error.message).length).toBeLessThan(2_100);
  });
});
