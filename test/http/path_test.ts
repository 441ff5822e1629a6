/** What callers over HTTP see of a call's way, and what the resource sees of its caller. */
import { expect, test } from "vitest";
import { connect } from "../../adapters/http/client.ts";
import { createHttpApp } from "../../adapters/http/app.ts";
import { pathHeaders, readPath } from "../../adapters/http/path.ts";
import { Regions } from "../core/regions.ts";
import { ask } from "./serving.ts";

const TRACE = `00-${"0af7651916cd43dd8448eb211c80319c"}-${"b7ad6b7169203331"}-01`;

/** A node of one region, and an owner in another that only a gateway reaches. */
async function divided() {
  const made = new Regions();
  const owner = await made.node("eu-west-1/owner");
  await made.node("eu-west-1/gw");
  const gateways = { "eu-west-1": [made.address("eu-west-1/gw")] };
  const node = await made.node("us-east-1/a", { gateways });
  made.road("us-east-1/a", "eu-west-1/owner", false);
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

test("the client tells the path; its region and trace reach the owner", async () => {
  const { client } = await divided();
  const options = { traceparent: TRACE };
  const answer = await client({ region: "sa-east-1" }).call(
    "counters",
    "eu-west-1~x",
    "who",
    [],
    options,
  );
  expect(answer.path).toEqual(["us-east-1/a", "eu-west-1/gw", "eu-west-1/owner"]);
  expect(answer.result).toEqual({
    caller: { region: "sa-east-1", node: "a" },
    traceparent: TRACE,
  });
  const plain = await client().call("counters", "eu-west-1~x", "who", []);
  expect(plain.result).toMatchObject({ caller: { region: "us-east-1" }, traceparent: null });
});

test("a traceparent that is none counts as not sent, a region that is none is refused", async () => {
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
