/** Prefixes over HTTP: counting resources, and draining some of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Serving, serving } from "./serving.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

const COUNT = "/v1/resources?count=1&prefix=";

test("count=1 gives the number of resources, over HTTP and to the client", async () => {
  const client = served.client();
  for (const id of ["a", "b", "c"]) await client.resource("probes", id).echo(1);
  const { rrp } = await client.lookup("probes", "a");
  const own = rrp?.split("/").slice(0, 2).join("/");
  expect(await served.ask("GET", `${COUNT}rrp:`)).toMatchObject({
    status: 200,
    body: { prefix: "rrp:", count: 3 },
  });
  expect(await served.ask("GET", "/v1/resources?count=1")).toMatchObject({ body: { count: 3 } });
  expect(await client.count(`${own}/probes/`)).toBe(3);
  expect(await client.count(`${own}/small/`, { timeoutMs: 20_000 })).toBe(0);
});

test.each([
  ["GET", "/v1/resources?count=yes", "bad_request", "count"],
  ["GET", `${COUNT}elsewhere`, "invalid_rrp", "prefix"],
  ["POST", "/v1/drain?prefix=elsewhere", "invalid_rrp", "prefix"],
  ["POST", "/v1/drain?prefix=rrp:&forMs=0", "bad_request", "forMs"],
  ["POST", "/v1/drain?forMs=5", "bad_request", "forMs"],
])("%s %s is refused", async (method, path, code, part) => {
  const { status, body } = await served.ask(method, path);
  expect(status).toBe(400);
  expect(body).toMatchObject({ error: { code } });
  expect(JSON.stringify(body)).toContain(part);
  expect(served.node.state).toBe("serving");
});

test("a drain by prefix hands matching resources over; the node goes on serving", async () => {
  const { region, node } = served.node;
  const prefix = `rrp:${region}/${node}/probes/`;
  const path = `/v1/drain?prefix=${encodeURIComponent(prefix)}&forMs=20`;
  expect(await served.ask("POST", path)).toMatchObject({
    status: 202,
    body: { prefix, forMs: 20, region, node },
  });
  await expect.poll(() => served.ask("GET", `${COUNT}${prefix}`)).toMatchObject({
    body: { count: 0 },
  });
  expect(served.node.state).toBe("serving");
  // As the only node it claims them again when the time is over.
  expect(await served.client().resource("probes", "a").echo(2)).toBe(2);
});
