/** How the offline mark of answers reaches callers over HTTP. */
import { expect, test } from "vitest";
import { createHttpApp } from "../../adapters/http/app.ts";
import { connect } from "../../adapters/client/client.ts";
import { defineApp, memoryStore } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { BRISK, cluster, Counter, until } from "../core/cluster.ts";
import { connectionTo } from "../core/store_connection.ts";
import { ask } from "./serving.ts";

test("answers are marked by a header, in lookups and at the client, while the store is unreachable", async () => {
  const connection = connectionTo(memoryStore());
  const app = defineApp({
    resources: { counters: { class: Counter, partition: "available" as const } },
  });
  const clock = fakeClock();
  const node = await cluster(connection.store).node("a", { lease: BRISK, clock }, app);
  const http = createHttpApp({ node: () => node as never });
  const client = connect("http://atlas.test", {
    fetch: (url, init) => http.fetch(new Request(url, { ...init, redirect: "follow" })),
  });
  const path = "/v1/resources/counters/x";
  const add = (): ReturnType<typeof ask> => ask(http, "POST", `${path}/add`, { body: "[1]" });

  expect((await add()).headers.get("atlas-verdict")).toBeNull();
  expect(await client.call("counters", "x", "add", [1])).not.toHaveProperty("verdict");

  connection.isCut = true;
  await clock.advance(2 * BRISK.leaseMs);
  expect(node.state).toBe("fenced");
  const marked = await add();
  expect(marked.headers.get("atlas-verdict")).toBe("suspect");
  expect(Object.keys(marked.body)).toEqual(["result", "rrp", "epoch"]);
  expect(await client.call("counters", "x", "add", [1])).toMatchObject({
    result: { total: 4 },
    verdict: "suspect",
  });
  const found = await ask(http, "GET", path);
  expect(found.body).toMatchObject({ rrp: "rrp:local/a/counters/x", verdict: "suspect" });
  expect(found.headers.get("atlas-verdict")).toBe("suspect");
  expect((await http.fetch(new Request("http://atlas.test/metrics"))).status).toBe(200);

  connection.isCut = false;
  await until(async () => {
    await clock.advance(BRISK.heartbeatMs);
    return node.stats().offlineResources === 0;
  }, "it is reconciled");
  const after = await add();
  expect(after.headers.get("atlas-verdict")).toBeNull();
  expect(after.body.result.total).toBe(5);
  const metrics = await (await http.fetch(new Request("http://atlas.test/metrics"))).text();
  expect(metrics).toMatch(/^atlas_offline_turns_committed_total 2$/m);
  expect(metrics).toMatch(/^atlas_resources_offline 0$/m);
  await clock.run(node.close({ drainMs: 0 }));
});
