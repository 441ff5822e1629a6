/**
 * Options that a client refuses: the same as a node refuses, with the same messages, before
 * anything is sent.
 */
import { expect, test } from "vitest";
import { connect, type ConnectOptions } from "../../adapters/client/client.ts";
import type { Atlas, Balancer } from "../../mod.ts";
import { calc, CallGate } from "../lambda/market.ts";
import { counter } from "./counter.ts";

/** The error that `ask` throws or rejects with. */
async function failure(ask: () => unknown): Promise<unknown> {
  try {
    await ask();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message };
  }
  return "nothing was refused";
}

const NO_OPTIONS = [null, 5, "x", []];
const TIMES = [{ timeoutMs: 0 }, { timeoutMs: "5" }, { timeoutMs: null }];

/** Methods that take options, each with options that it refuses. */
const WAYS: [string, (atlas: Atlas, options: never) => unknown, readonly unknown[]][] = [
  ["resource", (atlas, options) => {
    const stub = atlas.resource("t", "a", options) as { m(): Promise<unknown> };
    return stub.m();
  }, [{ timeout: 1 }, { signal: 1 }, ...TIMES]],
  ["call", (atlas, options) => atlas.call("t", "a", "m", [], options), [
    { timeout: 1 },
    { traceparent: "x" },
    { callerRegion: "" },
    ...TIMES,
  ]],
  ["lookup", (atlas, options) => atlas.lookup("t", "a", options), [
    { requre: "confirmed" },
    { require: "cached" },
    { require: true },
    ...TIMES,
  ]],
  ["resources", (atlas, options) => atlas.resources("rrp:", options), [
    { lmit: 1 },
    { limit: 0 },
    { limit: "1" },
    { limit: 1_001 },
    { limit: null },
    { cursor: 5 },
  ]],
  ["count", (atlas, options) => atlas.count("rrp:", options), [{ timeout: 1 }, ...TIMES]],
  ["move", (atlas, options) => (atlas as MovingAtlas).move("t", "a", "r", options), [
    { timeout: 1 },
    ...TIMES,
  ]],
  ["discover", (atlas, options) => atlas.discover("calc", options), [
    { capcity: 1 },
    { capacity: 0 },
    { capacity: "2" },
    { version: "one" },
    { version: 1 },
    { prefer: "far" },
    { waitFor: "none" },
    { noWait: 1 },
    { bias: "price" },
    { callTimeoutMs: 0 },
    { signal: "x" },
    ...TIMES,
  ]],
  ["request", (atlas, options) => atlas.request("calc", "pi", [], options), [
    { verson: "^1" },
    { version: "one" },
    { version: 1 },
    { signal: 1 },
    ...TIMES,
  ]],
  [
    "$plb.call",
    (atlas, options) => overProxy(atlas, ($plb) => $plb.call("pi", [1], options)),
    [{ tmeoutMs: 1 }, { noWait: "yes" }, ...TIMES],
  ],
  ["arguments", (atlas, args) => atlas.call("t", "a", "m", args), NO_OPTIONS.slice(0, -1)],
  [
    "arguments of $plb.call",
    (atlas, args) => overProxy(atlas, ($plb) => $plb.call("pi", args)),
    NO_OPTIONS.slice(0, -1),
  ],
];

/** Makes a call through a new proxy, and closes the proxy. */
async function overProxy(atlas: Atlas, call: (plb: Balancer) => unknown): Promise<unknown> {
  const { $plb } = await atlas.discover("calc");
  try {
    return await call($plb);
  } finally {
    await $plb.close();
  }
}

type MovingAtlas = Atlas & {
  move(type: string, id: string, region: string, options: never): Promise<unknown>;
};

test.each(WAYS)(
  "%s: an invalid option is refused with a node's message",
  async (name, ask, wrong) => {
    const { client, node, seller } = await counter();
    seller.publish(calc(new CallGate()), { capacity: 8 });
    const atlas = client() as unknown as Atlas;
    for (const options of name.startsWith("arguments") ? wrong : [...NO_OPTIONS, ...wrong]) {
      const refused = await failure(() => ask(node as unknown as Atlas, options as never));
      expect(await failure(() => ask(atlas, options as never)), JSON.stringify(options))
        .toEqual(refused);
      expect(refused).toMatchObject({ code: expect.stringMatching(/^bad_request$|^invalid_rrp$/) });
    }
  },
);

