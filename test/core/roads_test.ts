/** Why another region can't be reached: what errors and the log say of roads that are shut. */
import { expect, it } from "vitest";
import { AtlasError, type AtlasNode, memoryStore, type NodeEvent } from "../../mod.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { type TestApp, untilBy } from "./cluster.ts";
import { Regions } from "./regions.ts";

/** A node in us beside one in eu, and what the first one tells of roads. */
async function divided() {
  const clock = fakeClock();
  const made = new Regions({ clock });
  const told: NodeEvent[] = [];
  const onEvent = (event: NodeEvent) => {
    if (event.event.startsWith("link to region")) told.push(event);
  };
  const eu = await made.node("eu/b");
  const us = await made.node("us/a", { onEvent });
  return { clock, made, eu, us, told };
}

/** Whether a call to a region goes through; a failure is told by its message. */
async function answerOf(
  clock: FakeClock,
  node: AtlasNode<TestApp>,
  timeoutMs: number,
): Promise<string> {
  const call = node.call("counters", "eu~x", "echo", [1], { timeoutMs });
  return await clock.run(call).then(() => "done", (error: Error) => error.message);
}

it("a call says why the nodes of its region are out of reach", async () => {
  const { clock, made, us } = await divided();
  made.road("us/a", "eu/b", false, "no route to host");
  const failure = await answerOf(clock, us, 200);
  expect(failure).toMatch(
    /no node of region eu can be reached, .*no gateways.*\(no route to host\)/,
  );
});

it("a call says that its region's gateways are out of reach, and its nodes", async () => {
  const { clock, made } = await divided();
  const gateways = { eu: [made.address("eu/b")] };
  const us = await made.node("us/c", { gateways });
  made.road("us/c", "eu/b", false, "no route to host");
  const failure = await answerOf(clock, us, 200);
  expect(failure).toMatch(/no gateway of region eu .*no route to host\); nor any .*\(no route to/);
});

it("a call says that its region's registry can't be read, either", async () => {
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

it("a shut road is told once, again for another reason, and when it opens", async () => {
  const { clock, made, us, told } = await divided();
  const lines = () =>
    told.map(({ level, event, fields: { node, reason = "" } }) =>
      [level, event, node, reason].join(" ").trim()
    );
  const answer = (timeoutMs: number) => answerOf(clock, us, timeoutMs);
  const opens = () => untilBy(clock, async () => await answer(300) === "done", "the road is open");
  const first = "warning link to region down eu/b no route to host";
  made.road("us/a", "eu/b", false, "no route to host");
  await answer(50);
  await answer(1_500);
  expect(lines()).toEqual([first]);
  made.road("us/a", "eu/b", false, "refused");
  const isTried = async () => await answer(100) !== "done" && told.length > 1;
  await untilBy(clock, isTried, "it is tried");
  const second = "warning link to region down eu/b refused";
  expect(lines()).toEqual([first, second]);
  made.road("us/a", "eu/b", true);
  await opens();
  await opens();
  expect(lines()).toEqual([first, second, "info link to region up eu/b"]);
  expect(told[0]?.fields["address"]).toBe(made.address("eu/b"));
});
