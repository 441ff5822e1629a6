/** Listings over HTTP: pages, cursors that are safe in URLs, and queries that are refused. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Serving, serving } from "./serving.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

const call = (id: string, method: string, args: unknown) =>
  served.ask("POST", `/v1/resources/probes/${id}/${method}`, { body: JSON.stringify(args) });

test("resources are listed a page at a time", async () => {
  for (const id of ["p1", "p2", "p3"]) await call(id, "add", [1]);
  const found: string[] = [];
  let cursor = "";
  do {
    const query = new URLSearchParams({ prefix: "rrp:test/one/probes/", limit: "2", cursor });
    const { status, body } = await served.ask("GET", `/v1/resources?${query}`);
    expect(status).toBe(200);
    expect(body.resources.length).toBeLessThanOrEqual(2);
    for (const { rrp, epoch } of body.resources) {
      expect(epoch).toBeGreaterThan(0);
      found.push(rrp);
    }
    cursor = body.next;
    // The cursor can be used in a URL without encoding.
    if (cursor !== null) expect(encodeURIComponent(cursor)).toBe(cursor);
  } while (cursor !== null);
  expect(found).toEqual(expect.arrayContaining([
    "rrp:test/one/probes/p1",
    "rrp:test/one/probes/p2",
    "rrp:test/one/probes/p3",
  ]));
  const elsewhere = await served.ask("GET", "/v1/resources?prefix=rrp:elsewhere/");
  expect(elsewhere.body).toEqual({ resources: [], next: null });
});

test("the client goes from page to page", async () => {
  const atlas = served.client();
  await atlas.resource("probes", "c 1").add(1);
  await atlas.resource("probes", "c 2").add(1);
  const ids = ["c%201", "c%202"].map((id) => `rrp:test/one/probes/${id}`);
  const found: string[] = [];
  for (let next: string | null = "";;) {
    const page = await atlas.resources("rrp:", { limit: 1, ...next && { cursor: next } });
    found.push(...page.resources.map(({ rrp }) => rrp));
    if ((next = page.next) === null) break;
  }
  expect(found).toEqual(expect.arrayContaining(ids));
  expect(new Set(found).size).toBe(found.length);
});

test.each([
  ["limit=0", "bad_request"],
  ["limit=1001", "bad_request"],
  ["cursor=254 probes/p1", "bad_request"],
  ["cursor=p1", "bad_request"],
  ["cursor=_w", "bad_request"],
  ["prefix=us-east-1", "invalid_rrp"],
  ["prefix=rrp:a", "invalid_rrp"],
])("query %s", async (query, code) => {
  const { status, body } = await served.ask("GET", `/v1/resources?${query}`);
  expect([status, body.error.code]).toEqual([400, code]);
});

test.each([
  ["GET", "/v1/resources?next=x", "next", "prefix, cursor, limit, count"],
  ["GET", "/v1/resources?prefix=rrp:&after=x", "after", "prefix, cursor, limit, count"],
  ["GET", "/v1/resources/probes/a?required=confirmed", "required", "require"],
  ["POST", "/v1/resources/probes/a?move=test&now=1", "now", "move"],
  ["POST", "/v1/drain?prefx=rrp:test/", "prefx", "node, prefix, forMs"],
  ["GET", "/v1/connect/probes/a?since=5", "since", "after, connection"],
  ["POST", "/v1/modules/calc/pi?range=^1", "range", "version"],
])("%s %s: a query parameter that there isn't", async (method, path, name, allowed) => {
  const { status, body } = await served.ask(method, path);
  const message = `there is no query parameter "${name}" here; there are: ${allowed}`;
  expect([status, body.error]).toMatchObject([400, { code: "bad_request", message }]);
  expect(served.node.state).toBe("serving");
});