test("nothing is sent with an invalid option", async () => {
  let asked = 0;
  const fetch = () => {
    asked++;
    return Promise.reject(new Error("it was asked"));
  };
  const atlas = connect("http://atlas.test", { fetch }) as unknown as Atlas;
  for (const [name, ask, wrong] of WAYS) {
    if (name.includes("$plb")) continue;
    for (const options of wrong) {
      expect(await failure(() => ask(atlas, options as never))).toMatchObject({
        code: expect.stringMatching(/^bad_request$|^invalid_rrp$/),
      });
    }
  }
  expect(asked).toBe(0);
});

test.each([
  [null, "options is null, it must be an object"],
  ["x", 'options is "x", it must be an object'],
  [{ tokn: "x" }, 'there is no option "tokn"; there are: fetch, region, timeoutMs, token'],
  [{ timeoutMs: "5" }, 'timeoutMs is "5", it must be 1 to 300000'],
  [{ timeoutMs: 0 }, "timeoutMs is 0, it must be 1 to 300000"],
  [{ timeoutMs: 300_001 }, "timeoutMs is 300001, it must be 1 to 300000"],
  [{ fetch: "x" }, 'fetch is "x", it must be a function'],
])("connect(url, %j) is refused", async (options, message) => {
  const refused = await failure(() => connect("http://x", options as ConnectOptions));
  expect(refused).toEqual({ code: "bad_request", message });
});

test.each([5, "", "bad\ntoken", "bad token", "tokén", {}, null])(
  "the token %j is refused, and not shown",
  async (token) => {
    expect(await failure(() => connect("http://x", { token: token as string }))).toEqual({
      code: "bad_request",
      message: "token must be text of printable ASCII characters without white space",
    });
  },
);

const URLS = "it must be an http:// or https:// URL of a node, without user name, password or " +
  "query, or several of these";

test.each([
  [5, "5"],
  [null, "null"],
  [undefined, "undefined"],
  [[], "[]"],
  [{}, "{}"],
  [[["http://x"]], '["http://x"]'],
  [["http://x", 5], "5"],
  ["nonsense", '"nonsense"'],
  ["", '""'],
  ["ftp://x", '"ftp://x"'],
  ["http://x?query=1", '"http://x?query=1"'],
  ["http://me:secret@x", '"http://***@x"'],
  ["http://:secret@x", '"http://***@x"'],
  [new URL("http://me:secret@x/a"), '"http://***@x/a"'],
])("connect(%j) is refused, without its secrets in the error", async (url, shown) => {
  expect(await failure(() => connect(url as string))).toEqual({
    code: "bad_request",
    message: `url is ${shown}, ${URLS}`,
  });
});

test("URLs may be objects", async () => {
  const asked: string[] = [];
  const fetch = (url: string) => {
    asked.push(url);
    return Promise.resolve(Response.json({ nodes: [] }));
  };
  for (const url of [new URL("http://a/b/"), [new URL("http://a/b"), "http://c"]]) {
    expect(await connect(url, { fetch }).members()).toEqual([]);
  }
  expect(asked).toEqual(["http://a/b/v1/nodes", "http://a/b/v1/nodes"]);
});

test.each([
  [null, "options is null, it must be an object"],
  [{ onevent: () => {} }, /^there is no option "onevent"; there are: .*onEvent/],
  [{ after: -1 }, "after is -1, it must be an event's number, 0 or more"],
  [{ after: "1" }, 'after is "1", it must be an event\'s number, 0 or more'],
  [{ onEvent: 5 }, "onEvent is 5, it must be a function"],
  [{ onHello: "x" }, 'onHello is "x", it must be a function'],
  [{ onClose: {} }, "onClose is {}, it must be a function"],
  [{ signal: 1 }, "signal is 1, it must be an AbortSignal"],
])("a socket with %j is refused", async (options, message) => {
  const atlas = connect("http://127.0.0.1:9");
  expect(await failure(() => atlas.connect("t", "a", options as never))).toEqual({
    code: "bad_request",
    message: typeof message === "string" ? message : expect.stringMatching(message),
  });
});
