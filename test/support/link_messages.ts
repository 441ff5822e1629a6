/** Messages of links in frames, for tests that write and read raw links. */
import {
  bytesOf,
  frameOf,
  readFrame,
  readTextFrame,
  TextBuffer,
} from "../../adapters/transport/link_frames.ts";
import type { Body } from "../../src/model/body.ts";
import { bodyOf, decodeMessage, type Message, tupleOf } from "../../src/model/envelope.ts";
import { pack } from "../../src/model/value.ts";

/** A binary frame of one message. */
export function binaryFrame(message: Message): Uint8Array {
  return frameOf(pack(tupleOf(message)), bytesOf(bodyOf(message)));
}

/** A text frame of messages whose bodies are text. */
export function textFrame(...messages: readonly Message[]): string {
  const buffer = new TextBuffer();
  for (const message of messages) buffer.add(tupleOf(message), bodyOf(message) as string, 0);
  return buffer.take();
}

/** The messages in a frame. */
export function messagesIn(frame: string | Uint8Array): Message[] {
  const messages: Message[] = [];
  const take = (tuple: unknown, body: Body) => messages.push(decodeMessage(tuple, body)) > 0;
  if (typeof frame === "string") readTextFrame(frame, take);
  else readFrame(frame, take);
  return messages;
}
