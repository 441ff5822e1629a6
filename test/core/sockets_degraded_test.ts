/** Client sockets when links break, or when the resource's node can't reach the store. */
import { expect, it, test } from "vitest";
import {
  type AtlasNode,
  type Connection,
  defineApp,
  inProcessTransport,
  Resource,
} from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { add, cutOff, heal, member, one, until } from "./available.ts";
import { breakable } from "./breakable_transport.ts";
import { cluster, Gate, log, untilBy } from "./cluster.ts";
import { client } from "./sockets.ts";

const clock = fakeClock();

/** Waits at each third message until its gate opens. */
class Listener extends Resource {
  override async onMessage(_connection: Connection, data: number): Promise<void> {
    log.push(`begun ${data}`);
    if (data % 3 === 0) await Gate.of(`g${data}`).passed;
    log.push(`received ${data}`);
    await this.storage.put("last", data);
  }

  quick(): void {}
}

it("delivers each message once and in order when links break during delivery", async () => {
  const app = defineApp({ resources: { listeners: Listener } });
  const made = cluster(undefined, clock);
  const owner = await made.node("a", {}, app) as unknown as AtlasNode;
  const transport = breakable(inProcessTransport(made.network));
  const socketNode = await made.node("b", { transport }, app) as unknown as AtlasNode;
  await clock.run(owner.call("listeners", "x", "quick", []));
  const one = client(socketNode, "x", { type: "listeners" });
  await untilBy(clock, () => one.hellos.length === 1, "it is joined");
  for (let n = 1; n <= 9; n++) one.send({ t: "message", data: n });
  for (const n of [3, 6, 9]) {
    await untilBy(clock, () => log.includes(`begun ${n}`), `${n} is begun`);
    transport.breakAll();
    await clock.advance(200);
    // The socket is closed in the middle: the remaining messages are delivered nevertheless.
    if (n === 6) one.end();
    Gate.of(`g${n}`).open();
  }
  await untilBy(clock, () => log.includes("received 9"), "all messages were received");
  expect(log.filter((line) => line.startsWith("received"))).toEqual(
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `received ${n}`),
  );
  expect(log.filter((line) => line.startsWith("begun"))).toHaveLength(9);
});

test("replies over sockets are marked while the resource's node can't reach the store", async () => {
  const { made, a } = await one();
  const b = await member(made, "b");
  await add(a.node, "x", "1");
  const [near, far] = [
    client(a.node, "x", { type: "notes" }),
    client(b.node, "x", { type: "notes" }),
  ];
  await until(() => near.hellos.length + far.hellos.length === 2, "both are joined");
  const call = async (id: number): Promise<unknown[]> => {
    for (const at of [near, far]) at.send({ t: "call", id, method: "add", args: [`${id}`] });
    const replies = () => [near, far].map(({ frames }) => frames.find((it) => it.id === id));
    await until(() => replies().every((it) => it !== undefined), "both are answered");
    return replies().map(({ verdict }) => verdict);
  };
  expect(await call(1)).toEqual([undefined, undefined]);
  await cutOff(a);
  expect(await call(2)).toEqual(["suspect", "suspect"]);
  // A call that arrives in this time is marked, too.
  const late = client(a.node, "x", { type: "notes" });
  late.send({ t: "call", id: 1, method: "all", args: [] });
  await until(() => late.frames.some(({ t }) => t === "reply"), "it is answered");
  expect(late.frames.find(({ t }) => t === "reply")).toMatchObject({ verdict: "suspect" });
  await heal(a);
  expect(await call(3)).toEqual([undefined, undefined]);
});
