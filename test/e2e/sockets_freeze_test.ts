/**
 * The owner of client sockets is frozen past its lease, and taken over: clients at other nodes stay
 * connected, get no event twice, and get a gap if events may be missing; clients of the frozen node
 * get nothing from the former owner when it resumes, and continue with the next owner.
 */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import type { ChannelMessage } from "../../examples/channels/app.ts";
import { call, history, result } from "./calls.ts";
import { type Cluster, REDIS, type Registry, SQLITE, startCluster } from "./cluster.ts";
import { freeze } from "./freeze.ts";
import { endAll, type NodeProcess, type RuntimeName } from "./process.ts";
import { until } from "../support/until.ts";

const APP = fileURLToPath(new URL("./apps/rooms.ts", import.meta.url));
const RUNTIMES: readonly RuntimeName[] = ["bun", "deno", "node"];
/** Longer than a lease and a takeover on a busy machine. */
const PATIENCE_MS = 60_000;
const PATIENT = { timeoutMs: PATIENCE_MS, patienceMs: 2 * PATIENCE_MS };
/** The number of messages sent in a row. */
const MANY = 10;

let registry: Registry;
let cluster: Cluster;
beforeAll(async () => {
  registry = await (REDIS.missing ? SQLITE : REDIS).open();
  cluster = await startCluster({
    registry: registry.url,
    runtimes: RUNTIMES,
    // A heartbeat and a lease that a busy machine can keep.
    lease: "1000/5000",
    env: { ATLAS_APP: APP },
  });
}, 120_000);
afterAll(async () => {
  await endAll();
  await registry?.close();
}, 60_000);

/** A frame of the socket protocol, as docs/sockets.md has it. */
interface Frame {
  readonly t: "hello" | "event" | "skip" | "reply" | "ping";
  readonly connection: string;
  readonly id?: number;
  readonly epoch: number;
  readonly seq: number;
  readonly gap: boolean;
  readonly data: { readonly seq: number; readonly text: string };
  readonly result?: { readonly seq: number; readonly epoch: number };
  readonly error?: { readonly retryable: boolean; readonly maybeExecuted: boolean };
}

/** A socket without the client library; records every frame. */
class Listener {
  readonly frames: Frame[] = [];
  readonly #socket: WebSocket;

  constructor(url: string, id: string) {
    this.#socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/connect/channels/${id}`);
    this.#socket.onmessage = ({ data }) => this.frames.push(JSON.parse(data as string));
  }

  of(t: Frame["t"]): Frame[] {
    return this.frames.filter((frame) => frame.t === t);
  }

