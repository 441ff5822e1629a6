/** Which regions `Atlas-Caller-Region` may name, on calls and on client sockets. */
import { afterEach, expect, test } from "vitest";
import { createHttpApp } from "../../adapters/http/app.ts";
import {
  type AtlasNode,
  createNode,
  defineApp,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
  Resource,
} from "../../mod.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { untilBy } from "../support/until.ts";
import { ask } from "./serving.ts";

class Witness extends Resource {
  who(): string | undefined {
    return this.caller?.region;
  }
}

const app = defineApp({ resources: { witnesses: Witness } });
const nodes: AtlasNode<typeof app>[] = [];
let clock: FakeClock;
afterEach(async () => {
  for (const node of nodes.splice(0)) await clock.run(node.close());
});

/** Nodes on one registry, one for each region; more can join; the first one serves HTTP. */
async function regions(...names: string[]) {
  clock = fakeClock();
  const [store, network] = [memoryStore(), inProcessNetwork()];
  const join = async (region: string): Promise<AtlasNode<typeof app>> => {
    const transport = inProcessTransport(network);
    const node = await createNode(app, { region, node: "n", store, transport, clock });
    nodes.push(node);
    return node;
  };
  for (const region of names) await join(region);
  const first = nodes[0] as AtlasNode<typeof app>;
  const http = createHttpApp({ node: () => first as unknown as AtlasNode });
  const regionsOf = async (region: string) => {
    const headers = { "atlas-caller-region": region };
    const answer = await ask(http, "POST", "/v1/resources/witnesses/x/who", { headers });
    return [answer.body.result, answer.headers.get("atlas-caller-region")];
  };
  return { first, http, join, regionsOf };
}

test("a known region is accepted; an unknown one is ignored", async () => {
  const { first, regionsOf } = await regions("us", "eu");
  await untilBy(clock, () => first.knowsRegion("eu"), "it knows eu");
  expect(await regionsOf("us")).toEqual(["us", "us"]);
  expect(await regionsOf("eu")).toEqual(["eu", "eu"]);
  // An unknown region is not refused: otherwise all other regions would refuse clients of a region
  // that is away.
  expect(await regionsOf("nowhere")).toEqual(["us", "us"]);
  expect(first.knowsRegion("nowhere")).toBe(false);
});

test("a region stays known while its members are away", async () => {
  const { first, regionsOf } = await regions("us", "eu");
  await untilBy(clock, () => first.knowsRegion("eu"), "it knows eu");
  await clock.run((nodes.pop() as AtlasNode<typeof app>).close());
  await clock.advance(60_000);
  expect(await regionsOf("eu")).toEqual(["eu", "eu"]);
});

test("a region whose first node joins later is known soon", async () => {
  const { first, join, regionsOf } = await regions("us");
  expect(await regionsOf("eu")).toEqual(["us", "us"]);
  await join("eu");
  await untilBy(clock, () => first.knowsRegion("eu"), "it knows eu");
  expect(await regionsOf("eu")).toEqual(["eu", "eu"]);
});

test("regions of callers are treated the same on client sockets", async () => {
  const { first, http } = await regions("us", "eu");
  await untilBy(clock, () => first.knowsRegion("eu"), "it knows eu");
  const callers = async (region: string): Promise<unknown> => {
    const frames: { t: string; result?: unknown }[] = [];
    const socket: Socket = {
      send: (frame) => void frames.push(JSON.parse(String(frame))),
      buffered: () => 0,
      close: () => {},
    };
    const request = new Request("http://atlas.test/v1/connect/witnesses/x", {
      headers: { "atlas-caller-region": region },
    });
    http.connect(request, (handlers) => {
      handlers.open(socket);
      handlers.message(socket, JSON.stringify({ t: "call", id: 1, method: "who", args: [] }));
      return new Response();
    });
    const reply = () => frames.find(({ t }) => t === "reply");
    await untilBy(clock, () => reply() !== undefined, "it is answered");
    return reply()?.result;
  };
  expect(await callers("eu")).toBe("eu");
  expect(await callers("nowhere")).toBe("us");
});
