/**
 * Covers src/links/region_routes.ts: what errors and log events say when another region can't be
 * reached.
 */
import { expect, it } from "vitest";
import { AtlasError, type AtlasNode, memoryStore, type NodeEvent } from "../../mod.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { type TestApp, untilBy } from "./cluster.ts";
import { Regions } from "./regions.ts";

/** A node in us and one in eu, and log events of the first one about links to regions. */
async function divided() {
  const clock = fakeClock();
  const made = new Regions({ clock });
  const events: NodeEvent[] = [];
  const onEvent = (event: NodeEvent) => {
    if (event.event.startsWith("link to region")) events.push(event);
  };
  const eu = await made.node("eu/b");
  const us = await made.node("us/a", { onEvent });
  return { clock, made, eu, us, events };
}

/** Calls a resource in a region; gives the error's message if the call fails. */
async function answerOf(
  clock: FakeClock,
  node: AtlasNode<TestApp>,
  timeoutMs: number,
): Promise<string> {
  const call = node.call("counters", "eu~x", "echo", [1], { timeoutMs });
  return await clock.run(call).then(() => "done", (error: Error) => error.message);
}

it("a call's error has the reason why the nodes of its region can't be reached", async () => {
  const { clock, made, us } = await divided();
  made.setLink("us/a", "eu/b", false, "no route to host");
  const failure = await answerOf(clock, us, 200);
  expect(failure).toMatch(
    /no node of region eu can be reached, .*no gateways.*\(no route to host\)/,
  );
});

it("a call's error says that neither gateways nor nodes of its region can be reached", async () => {
  const { clock, made } = await divided();
  const gateways = { eu: [made.address("eu/b")] };
  const us = await made.node("us/c", { gateways });
  made.setLink("us/c", "eu/b", false, "no route to host");
  const failure = await answerOf(clock, us, 200);
  expect(failure).toMatch(/no gateway of region eu .*no route to host\); nor any .*\(no route to/);
});

it("a call's error says that its region's registry can't be read, either", async () => {
  const { clock, made } = await divided();
  const store = Object.assign(memoryStore(), {
    homeOf: () => "eu",
    lookup: () => Promise.reject(new AtlasError("unavailable", "the registry of eu is out")),
  });
  const us = await made.node("us/c", { store });
  expect(await answerOf(clock, us, 200)).toMatch(
    /no node of region eu .*no node that passes calls on is known.*; and the registry can't be reached: see this node's log/,
  );
});

it("a closed link is logged once, again if the reason changes, and once it opens", async () => {
  const { clock, made, us, events } = await divided();
  const lines = () =>
    events.map(({ level, event, fields: { node, reason = "" } }) =>
      [level, event, node, reason].join(" ").trim()
    );
  const answer = (timeoutMs: number) => answerOf(clock, us, timeoutMs);
  const opens = () => untilBy(clock, async () => await answer(300) === "done", "the link is open");
  const first = "warning link to region down eu/b no route to host";
  made.setLink("us/a", "eu/b", false, "no route to host");
  await answer(50);
  await answer(1_500);
  expect(lines()).toEqual([first]);
  made.setLink("us/a", "eu/b", false, "refused");
  const isTried = async () => await answer(100) !== "done" && events.length > 1;
  await untilBy(clock, isTried, "it is tried");
  const second = "warning link to region down eu/b refused";
  expect(lines()).toEqual([first, second]);
  made.setLink("us/a", "eu/b", true);
  await opens();
  await opens();
  expect(lines()).toEqual([first, second, "info link to region up eu/b"]);
  expect(events[0]?.fields["address"]).toBe(made.address("eu/b"));
});
