/** The path of a call as callers over HTTP see it, and what the resource sees of its caller. */
import { afterEach, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { createHttpApp } from "../../adapters/http/app.ts";
import { errorResponse } from "../../adapters/http_wire/errors.ts";
import { pathHeaders, readPath } from "../../adapters/http_wire/path.ts";
import { AtlasError, type AtlasNode } from "../../mod.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { log, until } from "../core/cluster.ts";
import { Regions } from "../core/regions.ts";
import { ask, ENDLESS } from "./serving.ts";

const TRACE = `00-${"0af7651916cd43dd8448eb211c80319c"}-${"b7ad6b7169203331"}-01`;

/** Nodes that close by a fake clock. */
const still: [FakeClock, Pick<AtlasNode, "close">][] = [];
afterEach(async () => {
  for (const [clock, node] of still.splice(0)) await clock.run(node.close({ drainMs: 0 }));
});

/**
 * A node of one region, and an owner in another that only a gateway reaches; on a fake clock if
 * deadlines must not pass by themselves.
 */
async function divided(clock?: FakeClock) {
  const made = new Regions();
  const times = clock && { clock, lease: ENDLESS };
  const owner = await made.node("eu-west-1/owner", times);
  const gateway = await made.node("eu-west-1/gw", times);
  const gateways = { "eu-west-1": [made.address("eu-west-1/gw")] };
  const node = await made.node("us-east-1/a", { gateways, ...times });
  if (clock) { for (const each of [owner, gateway, node]) still.push([clock, each]); }
  made.setLink("us-east-1/a", "eu-west-1/owner", false);
  await owner.call("counters", "eu-west-1~x", "echo", [1]);
  const http = createHttpApp({ node: () => node as never });
  const client = (options = {}) =>
    connect("http://atlas.test", {
      ...options,
      fetch: (url, init) => http.fetch(new Request(url, { ...init, redirect: "follow" })),
    });
  return { http, client };
}

test("an answer names the path and the owner's region; the body stays as it was", async () => {
  const { http } = await divided();
  const answer = await ask(http, "POST", "/v1/resources/counters/eu-west-1~x/echo", {
    body: "[7]",
    headers: { "content-type": "application/json" },
  });
  expect(answer.headers.get("atlas-path")).toBe("us-east-1/a, eu-west-1/gw, eu-west-1/owner");
  expect(answer.headers.get("atlas-region")).toBe("eu-west-1");
  expect(Object.keys(answer.body)).toEqual(["result", "rrp", "epoch"]);
});

test("answers and errors have the region for which the call is made", async () => {
  const { http } = await divided();
  const callerRegionOf = async (method: string, region?: string, path = "counters/eu-west-1~x") => {
    const headers = { ...region !== undefined && { "atlas-caller-region": region } };
    const { headers: answerHeaders } = await ask(http, "POST", `/v1/resources/${path}/${method}`, {
      headers,
      body: "[1]",
    });
    return answerHeaders.get("atlas-caller-region");
  };
  expect(await callerRegionOf("echo", "eu-west-1")).toBe("eu-west-1");
  expect(await callerRegionOf("echo")).toBe("us-east-1");
  expect(await callerRegionOf("addThenThrow", "eu-west-1")).toBe("eu-west-1");
  // A region that no node here knows.
  expect(await callerRegionOf("echo", "ap-southeast-1")).toBe("us-east-1");
  expect(await callerRegionOf("nope")).toBe("us-east-1");
  expect(await callerRegionOf("echo", undefined, "nothings/x")).toBe("us-east-1");
  // A region with an invalid name, a request that is no call, and a node that has not started.
  expect(await callerRegionOf("echo", "a b")).toBe(null);
  const lookup = await ask(http, "GET", "/v1/resources/counters/eu-west-1~x");
  expect(lookup.headers.get("atlas-caller-region")).toBe(null);
  const early = await ask(createHttpApp({ node: () => null }), "POST", "/v1/resources/a/b/c");
  expect([early.status, early.headers.get("atlas-caller-region")]).toEqual([503, null]);
});

test("the client gives the path; its region and trace reach the owner", async () => {
  const { client } = await divided();
  const options = { traceparent: TRACE };
  const answer = await client({ region: "eu-west-1" }).call(
    "counters",
    "eu-west-1~x",
    "who",
    [],
    options,
  );
  expect(answer.path).toEqual(["us-east-1/a", "eu-west-1/gw", "eu-west-1/owner"]);
  expect(answer.result).toEqual({
    caller: { region: "eu-west-1", node: "a" },
    traceparent: expect.stringContaining(TRACE.slice(0, 36)),
  });
  const elsewhere = client({ region: "nowhere" }).call("counters", "eu-west-1~x", "who", []);
  expect((await elsewhere).result).toMatchObject({ caller: { region: "us-east-1" } });
  const plain = await client().call("counters", "eu-west-1~x", "who", []);
  expect(plain.result).toMatchObject({ caller: { region: "us-east-1" }, traceparent: null });
});

test.each([
  ["nope", [], "not_found", "us-east-1/a, eu-west-1/gw, eu-west-1/owner"],
  ["addThenThrow", [1], "app", "us-east-1/a, eu-west-1/gw, eu-west-1/owner"],
])("%s: an error names its path and where it failed, as an answer does", async (...given) => {
  const [method, args, code, path] = given;
  const { http, client } = await divided();
  const answer = await ask(http, "POST", `/v1/resources/counters/eu-west-1~x/${method}`, {
    body: JSON.stringify(args),
  });
  expect(answer.body.error.code).toBe(code);
  expect(Object.keys(answer.body.error)).toHaveLength(4);
  expect(answer.headers.get("atlas-path")).toBe(path);
  expect(answer.headers.get("atlas-region")).toBe("eu-west-1");
  const call = client().call("counters", "eu-west-1~x", method, args);
  await expect(call).rejects.toMatchObject({ code, path: path.split(", ") });
});

test("a timeout's path has the node that it waited for, and a local failure's path only this node", async () => {
  const clock = fakeClock();
  const { http, client } = await divided(clock);
  const late = client().call("counters", "eu-west-1~x", "wait", ["long"], { timeoutMs: 60_000 });
  late.catch(() => {});
  await until(() => log.includes("waiting long"), "it runs");
  await clock.advance(60_100);
  const [self, gateway] = ["us-east-1/a", "eu-west-1/gw"];
  const timeout = await late.catch((reason) => reason);
  expect(timeout).toMatchObject({ code: "timeout" });
  // The gateway's path has one more node; either of the two may notice the deadline first.
  expect([[self, gateway], [self, gateway, "eu-west-1/owner"]]).toContainEqual(timeout.path);
  const here = client().call("counters", "us-east-1~x", "addThenThrow", [1]);
  await expect(here).rejects.toMatchObject({ code: "app", path: [self] });
  const unknown = await ask(http, "POST", "/v1/resources/nothings/us-east-1~x/m");
  expect(unknown.headers.get("atlas-path")).toBe(self);
  const bad = await ask(http, "POST", "/v1/resources/counters/x/echo", { body: "{}" });
  expect([bad.status, bad.headers.get("atlas-path")]).toEqual([400, null]);
});

test("errors of user code can't forge a path", () => {
  const error = new AtlasError("app", "no", { path: ["us/a\r\nset-cookie: x"] });
  expect(errorResponse(error).headers.get("atlas-path")).toBe(null);
  const odd = Object.assign(new AtlasError("app", "no"), { path: "us/a" as never });
  expect(errorResponse(odd).headers.get("atlas-path")).toBe(null);
});

test("an invalid traceparent is ignored, an invalid region is refused", async () => {
  const { http, client } = await divided();
  const path = "/v1/resources/counters/eu-west-1~x/who";
  const traced = await ask(http, "POST", path, { headers: { traceparent: "00-zz" } });
  expect(traced.body.result.traceparent).toBe(null);
  const placed = await ask(http, "POST", path, { headers: { "atlas-caller-region": "a b" } });
  expect(placed).toMatchObject({ status: 400, body: { error: { code: "invalid_rrp" } } });
  const call = client().call("counters", "x", "who", [], { traceparent: "00-zz" });
  await expect(call).rejects.toMatchObject({ code: "bad_request" });
  expect(() => client({ region: "a b" })).toThrow(/region/);
});

test("names with commas survive the header", () => {
  const path = ["us/a,b", "eu/c"];
  const headers = new Headers(pathHeaders(path, "rrp:eu/c/t/x"));
  expect(headers.get("atlas-path")).toBe("us/a%2Cb, eu/c");
  expect(readPath(headers)).toEqual(path);
  expect(readPath(new Headers())).toEqual([]);
});
