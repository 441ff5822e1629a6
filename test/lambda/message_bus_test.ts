/**
 * Covers src/lambda/bus/message_bus.ts and monitors.ts: what a bus sends when links open, break and
 * can't be opened.
 */
import { expect, test } from "vitest";
import { SeededRandom } from "../../sim/engine/random.ts";
import { AtlasError } from "../../src/errors.ts";
import { type BusLink, Discovery, MessageBus } from "../../src/lambda/bus/message_bus.ts";
import { type BusMessage, readMessage, writeMessage } from "../../src/lambda/bus/messages.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { MAX_CONTACTS } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";

const HERE = { region: "r", node: "here", incarnation: "here-1", address: "x://here" };
const PEER = { region: "r", node: "peer", incarnation: "peer-1", address: "x://peer" };

/** A process that records what it receives. */
class Recorder extends Process {
  readonly received: string[] = [];
  readonly watched: string;

  constructor(watched: string) {
    super();
    this.watched = watched;
  }

  protected override started(): void {
    if (this.watched) this.context.watch(this.watched);
  }

  receive(message: BusMessage): void {
    this.received.push(message.kind === "down" ? `down ${message.address}` : message.kind);
  }

  send(id: number): void {
    this.context.send("peer-1/broker", { kind: "cancel", id });
  }
}

/** A message bus whose peer is reachable while there is a link to it. */
function makeBus() {
  const sent: string[] = [];
  const link: BusLink = {
    moduleCalls: 0,
    peer: PEER,
    sendToProcess(_to, _from, content, body) {
      const read = readMessage(content, body, "");
      sent.push(
        read.kind === "monitor_down"
          ? `monitor_down ${read.process}`
          : "id" in read
          ? `${read.id}`
          : read.kind,
      );
      return true;
    },
    close: () => {},
  };
  const state: { link: BusLink | undefined } = { link: undefined };
  const dials: ((error: Error) => void)[] = [];
  const meetings: string[] = [];
  const bus = new MessageBus({
    clock: fakeClock(),
    random: new SeededRandom(1, "bus"),
    self: () => HERE,
    incarnation: () => HERE.incarnation,
    member: (incarnation) => incarnation === PEER.incarnation ? PEER : undefined,
    present: () => state.link,
    dial: () => new Promise((_, reject) => dials.push(reject)),
    meet(address) {
      meetings.push(address);
      return Promise.resolve(link);
    },
    onEvent: () => {},
  });
  const arrived = (message: BusMessage, to = "") => {
    const { tuple, body } = writeMessage(message, PEER.incarnation);
    bus.arrived({ kind: "process", id: 0, to, from: "plb.9", content: tuple, body }, link);
  };
  const settled = async () => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    return sent.splice(0);
  };
  return { bus, state, link, dials, meetings, arrived, settled };
}

test("a peer gets a monitor's `down` again, until no link to it is left", async () => {
  const { bus, state, link, arrived, settled } = makeBus();
  bus.spawn("broker", new Recorder(""));
  arrived({ kind: "watch", process: "broker" });
  state.link = link;
  bus.closed(PEER.incarnation);
  expect(await settled()).toEqual(["monitor_down broker"]);
  // The link over which that was sent has broken, too.
  bus.closed(PEER.incarnation);
  expect(await settled()).toEqual(["monitor_down broker"]);
  state.link = undefined;
  bus.closed(PEER.incarnation);
  state.link = link;
  bus.closed(PEER.incarnation);
  expect(await settled()).toEqual([]);
});

test("messages queued for a dial are sent in order over a link that the peer opened", async () => {
  const { bus, state, link, dials, settled } = makeBus();
  const recorder = new Recorder("peer-1/broker");
  bus.spawn("plb.1", recorder);
  recorder.send(1);
  expect(await settled()).toEqual([]);
  state.link = link;
  recorder.send(2);
  expect(await settled()).toEqual(["watch", "1", "2"]);
  dials[0]?.(new AtlasError("unavailable", "refused"));
  expect(await settled()).toEqual([]);
  expect(recorder.received).toEqual([]);
});

test("a failed dial loses nothing if the peer opened a link", async () => {
  const { bus, state, link, dials, settled } = makeBus();
  const recorder = new Recorder("peer-1/broker");
  bus.spawn("plb.1", recorder);
  state.link = link;
  dials[0]?.(new AtlasError("unavailable", "refused"));
  expect(await settled()).toEqual(["watch"]);
  expect(recorder.received).toEqual([]);
});

test("the calls over a link that have no answer yet are counted, in both directions", () => {
  const { bus, state, link, arrived } = makeBus();
  state.link = link;
  const request: BusMessage = { kind: "request", id: 1, name: "pi", timeoutMs: 1, body: "[]" };
  const reply: BusMessage = { kind: "reply", id: 1, allowed: 1, body: "3" };
  bus.send("peer-1/channel.1", request);
  arrived(request, "channel.2");
  expect(link.moduleCalls).toBe(2);
  arrived(reply, "plb.1");
  bus.send("peer-1/plb.2", {
    kind: "failure",
    id: 1,
    allowed: 1,
    error: ["app", "no", false, true],
  });
  expect(link.moduleCalls).toBe(0);
  // The answer to a request that was sent over another link.
  arrived(reply, "plb.1");
  expect(link.moduleCalls).toBe(0);
});

test("a peer's request is delivered at once, but not before what is queued", async () => {
  const { bus, arrived, settled } = makeBus();
  const recorder = new Recorder("/nobody");
  const address = bus.spawn("channel.1", recorder);
  await settled();
  recorder.received.length = 0;
  const request: BusMessage = { kind: "request", id: 1, name: "pi", timeoutMs: 1, body: "[]" };
  arrived(request, "channel.1");
  expect(recorder.received).toEqual(["request"]);
  bus.send(address, { kind: "drain", used: 0 });
  arrived(request, "channel.1");
  expect(recorder.received).toEqual(["request"]);
  await settled();
  expect(recorder.received).toEqual(["request", "drain", "request"]);
});

test("a failed dial sends `down` to watchers if there is no link", async () => {
  const { bus, dials, settled } = makeBus();
  const recorder = new Recorder("peer-1/broker");
  bus.spawn("plb.1", recorder);
  dials[0]?.(new AtlasError("unavailable", "refused"));
  expect(await settled()).toEqual([]);
  expect(recorder.received).toEqual(["down peer-1/broker"]);
});

test("an open link to the node that answered at an address is used for that address", async () => {
  const { bus, state, link, meetings } = makeBus();
  const other = "x://another-name-of-peer";
  expect(await bus.meet(other)).toBe(PEER.incarnation);
  state.link = link;
  expect(await bus.meet(other)).toBe(PEER.incarnation);
  expect(meetings).toEqual([other]);
  state.link = undefined;
  expect(await bus.meet(other)).toBe(PEER.incarnation);
  expect(meetings).toEqual([other, other]);
});

test("addresses at which nodes answered are evicted", () => {
  const discovery = new Discovery(() => undefined);
  for (let n = 0; n <= MAX_CONTACTS; n++) discovery.met(`x://${n}`, `node-${n}`);
  expect(discovery.at("x://0")).toEqual([]);
  expect(discovery.at("x://1")).toEqual(["node-1"]);
});
