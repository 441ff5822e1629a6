/** Figures of a node as `/metrics` gives them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createHttpApp } from "../../adapters/http/app.ts";
import { ask, type Serving, serving } from "./serving.ts";

let served: Serving;
beforeAll(async () => {
  served = await serving();
});
afterAll(() => served.close());

test("metrics show the node's counters, and requests by route, never by path", async () => {
  await served.ask("POST", "/v1/resources/probes/metered/add", { body: "[1]" });
  await served.ask("GET", "/v1/unknown/metered-path");
  const { status, text, headers } = await served.ask("GET", "/metrics");
  expect(status).toBe(200);
  expect(headers.get("content-type")).toMatch(/^text\/plain/);
  expect(text).toMatch(/^atlas_node_state\{state="serving"\} 1$/m);
  expect(text).toMatch(/^atlas_turns_total [1-9]/m);
  expect(text).toMatch(/^atlas_lease_left_seconds \d/m);
  expect(text).toMatch(/^process_resident_memory_bytes [1-9]/m);
  expect(text).toMatch(
    /_count\{method="POST",route="\/v1\/resources\/:type\/:id\/:method",status="200"\} [1-9]/,
  );
  expect(text).not.toContain("metered");
});

test("the histogram counts each request once, by its status and in the buckets above its time", async () => {
  const http = createHttpApp({ node: () => served.node });
  const path = "/v1/resources/probes/timed/echo";
  for (const body of ["[1]", "[2]", "{}"]) await ask(http, "POST", path, { body });
  await ask(http, "GET", "/v1/resources/probes/timed");
  await ask(http, "DELETE", "/nowhere");
  const { text } = await ask(http, "GET", "/metrics");
  const call = 'method="POST",route="/v1/resources/:type/:id/:method"';
  const name = "atlas_http_request_duration_seconds";
  expect(text).toContain(`# TYPE ${name} histogram`);
  expect(text).toContain(`${name}_count{${call},status="200"} 2\n`);
  expect(text).toContain(`${name}_count{${call},status="400"} 1\n`);
  expect(text).toContain(`${name}_bucket{le="+Inf",${call},status="200"} 2\n`);
  expect(text).toContain(
    `${name}_count{method="GET",route="/v1/resources/:type/:id",status="200"} 1\n`,
  );
  expect(text).toContain(`${name}_count{method="DELETE",route="none",status="404"} 1\n`);
  const rows = text.split("\n").filter((row) =>
    row.startsWith(`${name}_bucket`) && row.includes(`${call},status="200"`)
  );
  expect(rows.map((row) => /le="([^"]+)"/.exec(row)?.[1])).toEqual(
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, "+Inf"]
      .map(String),
  );
  const counts = rows.map((row) => Number(row.split(" ").at(-1)));
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(Number(new RegExp(`${name}_sum\\{${call},status="200"\\} (\\S+)`).exec(text)?.[1]))
    .toBeGreaterThan(0);
});

test("the node's figures are read once a scrape, however many there are", async () => {
  let looks = 0;
  const watched = Object.create(served.node, {
    stats: { value: () => (looks++, served.node.stats()) },
  });
  const http = createHttpApp({ node: () => watched });
  expect((await ask(http, "GET", "/metrics")).text).toMatch(/^atlas_turns_total [1-9]/m);
  expect(looks).toBe(1);
  await ask(http, "GET", "/metrics");
  expect(looks).toBe(2);
});
