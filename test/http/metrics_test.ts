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
