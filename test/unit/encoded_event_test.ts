/** Covers src/sockets/encoded_event.ts: which events are sent to a socket together. */
import { describe, expect, it } from "vitest";
import { jsonCodec, msgpackCodec } from "../../adapters/http_wire/socket_codec.ts";
import type { WireEvent } from "../../src/model/internal_methods.ts";
import { pack, unpack } from "../../src/model/value.ts";
import { runsOf } from "../../src/sockets/encoded_event.ts";

const event = (seq: number, to: string | null = null, data: unknown = seq): WireEvent => [
  seq,
  2,
  to,
  pack(data),
];
const numbers = (events: readonly WireEvent[]) =>
  runsOf(events).map((run) => run.events.map(({ seq }) => seq));

describe("events are sent together", () => {
  it("if they follow each other and are for all connections", () => {
    expect(numbers([1, 2, 3].map((seq) => event(seq)))).toEqual([[1, 2, 3]]);
    expect(numbers([])).toEqual([]);
  });

  it("but not across a gap in their numbers, because each socket is told of it", () => {
    expect(numbers([event(1), event(2), event(4), event(5)])).toEqual([[1, 2], [4, 5]]);
  });

  it("but not with one that is for a single connection", () => {
    const events = [event(1), event(2, "a"), event(3, "a"), event(4), event(5)];
    expect(numbers(events)).toEqual([[1], [2], [3], [4, 5]]);
    expect(runsOf(events).map(({ to }) => to)).toEqual([null, "a", "a", null]);
  });

  it("up to 64 KiB, and a larger one alone", () => {
    const large = (seq: number, bytes: number) => event(seq, null, "x".repeat(bytes));
    expect(numbers([large(1, 30_000), large(2, 30_000), large(3, 30_000)])).toEqual([[1, 2], [3]]);
    expect(numbers([event(1), large(2, 70_000), event(3)])).toEqual([[1], [2], [3]]);
  });
});

it("each codec encodes an event once for all sockets", () => {
  const [run] = runsOf([event(1), event(2)]);
  expect(run?.as(jsonCodec)).toBe(run?.as(jsonCodec));
  expect(run?.as(jsonCodec).frames).toEqual([
    '{"t":"event","seq":1,"epoch":2,"data":1}',
    '{"t":"event","seq":2,"epoch":2,"data":2}',
  ]);
  const bytes = run?.as(msgpackCodec).frames[1] as Uint8Array;
  expect(unpack(bytes)).toEqual({ t: "event", seq: 2, epoch: 2, data: 2 });
});
