/**
 * The two encodings of client sockets: JSON as text, and MessagePack as bytes. Takes and gives
 * frames of `src/model/socket_frames.ts`; values that JSON can't express are encoded as in answers
 * over HTTP (`json.ts`). Also reads the subprotocols that a request offers.
 */
import { AtlasError } from "../../src/errors.ts";
import type { Codec } from "../../src/model/socket_frames.ts";
import { encodeValue, pack, unpack } from "../../src/model/value.ts";
import type { HeaderReader } from "../../src/ports/runtime.ts";
import { concat } from "./body.ts";
import { parseJson, toJson } from "./json.ts";

/** The subprotocol that asks for MessagePack. */
export const MSGPACK_PROTOCOL = "atlas.msgpack";
/** The subprotocol of JSON, which is also the default. */
export const JSON_PROTOCOL = "atlas.json";

const utf8 = new TextEncoder();

export const jsonCodec: Codec = {
  name: "json",
  encode: toJson,
  event: (seq, epoch, data) => {
    const json = toJson(unpack(data) ?? null);
    return `{"t":"event","seq":${seq},"epoch":${epoch},"data":${json}}`;
  },
  decode: (data) => {
    if (typeof data === "string") return parseJson(utf8.encode(data));
    throw new AtlasError("bad_request", "frames are JSON text; for bytes ask for atlas.msgpack");
  },
};

/** A fixmap of four, up to the last key (MessagePack: map format family). */
const FOUR = new Uint8Array([0x84]);
const T = pack("t");
const EVENT = pack("event");
const SEQ = pack("seq");
const EPOCH = pack("epoch");
const DATA = pack("data");

export const msgpackCodec: Codec = {
  name: "msgpack",
  encode: (frame) => {
    // The result is encoded separately, because it may use the whole depth that a value may have.
    if (frame.t !== "reply" || !("result" in frame)) return encodeValue(frame, "the frame");
    const { t, id, verdict } = frame;
    const head = pack({ t, id, ...verdict !== undefined && { verdict }, result: null });
    const result = encodeValue(frame.result, "result");
    return concat([head.subarray(0, -1), result], head.length - 1 + result.length);
  },
  event: (seq, epoch, data) => {
    const parts = [FOUR, T, EVENT, SEQ, pack(seq), EPOCH, pack(epoch), DATA, data];
    return concat(parts, parts.reduce((sum, part) => sum + part.length, 0));
  },
  decode: (data) => {
    if (typeof data !== "string") return unpack(data);
    throw new AtlasError("bad_request", "frames are MessagePack bytes, as atlas.msgpack says");
  },
};

/** The start of the subprotocol that carries the token, percent-encoded. */
export const TOKEN_PROTOCOL = "atlas.token.";
/** The start of the subprotocol that carries the secret of the connection to resume. */
export const RESUME_PROTOCOL = "atlas.resume.";

/** The subprotocols that a request offers, in its order (RFC 6455 §11.3.4). */
export function protocolsOf(headers: HeaderReader): string[] {
  const text = headers.get("sec-websocket-protocol") ?? "";
  return text.split(",").map((protocol) => protocol.trim()).filter((protocol) => protocol !== "");
}

/** The first offered subprotocol that starts with `prefix`; undefined if none does. */
export function offeredWith(prefix: string, offered: readonly string[]): string | undefined {
  return offered.find((protocol) => protocol.startsWith(prefix));
}
