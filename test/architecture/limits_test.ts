/** docs/limits.md has the same values as the code. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { MAX_ADDRESSES } from "../../adapters/config/environment.ts";
import { MAX_ANSWER_BYTES, MAX_ANSWERS_BYTES } from "../../adapters/store/redis/http_requester.ts";
import { MAX_MESSAGES, MAX_TEXT_FRAME } from "../../adapters/transport/link_frames.ts";
import { MAX_HANDSHAKE_BYTES } from "../../adapters/transport/link_handshake.ts";
import { MAX_LOGGED } from "../../adapters/transport/link_refusals.ts";
import { HANDSHAKE_MS } from "../../adapters/transport/link_sessions.ts";
import {
  MAX_ACCEPTED_LINKS,
  MAX_HANDSHAKES,
  MAX_HANDSHAKES_EACH,
  MAX_LINKS_EACH,
} from "../../adapters/transport/link_slots.ts";
import * as limits from "../../src/limits.ts";

const text: string = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8");
const rows: string[][] = text.split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| what"))
  .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));

const bytes = (count: number): string =>
  count % 1_048_576 === 0
    ? `${count / 1_048_576} MiB`
    : count % 1_024 === 0 && count > 4_096
    ? `${count / 1_024} KiB`
    : `${count.toLocaleString("en")} bytes`;
const seconds = (ms: number): string => `${ms / 1_000} s`;
const count = (value: number): string => value.toLocaleString("en");

/** What a row's first cell is or begins with, and what its others must have. */
const SAID: readonly (readonly [row: string, ...values: string[]])[] = [
  ["head of a request", bytes(limits.MAX_HEAD_BYTES)],
  ["time for the first whole head", seconds(limits.HEAD_MS)],
  ["time between requests", seconds(limits.KEEP_ALIVE_MS)],
  ["time for a body", seconds(limits.DEFAULT_TIMEOUT_MS), seconds(limits.MAX_TIMEOUT_MS)],
  ["body", bytes(limits.MAX_BODY_BYTES)],
  [
    "pipelined requests on one connection",
    count(limits.MAX_PIPELINED),
    count(limits.MAX_SENT_AHEAD),
    `${limits.MAX_BEGUN_AT_ONCE} in one turn`,
  ],
  ["time in which a client reads nothing", seconds(limits.ANSWER_IDLE_MS)],
  [
    "a listener that accepts no connections",
    seconds(limits.LISTENER_PROBE_MS),
    `${limits.LISTENER_LOST}`,
  ],
  ["unfinished calls that start at one node", count(limits.MAX_CALLS)],
  ["messages that wait at one resource", count(limits.MAX_MAILBOX)],
  ["arguments of a call", count(limits.MAX_ARGUMENTS)],
  ["name of a method or function", count(limits.MAX_METHOD)],
  ["depth of a value", count(limits.MAX_VALUE_DEPTH)],
  ["an answer that the client library reads", bytes(limits.MAX_ANSWER_BYTES)],
  ["a deadline", seconds(limits.MAX_TIMEOUT_MS)],
  ["an idempotency key", bytes(limits.MAX_IDEMPOTENCY_KEY_BYTES)],
  ["a page of a listing", count(limits.MAX_PAGE)],
  ["turns that a node keeps of one resource", count(limits.MAX_OFFLINE_TURNS)],
  ["characters of all turns", count(limits.MAX_OFFLINE_CHARACTERS)],
  ["idempotency keys of one resource", count(limits.MAX_KNOWN_ANSWERS)],
  ["sockets of one node", count(limits.MAX_SOCKETS)],
  ["one message, all its fragments", bytes(limits.MAX_BODY_BYTES)],
  ["running calls of one socket", count(limits.MAX_SOCKET_CALLS)],
  ["messages of one socket that wait", count(limits.MAX_SOCKET_MESSAGES)],
  [
    "time in which Bun handles frames",
    `${limits.FRAMES_TURN_MS} ms`,
    `${bytes(limits.MAX_SOCKET_BUFFER_BYTES)} of one socket`,
    `${bytes(limits.MAX_HELD_BYTES)} of a node`,
  ],
  ["bytes that the client has not read yet", bytes(limits.MAX_SOCKET_BUFFER_BYTES)],
  ["silence of a client", seconds(limits.SOCKET_IDLE_MS)],
  [
    "messages of closed sockets that wait",
    seconds(limits.CLOSED_SOCKET_MS),
    bytes(limits.MAX_CLOSED_SOCKET_BYTES),
  ],
  ["time in which clients may close", seconds(limits.SOCKET_LEAVE_MS)],
  ["last events that a resource keeps", bytes(limits.MAX_TAIL_BYTES)],
  ["a handshake", seconds(HANDSHAKE_MS)],
  ["a frame of a handshake", bytes(MAX_HANDSHAKE_BYTES)],
  ["address that is dialled", count(limits.MAX_ADDRESS)],
  ["sockets in a handshake", count(MAX_HANDSHAKES)],
  ["such sockets from one IPv4 address", count(MAX_HANDSHAKES_EACH)],
  ["log lines about refused links", count(MAX_LOGGED)],
  ["links that one incarnation of a peer", count(MAX_LINKS_EACH)],
  ["links that peers hold open", count(MAX_ACCEPTED_LINKS)],
  ["one binary frame", bytes(limits.MAX_FRAME_BYTES)],
  ["one text frame", count(MAX_TEXT_FRAME), count(MAX_MESSAGES)],
  ["calls in flight on one link", count(limits.MAX_LINK_CALLS)],
  ["bytes that wait on one link", bytes(limits.MAX_LINK_BUFFER_BYTES)],
  ["`ATLAS_ADDRESSES`", count(MAX_ADDRESSES)],
  ["a member's row", bytes(limits.MAX_MEMBER_BYTES)],
  [
    "a member's types, roles, address and incarnation",
    `${count(limits.MAX_MEMBER_TYPES)} types`,
    `${count(limits.MAX_MEMBER_ROLES)} roles`,
    `${count(limits.MAX_ADDRESS)} characters`,
    `${limits.MAX_INCARNATION} characters`,
  ],
  ["an ownership's entry", count(limits.MAX_ENTRY)],
  ["unreadable rows and entries", count(limits.MAX_LOGGED_ROWS)],
  ["one answer of an HTTP registry", bytes(MAX_ANSWER_BYTES)],
  ["all answers that are being read", bytes(MAX_ANSWERS_BYTES)],
];

describe("docs/limits.md", () => {
  it.each(SAID)("%s: says the code's values", (row, ...values) => {
    const found = rows.find(([what]) => what === row) ??
      rows.find(([what]) => what?.startsWith(row));
    const cells = found?.slice(1, 3).join(" ") ?? "no such row";
    for (const value of values) expect(cells).toContain(value);
  });

  it("names an existing test for each row", () => {
    expect(rows.filter(([, , , test]) => !test).map(([what]) => what)).toEqual([]);
    const files = rows.flatMap((row) => [...(row[3] ?? "").matchAll(/`([a-z_]+\/[a-z_]+\.ts)`/g)]);
    expect(files.length).toBeGreaterThan(30);
    for (const [, file] of files) {
      expect(existsSync(new URL(`../${file}`, import.meta.url)), file).toBe(true);
    }
  });
});
