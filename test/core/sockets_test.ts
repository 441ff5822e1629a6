/** Client sockets on the core: joining, numbers, replay, turns that fail, slow readers. */
import { expect, it } from "vitest";
import type { AtlasNode } from "../../mod.ts";
import { MAX_REPLAY_EVENTS, MAX_SOCKET_BUFFER_BYTES, MAX_SOCKET_CALLS } from "../../src/limits.ts";
import { cluster, Gate, log, until } from "./cluster.ts";
import { type Client, client, roomApp } from "./sockets.ts";

/** Two nodes; the room is at the first one, and doors are at both. */
async function house(id: string): Promise<{ owner: AtlasNode; other: AtlasNode }> {
  const made = cluster();
  const owner = await made.node("a", {}, roomApp) as unknown as AtlasNode;
  const other = await made.node("b", {}, roomApp) as unknown as AtlasNode;
  await owner.call("rooms", id, "quick", []);
  return { owner, other };
}

const say = (node: AtlasNode, id: string, ...args: unknown[]) =>
  node.call("rooms", id, "say", args);
const joined = (...all: Client[]) =>
  until(() => all.every(({ hellos }) => hellos.length > 0), "all are joined");
const had = (seq: number, ...all: Client[]) =>
  until(() => all.every(({ last }) => last === seq), `all have ${seq}`);

it("tells every client of each event, in order, at whichever door", async () => {
  const { owner, other } = await house("x");
  const all = [client(owner, "x"), client(other, "x"), client(other, "x")];
  await joined(...all);
  for (let i = 0; i < 20; i++) await say(i % 2 ? owner : other, "x");
  await had(20, ...all);
  const { epoch } = await owner.lookup("rooms", "x");
  for (const one of all) {
    expect(one.hellos).toEqual([
      { t: "hello", connection: expect.any(String), epoch, seq: 0, gap: false },
    ]);
    expect(one.events).toEqual(
      Array.from({ length: 20 }, (_, i) => ({ t: "event", seq: i + 1, epoch, data: { n: i + 1 } })),
    );
  }
  expect((await owner.call("rooms", "x", "present", [])).result).toBe(3);
});

it("hears messages in order, as turns, and says what was said back to all", async () => {
  const { owner, other } = await house("x");
  const all = [client(owner, "x"), client(other, "x")] as const;
  // Said before it is joined, too.
  for (let i = 0; i < 50; i++) all[1].say({ t: "message", data: i });
  await had(50, all[1]);
  expect(all[1].events.map(({ data }) => data.heard)).toEqual(
    Array.from({ length: 50 }, (_, i) => i),
  );
  expect((await owner.call("rooms", "x", "heard", [])).result).toBe(50);
  expect(all[0].troubles).toEqual([]);
});

it("answers calls, with an error where they fail, and refuses what is for nodes", async () => {
  const { other } = await house("x");
  const one = client(other, "x");
  one.say({ t: "call", id: 1, method: "quick", args: [] });
  one.say({ t: "call", id: "two", method: "nothing", args: [] });
  one.say({ t: "call", id: 3, method: "broadcast", args: ["x"] });
  one.say({ t: "call", id: 4, method: "$leave", args: [] });
  one.say({ t: "call", id: 5, method: 5 });
  await until(() => one.frames.filter(({ t }) => t === "reply").length === 5, "all are answered");
  const byId = new Map(one.frames.map((frame) => [frame.id, frame]));
  expect(byId.get(1)).toEqual({ t: "reply", id: 1, result: "quick" });
  for (const id of ["two", 3, 4]) expect(byId.get(id).error.code).toBe("not_found");
  expect(byId.get(5).error).toMatchObject({ code: "bad_request", maybeExecuted: false });
  expect(one.closed).toBeNull();
});

it("closes a socket whose frames are none", async () => {
  const { owner } = await house("x");
  for (const frame of [null, [], { t: "talk" }, { t: "call", method: "quick" }]) {
    const one = client(owner, "x");
    one.say(frame);
    expect(one.closed?.code).toBe(4400);
    expect(one.closed?.reason).toMatch(/^bad_request: /);
  }
});

it("sends nothing of a turn that failed, and repeats no number", async () => {
  const { owner, other } = await house("x");
  const one = client(other, "x");
  await joined(one);
  await expect(owner.call("rooms", "x", "sayThenThrow", [])).rejects.toMatchObject({ code: "app" });
  await say(owner, "x");
  await had(1, one);
  expect(one.events.map(({ data }) => data)).toEqual([{ n: 1 }]);
});

it("sends nothing before the turn's commit", async () => {
  const { owner, other } = await house("x");
  const one = client(other, "x");
  await joined(one);
  const waiting = owner.call("rooms", "x", "sayThenWait", ["g"]);
  await until(() => log.includes("waiting g"), "it waits");
  expect(one.events).toEqual([]);
  Gate.of("g").open();
  await waiting;
  await had(1, one);
});

it("gives who comes back what was said meanwhile, and no more", async () => {
  const { owner, other } = await house("x");
  const one = client(other, "x");
  await joined(one);
  await say(owner, "x", 5);
  await had(5, one);
  one.end();
  await until(() => log.includes("out"), "the owner knows");
  await say(owner, "x", 3);
  const back = client(owner, "x", { after: 5 });
  // One of them is what was said when it left.
  await had(9, back);
  expect(back.hellos).toMatchObject([{ seq: 9, gap: false }]);
  expect(back.events.map(({ seq }) => seq)).toEqual([6, 7, 8, 9]);
});

