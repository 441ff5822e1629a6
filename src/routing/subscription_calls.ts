/**
 * Runs the internal methods of client sockets at the owner: joining, polling for events,
 * messages and leaving.
 *
 * Takes calls that only nodes may make. Runs the resource's hooks in turns for the calls that need
 * it. Polls for events are not turns: they wait outside the mailbox.
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
    // If the owner can no longer serve, its connections have to be joined to the next owner.
    if (!activation.isOpen && call.method === CONNECT) throw activation.lost(false);
    call.succeed(call.encode(answer), activation.owner, null);
  } catch (error) {
    call.fail(toAtlasError(error));
  }
}

/** The answer to such a call; undefined: it comes later. */
async function answerTo(call: Call, broadcaster: EventBroadcaster): Promise<unknown> {
  const args = call.arguments();
  switch (call.method) {
    case CONNECT: {
      const [subscriber, life, mayCreate, requests] = args as [
        string,
        string,
        boolean,
        JoinRequest[],
      ];
      if (!await broadcaster.openSubscriber(subscriber, life, mayCreate)) return null;
      return await joinAll(call, broadcaster, subscriber, requests);
    }
    case EVENTS: {
      const [subscriber, life, at, closed] = args as [string, string, number, number];
      return broadcaster.poll(call, subscriber, life, at, closed);
    }
    case REPLAY: {
      const [after, until, ids] = args as [number, number, string[]];
      const share = broadcaster.replaySince(after, until, ids);
      return share && [share.upto, share.events.map(wireEvent)];
    }
    case MESSAGE: {
      const [subscriber, id, messages, from] = args as [string, string, unknown[], number];
      const connection = broadcaster.connection(id);
      if (!broadcaster.subscriber(subscriber)) return null;
      return connection
        ? await inOrder(connection, () => deliverAll(call, broadcaster, connection, messages, from))
        : 0;
    }
    case LEAVE: {
      const [subscriber, ids] = args as [string, string[]];
      await broadcaster.leave(subscriber, ids);
      return true;
    }
    default:
      throw new AtlasError("not_found", `there is no internal method ${call.method}`);
  }
}

/** Joins all connections, a turn each; an error of one doesn't affect the others. */
async function joinAll(
  call: Call,
  broadcaster: EventBroadcaster,
  subscriber: string,
  requests: readonly JoinRequest[],
): Promise<JoinResult[]> {
  const joins = requests.map((request) => broadcaster.join(subscriber, request, call));
  const results: JoinResult[] = [];
  for (const join of joins) {
    const error = await join.ended;
    if (error?.code === "not_owner") throw new AtlasError("not_owner", error.message);
    results.push(
      error ? [error.code, error.message, error.retryable] : broadcaster.joinResult(join),
    );
  }
  return results;
}

/** Runs `run` once earlier work for this connection is done. */
function inOrder(connection: ConnectionHandle, run: () => Promise<number>): Promise<number> {
  const delivered = connection.delivering.then(run);
  connection.delivering = delivered.catch(() => {});
  return delivered;
}

/** How many of a connection's messages were delivered; 0: the connection no longer exists. */
async function deliverAll(
  call: Call,
  broadcaster: EventBroadcaster,
  connection: ConnectionHandle,
  messages: readonly unknown[],
  from: number,
): Promise<number> {
  let delivered = 0;
  for (const message of messages) {
    if (from + delivered <= connection.lastMessage) {
      // These messages were delivered before, and the answer got lost.
      delivered++;
      continue;
    }
    // The subscriber no longer waits for this answer, and sends the message again.
    if (call.done || connection.isGone) return delivered;
    const error = await broadcaster.deliverMessage(connection, message, call).ended;
    // The turn has not begun: the message is sent again, to this owner or to the next one.
    if (error && !error.maybeExecuted && error.retryable) {
      if (delivered === 0) throw error;
      return delivered;
    }
    connection.lastMessage = from + delivered++;
  }
  return delivered;
}
