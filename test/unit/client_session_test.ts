/**
 * Covers src/sockets/client_session.ts: a client's socket before and after it has joined. Nothing
 * is sent before hello.
 */
import { describe, expect, it } from "vitest";
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import { ClientSession, type SessionHost } from "../../src/sockets/client_session.ts";
import { type EventRun, runsOf } from "../../src/sockets/encoded_event.ts";
import { AtlasError } from "../../src/errors.ts";
import {
  MAX_SOCKET_BUFFER_BYTES,
  MAX_SOCKET_CALLS,
  MAX_SOCKET_MESSAGES,
} from "../../src/limits.ts";
import type { WireEvent } from "../../src/model/internal_methods.ts";
import { pack } from "../../src/model/value.ts";

/** A session, the frames that its client got, and what was called for it. */
function openSession(host: Partial<SessionHost> = {}) {
  // deno-lint-ignore no-explicit-any
  const frames: any[] = [];
  const done: unknown[] = [];
  const batches = Object.assign([] as number[], { buffered: 0 });
  const closed: [number, string][] = [];
  const session = new ClientSession(
    {
      deadlines: { add: () => {}, remove: () => {} },
      now: () => 0,
      stats: { cutSockets: 0 },
      call: (_session, frame) => {
        done.push(frame.id);
        return Promise.resolve({ result: frame.args[0] });
      },
      deliverMessages: (_session, messages) => {
        done.push(...messages);
        return Promise.resolve(messages.length);
      },
      closed: () => {},
      ended: () => {},
      ...host,
    },
    { id: "one", codec: jsonCodec, after: null, former: null },
    {
      send: (data) => void frames.push(JSON.parse(data as string)),
      sendAll: (batch) => {
        batches.push(batch.frames.length);
        for (const data of batch.frames) frames.push(JSON.parse(data as string));
      },
      buffered: () => batches.buffered,
      close: (code, reason) => void closed.push([code, reason]),
    },
  );
  const send = (frame: unknown) => session.received(JSON.stringify(frame));
  const join = () => session.joined(7, 3, null, []);
  return { session, frames, done, closed, batches, send, join };
}