  /** The texts of its events. */
  get texts(): string[] {
    return this.of("event").map(({ data }) => data.text);
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  say(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  close(): void {
    this.#socket.close();
  }

  /** The errors in the order of its frames; empty if there are none. */
  get troubles(): string[] {
    const troubles: string[] = [];
    let [last, epoch] = [-1, 0];
    for (const { t, seq, gap, epoch: told } of this.frames) {
      if (t === "reply" || t === "ping") continue;
      const isFollowing = t === "hello" ? gap || last < 0 || seq >= last : seq > last;
      if (!isFollowing) troubles.push(`${t} ${seq} after ${last}`);
      if (t === "event" && seq !== last + 1) troubles.push(`event ${seq} after ${last}, no gap`);
      if (t !== "skip" && told < epoch) troubles.push(`${t} of epoch ${told} after ${epoch}`);
      if (t !== "hello" || gap || last < 0) last = seq;
      epoch = Math.max(epoch, told ?? 0);
    }
    return troubles;
  }
}

describe("SIGSTOP of an owner of client sockets past its lease, then SIGCONT", () => {
  test.for(RUNTIMES.map((runtime, place) => ({ runtime, place })))(
    "$runtime",
    { timeout: 180_000 },
    async ({ place }) => await freezeAndThaw(place),
  );
});

async function freezeAndThaw(place: number): Promise<void> {
  const id = `stage-${place}`;
  const owner = cluster.nodes[place] as NodeProcess;
  const [live, other] = cluster.nodes.filter((node) => node !== owner) as [
    NodeProcess,
    NodeProcess,
  ];
  const old = await result<{ epoch: number }>(owner.url, `channels/${id}`, "whereami");
  const [near, far] = [new Listener(owner.url, id), new Listener(live.url, id)];
  const all = [near, far];
  await until(() => all.every((it) => it.of("hello").length > 0), "both are joined");

  /** The acknowledged texts, by their number in the channel. */
  const told = new Map<number, string>();
  const send = async (text: string): Promise<{ seq: number; epoch: number }> => {
    const settings = { ...PATIENT, key: text };
    const args = ["ann", text];
    const sent = await result<{ seq: number; epoch: number }>(
      other.url,
      `channels/${id}`,
      "send",
      args,
      settings,
    );
    told.set(sent.seq, text);
    return sent;
  };
  const row = async (title: string): Promise<string[]> => {
    const texts = Array.from({ length: MANY }, (_, i) => `${title} ${i}`);
    for (const text of texts) await send(text);
    return texts;
  };
  const before = await row("before");
  await until(() => all.every(({ texts }) => texts.length === MANY), "both heard all");

  // This turn would send an event when the process resumes: it takes less time than a takeover.
  const late = call(other.url, `channels/${id}`, "sendLater", ["ann", "late", 4_000], PATIENT);
  await until(() => owner.output.stderr.includes("begun late"), "the slow turn");
  await freeze(owner, registry.url);
  const asleep = near.frames.length;
  // These wait at the frozen process: a message, calls, and a socket to be accepted.
  near.say({ t: "message", data: { from: "near", text: "noted" } });
  near.say({ t: "call", id: 1, method: "send", args: ["near", "called"], timeoutMs: PATIENCE_MS });
  near.say({ t: "call", id: 2, method: "whereami", timeoutMs: PATIENCE_MS });
  // Between its two incarnations a node refuses sockets: a client dials again.
  const newcomer: { epoch: number; text?: string }[] = [];
  const client = connect(owner.url).connect<ChannelMessage>("channels", id, {
    onHello: ({ epoch }) => newcomer.push({ epoch }),
    onEvent: ({ epoch, data }) => newcomer.push({ epoch, text: data.text }),
  });

  const first = await send("taken over");
  expect(first.epoch).toBeGreaterThan(old.epoch);
  await until(() => far.of("hello").length > 1, "it is joined to the next owner", PATIENCE_MS);
  const during = await row("during");
  const heardAll = (listener: Listener, texts: readonly string[]) =>
    until(() => texts.every((text) => listener.texts.includes(text)), "it heard all", PATIENCE_MS);
  await heardAll(far, during);
  expect(near.frames.length, "the frozen one says nothing").toBe(asleep);

  owner.signal("SIGCONT");
  await until(() => near.of("reply").length === 2, "its calls are answered", PATIENCE_MS);
  await until(() => near.of("hello").length > 1, "it is joined to the next owner", PATIENCE_MS);
  await until(() => newcomer.length > 0, "the newcomer is joined, too", PATIENCE_MS);
  near.say({ t: "message", data: { from: "near", text: "awake" } });
  const after = await row("after");
  for (const listener of all) await heardAll(listener, [...after, "awake"]);
  const newest = after.at(-1);
  await until(() => newcomer.some(({ text }) => text === newest), "the newcomer hears, too");

  const { status, body } = await late;
  // The former owner began this turn and can't know its outcome.
  expect({ status, ...body.error }).toMatchObject({ status: 503, maybeExecuted: true });
  for (const { isOpen, troubles } of all) {
    expect({ isOpen, troubles }).toEqual({ isOpen: true, troubles: [] });
  }
  // No frame of the resumed process comes from the former owner.
  for (const { epoch } of newcomer) expect(epoch, "newcomer").toBeGreaterThan(old.epoch);
  for (const { t, epoch, result } of near.frames.slice(asleep)) {
    if (t !== "skip" && t !== "ping" && (result || t !== "reply")) {
      expect(epoch ?? result?.epoch, t).toBeGreaterThan(old.epoch);
    }
  }
  const kept = (await history(live.url, id)).map(({ text }) => text);
  const reply = near.of("reply").find((frame) => frame.id === 1);
  if (reply?.result) told.set(reply.result.seq, "called");
  else if (!reply?.error?.maybeExecuted) expect(kept).not.toContain("called");
  expect(kept).not.toContain("late");
  expect(new Set(kept).size, "nothing was kept twice").toBe(kept.length);
  for (const [seq, text] of told) expect(kept[seq - 1]).toBe(text);
  // Events are missing only in a gap: those sent before it joined again.
  for (const { texts, frames } of all) {
    expect(new Set(texts).size, "nothing was heard twice").toBe(texts.length);
    const [, again] = frames.filter(({ t }) => t === "hello");
    expect(again?.gap).toBe(true);
    expect(again?.connection).toBe(frames[0]?.connection);
    expect(texts).toEqual(kept.filter((text) => texts.includes(text)));
    expect(texts.slice(0, MANY)).toEqual(before);
  }
  for (const listener of [...all, client]) listener.close();
}
