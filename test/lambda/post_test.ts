/** A post office by itself: what it sends where lines come, break and can't be had. */
import { expect, test } from "vitest";
import { SeededRandom } from "../../sim/engine/random.ts";
import { AtlasError } from "../../src/errors.ts";
import { Discovery } from "../../src/lambda/bus/discovery.ts";
import { type BusLink, MessageBus } from "../../src/lambda/bus/message_bus.ts";
import { type BusMessage, readMessage, writeMessage } from "../../src/lambda/bus/messages.ts";
import { Process } from "../../src/lambda/bus/process.ts";
import { MAX_CONTACTS } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";

const HERE = { region: "r", node: "here", incarnation: "here-1", address: "x://here" };
const PEER = { region: "r", node: "peer", incarnation: "peer-1", address: "x://peer" };

/** A part that writes down what it is told. */
class Ear extends Process {
  readonly heard: string[] = [];
  readonly watched: string;

  constructor(watched: string) {
    super();
    this.watched = watched;
  }

  protected override started(): void {
    if (this.watched) this.context.watch(this.watched);
  }

  receive(letter: BusMessage): void {
    this.heard.push(letter.kind === "down" ? `down ${letter.address}` : letter.kind);
  }

  say(id: number): void {
    this.context.send("peer-1/broker", { kind: "cancel", id });
  }
}

/** A post office whose peer is in reach as long as there is a line to it. */
function office() {
  const sent: string[] = [];
  const line: BusLink = {
    peer: PEER,
    post({ letter, body }) {
      const read = readMessage(letter, body, "");
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
  const state: { line: BusLink | undefined } = { line: undefined };
  const dials: ((error: Error) => void)[] = [];
  const meetings: string[] = [];
  const post = new MessageBus({
    clock: fakeClock(),
    random: new SeededRandom(1, "post"),
    self: () => HERE,
    member: (incarnation) => incarnation === PEER.incarnation ? PEER : undefined,
    present: () => state.line,
    dial: () => new Promise((_, reject) => dials.push(reject)),
    meet(address) {
      meetings.push(address);
      return Promise.resolve(line);
    },
    onEvent: () => {},
  });
  const arrived = (message: BusMessage) => {
    const { tuple, body } = writeMessage(message, PEER.incarnation);
    post.arrived({ kind: "post", id: 0, to: "", from: "", letter: tuple, body }, line);
  };
  const settled = async () => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    return sent.splice(0);
  };
  return { post, state, line, dials, meetings, arrived, settled };
}

test("a peer hears again that its watches ended, until no line to it is left", async () => {
  const { post, state, line, arrived, settled } = office();
  post.spawn("broker", new Ear(""));
  arrived({ kind: "watch", process: "broker" });
  state.line = line;
  post.closed(PEER.incarnation);
  expect(await settled()).toEqual(["monitor_down broker"]);
  // The line over which that went had broken, too.
  post.closed(PEER.incarnation);
  expect(await settled()).toEqual(["monitor_down broker"]);
  state.line = undefined;
  post.closed(PEER.incarnation);
  state.line = line;
  post.closed(PEER.incarnation);
  expect(await settled()).toEqual([]);
});

test("what waits for a dial goes over the peer's own line, in order, once that is there", async () => {
  const { post, state, line, dials, settled } = office();
  const ear = new Ear("peer-1/broker");
  post.spawn("plb.1", ear);
  ear.say(1);
  expect(await settled()).toEqual([]);
  state.line = line;
  ear.say(2);
  expect(await settled()).toEqual(["watch", "1", "2"]);
  dials[0]?.(new AtlasError("unavailable", "refused"));
  expect(await settled()).toEqual([]);
  expect(ear.heard).toEqual([]);
});

test("a dial that fails loses nothing where the peer has a line of its own", async () => {
  const { post, state, line, dials, settled } = office();
  const ear = new Ear("peer-1/broker");
  post.spawn("plb.1", ear);
  state.line = line;
  dials[0]?.(new AtlasError("unavailable", "refused"));
  expect(await settled()).toEqual(["watch"]);
  expect(ear.heard).toEqual([]);
});

test("a dial that fails is told to who watches where there is no line", async () => {
  const { post, dials, settled } = office();
  const ear = new Ear("peer-1/broker");
  post.spawn("plb.1", ear);
  dials[0]?.(new AtlasError("unavailable", "refused"));
  expect(await settled()).toEqual([]);
  expect(ear.heard).toEqual(["down peer-1/broker"]);
});

test("who answered at an address is asked there over the link that is there", async () => {
  const { post, state, line, meetings } = office();
  const other = "x://another-name-of-peer";
  expect(await post.meet(other)).toBe(PEER.incarnation);
  state.line = line;
  expect(await post.meet(other)).toBe(PEER.incarnation);
  expect(meetings).toEqual([other]);
  state.line = undefined;
  expect(await post.meet(other)).toBe(PEER.incarnation);
  expect(meetings).toEqual([other, other]);
});

test("addresses at which somebody answered are forgotten in time", () => {
  const discovery = new Discovery(() => undefined);
  for (let n = 0; n <= MAX_CONTACTS; n++) discovery.met(`x://${n}`, `node-${n}`);
  expect(discovery.at("x://0")).toEqual([]);
  expect(discovery.at("x://1")).toEqual(["node-1"]);
});