const call = (id: number | string, more: object = {}) => ({
  t: "call",
  id,
  method: "echo",
  args: [id],
  ...more,
});
/** Lets promises that can settle do so. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

describe("before hello", () => {
  it("calls wait, and are answered after it in order", async () => {
    const { frames, done, send, join } = openSession();
    for (const id of [1, 2]) send(call(id));
    await settled();
    expect([frames, done]).toEqual([[], []]);
    join();
    await settled();
    expect(done).toEqual([1, 2]);
    expect(frames).toEqual([
      { t: "hello", connection: "one", epoch: 7, seq: 3, gap: false },
      { t: "reply", id: 1, result: 1 },
      { t: "reply", id: 2, result: 2 },
    ]);
  });

  it("errors of invalid calls and of one too many wait, too", async () => {
    const { frames, done, send, join } = openSession();
    send(call("bad", { args: "x" }));
    for (let id = 0; id <= MAX_SOCKET_CALLS; id++) send(call(id));
    await settled();
    expect(frames).toEqual([]);
    join();
    await settled();
    expect(frames[0].t).toBe("hello");
    expect(frames).toHaveLength(1 + 1 + MAX_SOCKET_CALLS + 1);
    expect(done).toHaveLength(MAX_SOCKET_CALLS);
    const answers = new Map(frames.slice(1).map((frame) => [frame.id, frame.error?.code]));
    expect(answers.get("bad")).toBe("bad_request");
    expect(answers.get(MAX_SOCKET_CALLS)).toBe("overloaded");
    expect(answers.get(0)).toBeUndefined();
  });

  it("messages and calls keep their order", async () => {
    const { done, send, join } = openSession();
    send({ t: "message", data: "a" });
    send(call(1));
    send({ t: "message", data: "b" });
    join();
    await settled();
    expect(done).toEqual(["a", 1, "b"]);
  });

  it.each([
    ["invalid calls", MAX_SOCKET_MESSAGES + MAX_SOCKET_CALLS + 1, call("bad", { args: "x" })],
    ["large calls", 5, call("bad", { args: "x".repeat(MAX_SOCKET_BUFFER_BYTES / 4) })],
  ])("too many waiting frames close the session: %s", (_what, count, frame) => {
    const { closed, frames, send } = openSession();
    for (let i = 0; i < count; i++) send(frame);
    expect(closed).toEqual([[1013, "too many of its messages are waiting"]]);
    expect(frames).toEqual([]);
  });

  it("an invalid frame closes the session at once, and waiting calls are never made", async () => {
    const { closed, done, send } = openSession();
    send(call(1));
    send({ t: "talk" });
    await settled();
    expect(closed).toMatchObject([[4400, /^bad_request: /]]);
    expect(done).toEqual([]);
  });

  it("a final failure to join closes the session with the reason, and answers nothing", async () => {
    const { session, closed, done, frames, send } = openSession();
    send(call(1));
    session.reject(new AtlasError("not_found", "there is none"));
    await settled();
    expect(closed).toEqual([[4404, "not_found: there is none"]]);
    expect([done, frames]).toEqual([[], []]);
  });
});

it("a call is passed on with the time that it has waited", async () => {
  let now = 1_000;
  const waits: number[] = [];
  const { send, join } = openSession({
    now: () => now,
    call: (_session, _frame, waitedMs) => {
      waits.push(waitedMs);
      return Promise.resolve({ result: null });
    },
  });
  send(call(1));
  now += 250;
  join();
  send(call(2));
  await settled();
  expect(waits).toEqual([250, 0]);
});

it("invalid calls are answered as soon as it has joined, also while a message is delivered", async () => {
  const { frames, send, join } = openSession({ deliverMessages: () => new Promise(() => {}) });
  join();
  send({ t: "message", data: "a" });
  send(call("bad", { args: "x" }));
  await settled();
  expect(frames[1]).toMatchObject({ t: "reply", id: "bad", error: { code: "bad_request" } });
});

describe("events that follow each other", () => {
  const run = (first: number, last: number) => {
    const events: WireEvent[] = [];
    for (let seq = first; seq <= last; seq++) events.push([seq, 7, null, pack(seq)]);
    return runsOf(events)[0] as EventRun;
  };
  const seqs = (frames: { t: string; seq: number }[]) => frames.map(({ t, seq }) => [t, seq]);

  it("are sent at once, and count as received", () => {
    const { session, frames, batches, join } = openSession();
    join();
    session.sendRun(run(4, 6));
    session.sendRun(run(7, 7));
    expect([...batches]).toEqual([3, 1]);
    expect(session.position).toBe(7);
    expect(seqs(frames)).toEqual([["hello", 3], ["event", 4], ["event", 5], ["event", 6], [
      "event",
      7,
    ]]);
  });

  it("are sent one by one if some of them were received already, or some before are missing", () => {
    const { session, frames, batches, join } = openSession();
    join();
    session.sendRun(run(2, 4));
    session.sendRun(run(6, 7));
    expect([...batches]).toEqual([]);
    expect(seqs(frames).slice(1)).toEqual([["event", 4], ["skip", 5], ["event", 6], ["event", 7]]);
  });

  it("wait for hello", () => {
    const { session, frames, join } = openSession();
    session.sendRun(run(3, 5));
    expect(frames).toEqual([]);
    join();
    expect(seqs(frames)).toEqual([["hello", 3], ["event", 4], ["event", 5]]);
  });

  it("close a session whose client reads too slowly, and nothing follows", () => {
    const { session, closed, batches, join } = openSession();
    join();
    batches.buffered = MAX_SOCKET_BUFFER_BYTES;
    session.sendRun(run(4, 5));
    expect(closed).toEqual([]);
    batches.buffered++;
    session.sendRun(run(6, 7));
    session.sendRun(run(8, 9));
    expect(closed).toEqual([[1013, "it reads too slowly"]]);
    expect([...batches]).toEqual([2, 2]);
  });
});
