/**
 * Covers src/sockets/socket_server.ts, src/sockets/subscription.ts and src/events/broadcaster.ts:
 * joining, numbers, replay, turns that fail, slow readers.
 */
import { expect, it } from "vitest";
import type { AtlasNode } from "../../mod.ts";
import { MAX_REPLAY_EVENTS, MAX_SOCKET_BUFFER_BYTES, MAX_SOCKET_CALLS } from "../../src/limits.ts";
import { cluster, Gate, log, until } from "./cluster.ts";
import { type Client, client, roomApp } from "./sockets.ts";

/** Two nodes: the first one owns the room, both have client sockets. */
async function twoNodes(id: string): Promise<{ owner: AtlasNode; other: AtlasNode }> {
  const made = cluster();
  const owner = await made.node("a", {}, roomApp) as unknown as AtlasNode;
  const other = await made.node("b", {}, roomApp) as unknown as AtlasNode;
  await owner.call("rooms", id, "quick", []);
  return { owner, other };
}

const publish = (node: AtlasNode, id: string, ...args: unknown[]) =>
  node.call("rooms", id, "publish", args);
const joined = (...all: Client[]) =>
  until(() => all.every(({ hellos }) => hellos.length > 0), "all are joined");
const had = (seq: number, ...all: Client[]) =>
  until(() => all.every(({ last }) => last === seq), `all have ${seq}`);

