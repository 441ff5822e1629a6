/** Covers src/routing/tracing.ts: what log events say about a call's path and trace. */
import { expect, it } from "vitest";
import type { NodeEvent } from "../../mod.ts";
import { nextSpan } from "../../src/routing/tracing.ts";
import { until } from "./cluster.ts";
import { Regions } from "./regions.ts";

const TRACE = `00-${"a1".repeat(16)}-${"b2".repeat(8)}-01`;

it("a failed call is logged where it was made, forwarded and run, under its trace", async () => {
  const made = new Regions();
  const events: Record<string, NodeEvent[]> = { us: [], gw: [], owner: [] };
  const onEvent = (node: string) => ({ onEvent: (event: NodeEvent) => events[node]?.push(event) });
  const owner = await made.node("eu/owner", onEvent("owner"));
  await made.node("eu/gw", onEvent("gw"));
  const gateways = { eu: [made.address("eu/gw")] };
  const us = await made.node("us/a", { gateways, ...onEvent("us") });
  made.setLink("us/a", "eu/owner", false);
  await owner.call("counters", "eu~x", "echo", [0]);
  const call = us.call("counters", "eu~x", "addThenThrow", [1], { traceparent: TRACE });
  await expect(call).rejects.toMatchObject({ code: "app" });
  const logged = (node: string, event: string) => events[node]?.find((it) => it.event === event);
  const fields = { key: "counters/eu~x", method: "addThenThrow" };
  const way = { code: "app", callerRegion: "us", path: "us/a, eu/gw, eu/owner" };
  const traceparent = expect.stringContaining(TRACE.slice(0, 36));
  expect(logged("us", "call failed")?.fields).toEqual({
    ...fields,
    ...way,
    reason: "thrown on purpose",
    traceparent: TRACE,
  });
  expect(logged("gw", "passing a call on failed")?.fields).toMatchObject({
    ...fields,
    ...way,
    traceparent,
  });
  expect(logged("owner", "method threw")?.fields).toMatchObject({ ...fields, traceparent });
});

/** A node in us, an owner in eu that only a gateway can reach, and the hops that all of them log. */
async function followed() {
  const made = new Regions();
  const hops: (NodeEvent["fields"] & { from: string })[] = [];
  const of = (from: string) => ({
    onEvent: ({ level, event, fields }: NodeEvent) => {
      if (level === "debug" && event === "call passed on") hops.push({ from, ...fields });
    },
  });
  const owner = await made.node("eu/owner", of("eu/owner"));
  await made.node("eu/gw", of("eu/gw"));
  const gateways = { eu: [made.address("eu/gw")] };
  const us = await made.node("us/a", { gateways, ...of("us/a") });
  made.setLink("us/a", "eu/owner", false);
  await owner.call("counters", "eu~x", "echo", [0]);
  return { us, owner, hops };
}

it("each hop of a traced call is logged as a span with the previous hop as parent", async () => {
  const { us, hops } = await followed();
  const options = { traceparent: TRACE, callerRegion: "sa" };
  const { result } = await us.call("counters", "eu~x", "who", [], options);
  await until(() => hops.length === 2, "both hops are logged");
  const common = { key: "counters/eu~x", method: "who", callerRegion: "sa", outcome: "ok" };
  const [inner, outer] = hops as [typeof hops[number], typeof hops[number]];
  expect(outer).toMatchObject({ ...common, from: "us/a", path: "us/a, eu/gw", parent: TRACE });
  expect(inner).toMatchObject({ ...common, from: "eu/gw", path: "us/a, eu/gw, eu/owner" });
  expect(inner["parent"]).toBe(outer["traceparent"]);
  expect((result as { traceparent: string }).traceparent).toBe(inner["traceparent"]);
  const spans = [TRACE, outer["traceparent"], inner["traceparent"]].map(String);
  for (const span of spans) expect(span).toMatch(/^00-(?:a1){16}-[0-9a-f]{16}-01$/);
  expect(new Set(spans).size).toBe(3);
  for (const { ms } of hops) expect(ms).toBeGreaterThanOrEqual(0);
});

it("a hop's log event says how it ended, and an untraced call has none", async () => {
  const { us, hops } = await followed();
  const traced = { traceparent: TRACE };
  await expect(us.call("counters", "eu~x", "addThenThrow", [1], traced)).rejects.toThrow();
  await until(() => hops.length === 2, "both hops are logged");
  expect(hops.map(({ outcome }) => outcome)).toEqual(["app", "app"]);
  await expect(us.call("counters", "eu~x", "wait", ["diary"], { ...traced, timeoutMs: 50 })).rejects
    .toMatchObject({ code: "timeout" });
  await until(() => hops.length === 4, "both hops are logged");
  const outcomes = hops.slice(2).map(({ from, outcome }) => `${from} ${outcome}`);
  expect(outcomes[0] === "us/a timeout" || outcomes[1] === "us/a timeout").toBe(true);
  expect(outcomes.join()).toMatch(/eu\/gw (?:timeout|cancelled)/);
  await us.call("counters", "eu~x", "echo", [1]);
  expect(hops).toHaveLength(4);
});

it("a random span id is never all zeros", () => {
  const drawn = (next: number) => nextSpan(TRACE, { next: () => next, uuid: () => "" });
  expect(drawn(0)).toBe(`00-${"a1".repeat(16)}-${"0".repeat(15)}1-01`);
  expect(drawn(1 - 2 ** -53)).toBe(`00-${"a1".repeat(16)}-${"f".repeat(16)}-01`);
  const later = `01-${"a1".repeat(16)}-${"b2".repeat(8)}-07-more`;
  expect(nextSpan(later, { next: () => 0.5, uuid: () => "" })).toBe(
    `00-${"a1".repeat(16)}-${"80000000".repeat(2)}-01`,
  );
});

it("a call without a trace that fails at its caller is not logged", async () => {
  const made = new Regions();
  const events: NodeEvent[] = [];
  const us = await made.node("us/a", { onEvent: (event) => events.push(event) });
  await expect(us.call("counters", "us~x", "nope", [])).rejects.toMatchObject({
    code: "not_found",
  });
  expect(events.map(({ event }) => event)).not.toContain("call failed");
});