it("says that there is a gap where too much was said meanwhile, or such a number never was", async () => {
  const { owner, other } = await house("x");
  for (let i = 0; i < 3; i++) await say(owner, "x", MAX_REPLAY_EVENTS / 2);
  const last = MAX_REPLAY_EVENTS * 1.5;
  const [missed, kept, ahead] = [10, last - 10, last + 1]
    .map((after) => client(other, "x", { after })) as [Client, Client, Client];
  await joined(missed, kept, ahead);
  await say(owner, "x");
  await had(last + 1, missed, kept, ahead);
  expect(missed.hellos).toMatchObject([{ seq: last, gap: true }]);
  expect(ahead.hellos).toMatchObject([{ seq: last, gap: true }]);
  expect(missed.events).toHaveLength(1);
  expect(kept.hellos).toMatchObject([{ seq: last, gap: false }]);
  expect(kept.events).toHaveLength(11);
});

it("tells what was said to one only that one, and the others that it was said", async () => {
  const { owner, other } = await house("x");
  const [one, two] = [client(other, "x"), client(owner, "x")] as const;
  await joined(one, two);
  one.say({ t: "message", data: "whisper" });
  await had(1, one);
  await say(owner, "x");
  await had(2, one, two);
  expect(one.events.map(({ data }) => data)).toEqual(["only you", { n: 1 }]);
  expect(two.frames.slice(1)).toMatchObject([{ t: "skip", seq: 1 }, { t: "event", seq: 2 }]);
  // Who comes back says who it was, and is told what was for it.
  const back = client(owner, "x", { after: 0, former: one.hellos[0].connection });
  await had(2, back);
  expect(back.events.map(({ data }) => data)).toEqual(["only you", { n: 1 }]);
});

it("closes a connection after what was said to it", async () => {
  const { owner, other } = await house("x");
  const [one, two] = [client(other, "x"), client(other, "x")] as const;
  await joined(one, two);
  one.say({ t: "message", data: "hello" });
  one.say({ t: "message", data: "bye" });
  await until(() => one.closed, "it is closed");
  expect(one.closed).toEqual({ code: 1000, reason: "as you wish" });
  expect(one.events).toHaveLength(1);
  expect(two.closed).toBeNull();
  await until(async () => (await owner.call("rooms", "x", "present", [])).result === 1, "it left");
  expect(log.filter((line) => line === "out")).toEqual(["out"]);
  expect(two.hellos).toHaveLength(1);
});

it("closes a socket whose onConnect threw, and says why", async () => {
  const { other } = await house("x");
  const refused = client(other, "closed");
  await until(() => refused.closed, "it is closed");
  expect(refused.closed).toEqual({ code: 4500, reason: "app: nobody may come in" });
  expect(log).not.toContain("out");
});

it("refuses names and options that aren't allowed", async () => {
  const { owner } = await house("x");
  expect(() => client(owner, "x", { type: "a b" })).toThrow(/type/);
  expect(() => client(owner, "x", { type: "attics" })).toThrow(/no node runs resources of type/);
  expect(() => client(owner, "")).toThrow(/id/);
  expect(() => client(owner, "x", { after: -1 })).toThrow(/after is -1/);
  expect(() => client(owner, "x", { former: "me" })).toThrow(/connection must be/);
});

it("cuts who reads too slowly, and others never notice", async () => {
  const { owner, other } = await house("x");
  const [slow, quick] = [client(other, "x"), client(other, "x")] as const;
  await joined(slow, quick);
  slow.unread = MAX_SOCKET_BUFFER_BYTES + 1;
  for (let i = 0; i < 10; i++) await say(owner, "x");
  await until(() => slow.closed, "it is cut");
  expect(slow.closed).toEqual({ code: 1013, reason: "it reads too slowly" });
  await until(() => quick.events.length >= 10, "the other has all");
  expect(quick.troubles).toEqual([]);
  expect(other.stats()).toMatchObject({ sockets: 1, cutSockets: 1 });
});

it("bounds the calls of one socket", async () => {
  const { owner } = await house("x");
  const one = client(owner, "x");
  for (let id = 0; id <= MAX_SOCKET_CALLS; id++) {
    one.say({ t: "call", id, method: "sayThenWait", args: ["full"] });
  }
  await until(() => one.frames.some(({ t }) => t === "reply"), "one is refused");
  expect(one.frames.find(({ t }) => t === "reply")).toMatchObject({
    id: MAX_SOCKET_CALLS,
    error: { code: "overloaded", maybeExecuted: false },
  });
});

it("stays awake while somebody listens, and goes on with its numbers after a sleep", async () => {
  const made = cluster();
  const node = await made.node("a", {}, roomApp) as unknown as AtlasNode;
  const one = client(node, "x", { type: "brief" });
  await joined(one);
  await node.call("brief", "x", "say", [3]);
  await had(3, one);
  // One without listeners that was used later.
  await node.call("brief", "y", "say", []);
  await until(() => log.includes("stop y idle"), "the other sleeps");
  expect(log).not.toContain("stop x idle");
  one.end();
  await until(() => log.includes("stop x idle"), "it sleeps");
  const back = client(node, "x", { type: "brief", after: 4 });
  await joined(back);
  // Four: three, and what it said when its client left.
  expect(back.hellos).toMatchObject([{ seq: 4, gap: false }]);
  await node.call("brief", "x", "say", []);
  await had(5, back);
});

it("holds large events back for no one: they come in several answers", async () => {
  const { owner, other } = await house("x");
  const one = client(other, "x");
  await joined(one);
  await say(owner, "x", 6, 600_000);
  await had(6, one);
  expect(one.troubles).toEqual([]);
  await expect(say(owner, "x", 1, 2_000_000)).rejects.toMatchObject({ code: "payload_too_large" });
  await expect(say(owner, "x", 20, 600_000)).rejects.toMatchObject({ code: "payload_too_large" });
});
