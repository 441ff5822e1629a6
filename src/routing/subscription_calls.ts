/**
 * Runs the internal methods of client sockets at the owner: joining, polling for events,
 * messages and leaving.
 *
 * Takes calls that only nodes may make; runs turns of the resource's hooks where they ask for
 * it. Polls for events are not turns: they wait beside the mailbox.
 *
 * Source: `docs/design.md`, Client sockets.
 */
import { AtlasError, toAtlasError } from "../errors.ts";
import type { ConnectionHandle, EventBroadcaster } from "../events/broadcaster.ts";
import { wireEvent } from "../events/subscriber.ts";
import type { Call } from "../model/call.ts";
import {
  CONNECT,
  EVENTS,
  type JoinRequest,
  type JoinResult,
  LEAVE,
  MESSAGE,
  REPLAY,
} from "../model/internal_methods.ts";
import type { Activation } from "../resource/activation.ts";

/** Answers an internal call of a subscriber. Always answers. */
export async function serveSubscription(call: Call, activation: Activation): Promise<void> {
  try {
    if (!activation.isOpen) throw activation.lost(false);
    const answer = await answerTo(call, activation.broadcaster);
    if (answer === undefined || call.done) return;
    // Connections that were joined to an owner that can't serve any more have to be joined to the
    // next one.
    if (!activation.isOpen && call.method === CONNECT) throw activation.lost(false);
    call.succeed(call.encode(answer), activation.owner, null);
  } catch (error) {
    call.fail(toAtlasError(error));
  }
}

/** The answer to such a call; undefined: it comes later. */
async function answerTo(call: Call, audience: EventBroadcaster): Promise<unknown> {
  const args = call.arguments();
  switch (call.method) {
    case CONNECT: {
      const [door, life, founded, applicants] = args as [string, string, boolean, JoinRequest[]];
      if (!await audience.subscribe(door, life, founded)) return null;
      return await admit(call, audience, door, applicants);
    }
    case EVENTS: {
      const [door, life, at, closed] = args as [string, string, number, number];
      return audience.poll(call, door, life, at, closed);
    }
    case REPLAY: {
      const [after, until, ids] = args as [number, number, string[]];
      const share = audience.replaySince(after, until, ids);
      return share && [share.upto, share.events.map(wireEvent)];
    }
    case MESSAGE: {
      const [door, id, messages, from] = args as [string, string, unknown[], number];
      const seated = audience.connectionsAt(id);
      if (!audience.subscriberOf(door)) return null;
      return seated ? await inTurn(seated, () => hear(call, audience, seated, messages, from)) : 0;
    }
    case LEAVE: {
      const [door, ids] = args as [string, string[]];
      await audience.leave(door, ids);
      return true;
    }
    default:
      throw new AtlasError("not_found", `there is no internal method ${call.method}`);
  }
}

/** Joins all connections, a turn each; an error of one doesn't affect the others. */
async function admit(
  call: Call,
  audience: EventBroadcaster,
  door: string,
  applicants: readonly JoinRequest[],
): Promise<JoinResult[]> {
  const visits = applicants.map((applicant) => audience.join(door, applicant, call));
  const admissions: JoinResult[] = [];
  for (const visit of visits) {
    const error = await visit.ended;
    if (error?.code === "not_owner") throw new AtlasError("not_owner", error.message);
    admissions.push(
      error ? [error.code, error.message, error.retryable] : audience.joinResult(visit),
    );
  }
  return admissions;
}

/** Runs it once earlier work for this connection is done. */
function inTurn(seated: ConnectionHandle, run: () => Promise<number>): Promise<number> {
  const heard = seated.delivering.then(run);
  seated.delivering = heard.catch(() => {});
  return heard;
}

/** How many of a connection's messages were delivered; 0: the connection has gone. */
async function hear(
  call: Call,
  audience: EventBroadcaster,
  seated: ConnectionHandle,
  messages: readonly unknown[],
  from: number,
): Promise<number> {
  let heard = 0;
  for (const message of messages) {
    if (from + heard <= seated.lastMessage) {
      // Their answer got lost.
      heard++;
      continue;
    }
    // Nobody waits for this any more: it is sent again.
    if (call.done || seated.isGone) return heard;
    const error = await audience.deliverMessage(seated, message, call).ended;
    // Not begun: it is sent again, here or to the next owner.
    if (error && !error.maybeExecuted && error.retryable) {
      if (heard === 0) throw error;
      return heard;
    }
    seated.lastMessage = from + heard++;
  }
  return heard;
}
