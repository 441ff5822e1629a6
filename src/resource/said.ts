/** What a running turn says to the connections of its resource, until it is committed. */
import { AtlasError } from "../errors.ts";
import { MAX_REPLAY_BYTES, MAX_REPLAY_EVENTS } from "../limits.ts";
import type { Seated } from "./connection.ts";
import type { Unsent } from "./replay.ts";

/** An event to one connection or to all, or the end of a connection. */
export type Said =
  | { readonly to: Seated | null; readonly data: Uint8Array }
  | { readonly to: Seated; readonly reason: string };

/** The events of a turn that are sent once it is committed. */
export function eventsOf(said: readonly Said[], epoch: number): Unsent[] {
  return said.flatMap((it) =>
    "data" in it && !it.to?.isGone ? [{ epoch, to: it.to?.id ?? null, data: it.data }] : []
  );
}

/** The error of a turn that says too much. */
export function tooMuch(): AtlasError {
  const most = `${MAX_REPLAY_EVENTS} events or ${MAX_REPLAY_BYTES} bytes of them`;
  const message = `a call may send at most ${most}`;
  return new AtlasError("payload_too_large", message);
}
