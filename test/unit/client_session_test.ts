/** A client's socket at its door before it is joined: nothing is said before hello. */
import { describe, expect, it } from "vitest";
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import { ClientSession, type ClientSessionParts } from "../../src/sockets/client_session.ts";
import { AtlasError } from "../../src/errors.ts";
import {
  MAX_SOCKET_BUFFER_BYTES,
  MAX_SOCKET_CALLS,
  MAX_SOCKET_MESSAGES,
} from "../../src/limits.ts";

/** A seat, what its client has heard, and what it has had done. */
function seated(parts: Partial<ClientSessionParts> = {}) {
  // deno-lint-ignore no-explicit-any
  const heard: any[] = [];
  const done: unknown[] = [];
  const closed: [number, string][] = [];
  const seat = new ClientSession({
    id: "one",
    codec: jsonCodec,
    after: null,
    former: null,
    now: () => 0,
    stats: { cutSockets: 0 },
    call: (frame) => {
      done.push(frame.id);
      return Promise.resolve({ result: frame.args[0] });
    },
    deliverMessages: (_seat, messages) => {
      done.push(...messages);
      return Promise.resolve(messages.length);
    },
    ended: () => {},
    ...parts,
  }, {
    send: (data) => void heard.push(JSON.parse(data as string)),
    buffered: () => 0,
    close: (code, reason) => void closed.push([code, reason]),
  });
  const say = (frame: unknown) => seat.received(JSON.stringify(frame));
  const join = () => seat.joined(7, 3, null, []);
  return { seat, heard, done, closed, say, join };
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
  it("calls wait, and are answered after it, in order", async () => {
    const { heard, done, say, join } = seated();
    for (const id of [1, 2]) say(call(id));
    await settled();
    expect([heard, done]).toEqual([[], []]);
    join();
    await settled();
    expect(done).toEqual([1, 2]);
    expect(heard).toEqual([
      { t: "hello", connection: "one", epoch: 7, seq: 3, gap: false },
      { t: "reply", id: 1, result: 1 },
      { t: "reply", id: 2, result: 2 },
    ]);
  });

  it("so do answers to calls that are none, or one too many", async () => {
    const { heard, done, say, join } = seated();
    say(call("bad", { args: "x" }));
    for (let id = 0; id <= MAX_SOCKET_CALLS; id++) say(call(id));
    await settled();
    expect(heard).toEqual([]);
    join();
    await settled();
    expect(heard[0].t).toBe("hello");
    expect(heard).toHaveLength(1 + 1 + MAX_SOCKET_CALLS + 1);
    expect(done).toHaveLength(MAX_SOCKET_CALLS);
    const answers = new Map(heard.slice(1).map((frame) => [frame.id, frame.error?.code]));
    expect(answers.get("bad")).toBe("bad_request");
    expect(answers.get(MAX_SOCKET_CALLS)).toBe("overloaded");
    expect(answers.get(0)).toBeUndefined();
  });

  it("messages and calls keep their order", async () => {
    const { done, say, join } = seated();
    say({ t: "message", data: "a" });
    say(call(1));
    say({ t: "message", data: "b" });
    join();
    await settled();
    expect(done).toEqual(["a", 1, "b"]);
  });

  it.each([
    ["calls that are none", MAX_SOCKET_MESSAGES + MAX_SOCKET_CALLS + 1, call("bad", { args: "x" })],
    ["large ones", 5, call("bad", { args: "x".repeat(MAX_SOCKET_BUFFER_BYTES / 4) })],
  ])("too much of what waits cuts it: %s", (_what, count, frame) => {
    const { closed, heard, say } = seated();
    for (let i = 0; i < count; i++) say(frame);
    expect(closed).toEqual([[1013, "too many of its messages are waiting"]]);
    expect(heard).toEqual([]);
  });

  it("a frame that is none closes it at once; what waits is never done", async () => {
    const { closed, done, say } = seated();
    say(call(1));
    say({ t: "talk" });
    await settled();
    expect(closed).toMatchObject([[4400, /^bad_request: /]]);
    expect(done).toEqual([]);
  });

  it("joining that fails for good closes it with why, and answers nothing", async () => {
    const { seat, closed, done, heard, say } = seated();
    say(call(1));
    seat.reject(new AtlasError("not_found", "there is none"));
    await settled();
    expect(closed).toEqual([[4404, "not_found: there is none"]]);
    expect([done, heard]).toEqual([[], []]);
  });
});

it("tells with a call how long it has waited", async () => {
  let now = 1_000;
  const waits: number[] = [];
  const { say, join } = seated({
    now: () => now,
    call: (_frame, waitedMs) => {
      waits.push(waitedMs);
      return Promise.resolve({ result: null });
    },
  });
  say(call(1));
  now += 250;
  join();
  say(call(2));
  await settled();
  expect(waits).toEqual([250, 0]);
});

it("answers calls that are none at once when it is joined, also while a message is being heard", async () => {
  const { heard, say, join } = seated({ deliverMessages: () => new Promise(() => {}) });
  join();
  say({ t: "message", data: "a" });
  say(call("bad", { args: "x" }));
  await settled();
  expect(heard[1]).toMatchObject({ t: "reply", id: "bad", error: { code: "bad_request" } });
});
