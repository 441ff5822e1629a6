/** What log events of failures say of a call's way and its trace. */
import { expect, it } from "vitest";
import type { NodeEvent } from "../../mod.ts";
import { Regions } from "./regions.ts";

const TRACE = `00-${"a1".repeat(16)}-${"b2".repeat(8)}-01`;

it("a failed call is told where it was made, passed on and run, under its trace", async () => {
  const made = new Regions();
  const events: Record<string, NodeEvent[]> = { us: [], gw: [], owner: [] };
  const onEvent = (who: string) => ({ onEvent: (event: NodeEvent) => events[who]?.push(event) });
  const owner = await made.node("eu/owner", onEvent("owner"));
  await made.node("eu/gw", onEvent("gw"));
  const gateways = { eu: [made.address("eu/gw")] };
  const us = await made.node("us/a", { gateways, ...onEvent("us") });
  made.road("us/a", "eu/owner", false);
  await owner.call("counters", "eu~x", "echo", [0]);
  const call = us.call("counters", "eu~x", "addThenThrow", [1], { traceparent: TRACE });
  await expect(call).rejects.toMatchObject({ code: "app" });
  const told = (who: string, event: string) => events[who]?.find((it) => it.event === event);
  const fields = { key: "counters/eu~x", method: "addThenThrow", traceparent: TRACE };
  expect(told("us", "call failed")?.fields).toMatchObject({ ...fields, code: "app", path: "us/a" });
  expect(told("gw", "passing a call on failed")?.fields).toMatchObject({
    ...fields,
    path: "us/a, eu/gw",
  });
  expect(told("owner", "method threw")?.fields).toMatchObject(fields);
});

it("a call without a trace that fails at its caller is no event", async () => {
  const made = new Regions();
  const events: NodeEvent[] = [];
  const us = await made.node("us/a", { onEvent: (event) => events.push(event) });
  await expect(us.call("counters", "us~x", "nope", [])).rejects.toMatchObject({
    code: "not_found",
  });
  expect(events.map(({ event }) => event)).not.toContain("call failed");
});