it("sends every client each event, in order, at either node", async () => {
  const { owner, other } = await twoNodes("x");
  const all = [client(owner, "x"), client(other, "x"), client(other, "x")];
  await joined(...all);
  for (let i = 0; i < 20; i++) await publish(i % 2 ? owner : other, "x");
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

it("runs messages as turns in order, and broadcasts to all", async () => {
  const { owner, other } = await twoNodes("x");
  const all = [client(owner, "x"), client(other, "x")] as const;
  // This message is sent before the client has joined.
  for (let i = 0; i < 50; i++) all[1].send({ t: "message", data: i });
  await had(50, all[1]);
  expect(all[1].events.map(({ data }) => data.received)).toEqual(
    Array.from({ length: 50 }, (_, i) => i),
  );
  expect((await owner.call("rooms", "x", "received", [])).result).toBe(50);
  expect(all[0].orderErrors).toEqual([]);
});

it("answers calls, with an error if they fail, and refuses internal methods", async () => {
  const { other } = await twoNodes("x");
  const one = client(other, "x");
  one.send({ t: "call", id: 1, method: "quick", args: [] });
  one.send({ t: "call", id: "two", method: "nothing", args: [] });
  one.send({ t: "call", id: 3, method: "broadcast", args: ["x"] });
  one.send({ t: "call", id: 4, method: "$leave", args: [] });
  one.send({ t: "call", id: 5, method: 5 });
  await until(() => one.frames.filter(({ t }) => t === "reply").length === 5, "all are answered");
  const byId = new Map(one.frames.map((frame) => [frame.id, frame]));
  expect(byId.get(1)).toEqual({ t: "reply", id: 1, result: "quick" });
  for (const id of ["two", 3, 4]) expect(byId.get(id).error.code).toBe("not_found");
  expect(byId.get(5).error).toMatchObject({ code: "bad_request", maybeExecuted: false });
  expect(one.closed).toBeNull();
});

it("closes a socket that sends invalid frames", async () => {
  const { owner } = await twoNodes("x");
  for (const frame of [null, [], { t: "talk" }, { t: "call", method: "quick" }]) {
    const one = client(owner, "x");
    one.send(frame);
    expect(one.closed?.code).toBe(4400);
    expect(one.closed?.reason).toMatch(/^bad_request: /);
  }
});

it("sends no event of a failed turn, and repeats no number", async () => {
  const { owner, other } = await twoNodes("x");
  const one = client(other, "x");
  await joined(one);
  await expect(owner.call("rooms", "x", "publishThenThrow", [])).rejects.toMatchObject({
    code: "app",
  });
  await publish(owner, "x");
  await had(1, one);
  expect(one.events.map(({ data }) => data)).toEqual([{ n: 1 }]);
});

it("sends no event before the turn's commit", async () => {
  const { owner, other } = await twoNodes("x");
  const one = client(other, "x");
  await joined(one);
  const waiting = owner.call("rooms", "x", "publishThenWait", ["g"]);
  await until(() => log.includes("waiting g"), "it waits");
  expect(one.events).toEqual([]);
  Gate.of("g").open();
  await waiting;
  await had(1, one);
});

it("replays the missed events, and no more, to a client that resumes", async () => {
  const { owner, other } = await twoNodes("x");
  const one = client(other, "x");
  await joined(one);
  await publish(owner, "x", 5);
  await had(5, one);
  one.end();
  await until(() => log.includes("out"), "the owner knows");
  await publish(owner, "x", 3);
  const back = client(owner, "x", { after: 5 });
  // One of the events was broadcast when it left.
  await had(9, back);
  expect(back.hellos).toMatchObject([{ seq: 9, gap: false }]);
  expect(back.events.map(({ seq }) => seq)).toEqual([6, 7, 8, 9]);
});

it("reports a gap if too many events were missed, or if no event ever had the requested number", async () => {
  const { owner, other } = await twoNodes("x");
  for (let i = 0; i < 3; i++) await publish(owner, "x", MAX_REPLAY_EVENTS / 2);
  const last = MAX_REPLAY_EVENTS * 1.5;
  const [missed, kept, ahead] = [10, last - 10, last + 1]
    .map((after) => client(other, "x", { after })) as [Client, Client, Client];
  await joined(missed, kept, ahead);
  await publish(owner, "x");
  await had(last + 1, missed, kept, ahead);
  expect(missed.hellos).toMatchObject([{ seq: last, gap: true }]);
  expect(ahead.hellos).toMatchObject([{ seq: last, gap: true }]);
  expect(missed.events).toHaveLength(1);
  expect(kept.hellos).toMatchObject([{ seq: last, gap: false }]);
  expect(kept.events).toHaveLength(11);
});

it("sends an event for one connection only to that one, and its number to the others", async () => {
  const { owner, other } = await twoNodes("x");
  const [one, two] = [client(other, "x"), client(owner, "x")] as const;
  await joined(one, two);
  one.send({ t: "message", data: "whisper" });
  await had(1, one);
  await publish(owner, "x");
  await had(2, one, two);
  expect(one.events.map(({ data }) => data)).toEqual(["only you", { n: 1 }]);
  expect(two.frames.slice(1)).toMatchObject([{ t: "skip", seq: 1 }, { t: "event", seq: 2 }]);
  // A client that resumes names its connection, and gets what was sent to it.
  const back = client(owner, "x", { after: 0, former: one.hellos[0].connection });
  await had(2, back);
  expect(back.events.map(({ data }) => data)).toEqual(["only you", { n: 1 }]);
});

it("closes a connection after what was sent to it", async () => {
  const { owner, other } = await twoNodes("x");
  const [one, two] = [client(other, "x"), client(other, "x")] as const;
  await joined(one, two);
  one.send({ t: "message", data: "hello" });
  one.send({ t: "message", data: "bye" });
  await until(() => one.closed, "it is closed");
  expect(one.closed).toEqual({ code: 1000, reason: "as you wish" });
  expect(one.events).toHaveLength(1);
  expect(two.closed).toBeNull();
  await until(async () => (await owner.call("rooms", "x", "present", [])).result === 1, "it left");
  expect(log.filter((line) => line === "out")).toEqual(["out"]);
  expect(two.hellos).toHaveLength(1);
});

it("closes a socket whose onConnect threw, with the reason", async () => {
  const { other } = await twoNodes("x");
  const refused = client(other, "closed");
  await until(() => refused.closed, "it is closed");
  expect(refused.closed).toEqual({ code: 4500, reason: "app: nobody may come in" });
  expect(log).not.toContain("out");
});

it("refuses invalid names and options", async () => {
  const { owner } = await twoNodes("x");
  expect(() => client(owner, "x", { type: "a b" })).toThrow(/type/);
  expect(() => client(owner, "x", { type: "attics" })).toThrow(/no node runs resources of type/);
  expect(() => client(owner, "")).toThrow(/id/);
  expect(() => client(owner, "x", { after: -1 })).toThrow(/after is -1/);
  expect(() => client(owner, "x", { former: "me" })).toThrow(/connection must be/);
});

it("disconnects a client that reads too slowly, without effect on others", async () => {
  const { owner, other } = await twoNodes("x");
  const [slow, quick] = [client(other, "x"), client(other, "x")] as const;
  await joined(slow, quick);
  slow.unread = MAX_SOCKET_BUFFER_BYTES + 1;
  for (let i = 0; i < 10; i++) await publish(owner, "x");
  await until(() => slow.closed, "it is cut");
  expect(slow.closed).toEqual({ code: 1013, reason: "it reads too slowly" });
  await until(() => quick.events.length >= 10, "the other has all");
  expect(quick.orderErrors).toEqual([]);
  expect(other.stats()).toMatchObject({ sockets: 1, cutSockets: 1 });
});

it("bounds the calls of one socket", async () => {
  const { owner } = await twoNodes("x");
  const one = client(owner, "x");
  for (let id = 0; id <= MAX_SOCKET_CALLS; id++) {
    one.send({ t: "call", id, method: "publishThenWait", args: ["full"] });
  }
  await until(() => one.frames.some(({ t }) => t === "reply"), "one is refused");
  expect(one.frames.find(({ t }) => t === "reply")).toMatchObject({
    id: MAX_SOCKET_CALLS,
    error: { code: "overloaded", maybeExecuted: false },
  });
});

it("stays active while a client is connected, and goes on with its numbers after an idle stop", async () => {
  const made = cluster();
  const node = await made.node("a", {}, roomApp) as unknown as AtlasNode;
  const one = client(node, "x", { type: "brief" });
  await joined(one);
  await node.call("brief", "x", "publish", [3]);
  await had(3, one);
  // A resource without clients, used later.
  await node.call("brief", "y", "publish", []);
  await until(() => log.includes("stop y idle"), "the other sleeps");
  expect(log).not.toContain("stop x idle");
  one.end();
  await until(() => log.includes("stop x idle"), "it sleeps");
  const back = client(node, "x", { type: "brief", after: 4 });
  await joined(back);
  // The fourth event was broadcast when the client left.
  expect(back.hellos).toMatchObject([{ seq: 4, gap: false }]);
  await node.call("brief", "x", "publish", []);
  await had(5, back);
});

it("sends large events in several answers", async () => {
  const { owner, other } = await twoNodes("x");
  const one = client(other, "x");
  await joined(one);
  await publish(owner, "x", 6, 600_000);
  await had(6, one);
  expect(one.orderErrors).toEqual([]);
  await expect(publish(owner, "x", 1, 2_000_000)).rejects.toMatchObject({
    code: "payload_too_large",
  });
  await expect(publish(owner, "x", 20, 600_000)).rejects.toMatchObject({
    code: "payload_too_large",
  });
});
