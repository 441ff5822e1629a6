/**
 * Covers src/lambda/bus/messages.ts and src/lambda/bus/wire_shapes.ts: valid messages are decoded
 * as sent, invalid ones are rejected.
 */
import { expect, test } from "vitest";
import { type BusMessage, readMessage, writeMessage } from "../../src/lambda/bus/messages.ts";
import type { Order } from "../../src/lambda/bus/order.ts";

const [HERE, THERE, ELSEWHERE] = ["here-1", "there-2", "elsewhere-3"];
const contact = { region: "r", node: "n", incarnation: HERE, address: "ws://x/atlas/link" };
const label = { version: "1.2.3", exports: ["a", "b"], hash: "00ff" };
const order: Order = {
  id: 3,
  revision: 4,
  side: "buy",
  module: "calc",
  quantity: 5,
  nearby: 1,
  newer: 2,
  than: "1.0.0",
  version: "",
  range: ">=1.0.0 <2.0.0-0",
  prefer: "near",
  regions: ["r", "s"],
  trader: "/plb.1",
  contact,
};
const listing = { module: "calc", exchange: "/exchange.1", contact };
const topology = { contact, authorities: [contact], exchanges: [listing] };
const body = new Uint8Array([1, 2, 3]);

const MESSAGES: BusMessage[] = [
  { kind: "watch", process: "p" },
  { kind: "monitor_down", process: "p" },
  { kind: "syn", ...topology },
  { kind: "topology", ...topology },
  { kind: "join", contact, modules: ["a"] },
  { kind: "order", order },
  { kind: "cancel", id: 3 },
  {
    kind: "match",
    id: 1,
    revision: 2,
    seller: `${ELSEWHERE}/listener.1`,
    offer: 4,
    contact,
    quantity: 3,
    version: "1.0.0",
  },
  { kind: "open", nonce: 1, want: 2, range: null, contact },
  { kind: "accept", nonce: 1, channel: "/channel.2", grant: 2, contact, label },
  { kind: "request", id: 1, name: "pi", timeoutMs: 5, body },
  { kind: "reply", id: 1, allowed: 2, body },
  { kind: "failure", id: 1, allowed: 2, error: ["app", "m", false, true] },
  { kind: "credit", allowed: 9 },
  { kind: "upgraded", label, after: 7 },
  { kind: "full", id: 3, revision: 4 },
  { kind: "lower", used: 5, grant: 1, returned: 2 },
];

test("a message is decoded as it was sent, with its sender's own addresses under its incarnation", () => {
  for (const message of MESSAGES) {
    const written = writeMessage(message, HERE);
    expect(written.body).toEqual("body" in message ? body : "");
    const text = JSON.stringify(message).replaceAll('"/', `"${HERE}/`);
    const read = readMessage(written.tuple, written.body, THERE);
    expect(JSON.stringify(read)).toBe(text);
    // Sent back, they are its own again.
    expect(readMessage(writeMessage(read, THERE).tuple, written.body, HERE)).toEqual(message);
  }
});

test("messages that stay within a node can't be encoded", () => {
  for (const kind of ["down", "resize", "close", "halt", "shrunk", "moved"] as const) {
    expect(() => writeMessage({ kind } as BusMessage, HERE)).toThrow("is never sent between nodes");
  }
});

test("every field of a message from another node is validated", () => {
  const odd = [null, undefined, -1, 1.5, "x".repeat(5_000), {}, [], ["a"], NaN, true, new Map()];
  let refusals = 0;
  for (const message of MESSAGES) {
    const { tuple } = writeMessage(message, HERE);
    for (let at = 0; at < tuple.length; at++) {
      for (const value of odd) {
        const changed = tuple.with(at, value);
        try {
          const read = readMessage(changed, "", THERE);
          // A field that is accepted must have the right type.
          expect(JSON.stringify(writeMessage(read, THERE).tuple).length).toBeGreaterThan(0);
        } catch (error) {
          refusals++;
          expect(error).toMatchObject({ code: "bad_request" });
        }
      }
    }
    expect(() => readMessage(tuple.slice(0, 1), "", THERE)).toThrow("lacks a field");
  }
  expect(refusals).toBeGreaterThan(300);
  expect(() => readMessage([999], "", THERE)).toThrow("unknown kind");
  expect(() => readMessage([], "", THERE)).toThrow("unknown kind");
});
