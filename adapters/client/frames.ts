/**
 * Encodes and decodes frames of client sockets at the client's end, as MessagePack. What a node
 * sends is not trusted: a frame that can't be read gives an error. Browser-safe.
 */
import { AtlasError, toAtlasError } from "../../src/errors.ts";
import type { ServerFrame } from "../../src/model/socket_frames.ts";
import { encodeValue, unpack } from "../../src/model/value.ts";

/** A frame of a node. */
export type Frame =
  | ServerFrame
  | { readonly t: "event"; readonly seq: number; readonly epoch: number; readonly data: unknown };

/** A node's frame, or an error if the data are no frame. An unknown kind of frame is accepted. */
export function readFrame(data: unknown): Frame | AtlasError {
  try {
    if (!(data instanceof ArrayBuffer)) throw new AtlasError("bad_request", "it is no bytes");
    const value = unpack(new Uint8Array(data));
    if (isFrame(value)) return value;
    throw new AtlasError("bad_request", "a field is missing, or of the wrong type");
  } catch (error) {
    return toAtlasError(error);
  }
}

function isFrame(value: unknown): value is Frame {
  if (typeof value !== "object" || value === null) return false;
  const frame = value as { readonly [name: string]: unknown };
  switch (frame["t"]) {
    case "hello":
      return typeof frame["connection"] === "string" && isCount(frame["epoch"]) &&
        isCount(frame["seq"]) && typeof frame["gap"] === "boolean";
    case "skip":
      return isCount(frame["seq"]);
    case "event":
      return isCount(frame["seq"]) && isCount(frame["epoch"]);
    case "reply": {
      if (!("error" in frame)) return true;
      const error = frame["error"] as { code?: unknown; message?: unknown } | null | undefined;
      return typeof error?.code === "string" && typeof error.message === "string";
    }
    default:
      return typeof frame["t"] === "string";
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A frame as bytes. @throws AtlasError `bad_request` if a part can't be encoded */
export function encodeFrame(frame: object): Uint8Array<ArrayBuffer> {
  return encodeValue(frame, "the frame") as Uint8Array<ArrayBuffer>;
}
