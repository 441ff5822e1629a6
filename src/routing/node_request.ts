/**
 * Sends a request to a node itself (`$prove`, `$drain`), over a link that has proven which node
 * it leads to.
 *
 * Takes a session, a method and its arguments; resolves to nothing on success, else to the other
 * node's error, or to the reason why no answer came in time.
 */
import { AtlasError, fromWireError } from "../errors.ts";
import type { Session } from "../links/links.ts";
import { encodeBody } from "../model/body.ts";
import { requestTuple } from "../model/envelope.ts";
import type { Clock, Timer } from "../ports/clock.ts";

export interface NodeRequest {
  /** The key of a resource, or one made for the request. */
  readonly key: string;
  readonly method: string;
  readonly args: readonly unknown[];
  /** The nodes that it went through, this one last. */
  readonly via: readonly string[];
  readonly timeoutMs: number;
  /**
   * Whether the request changes something at that node. If no answer comes, the change may still
   * have happened.
   */
  readonly acts: boolean;
}

/** @throws AtlasError the other node's error, or `unavailable` if it doesn't answer */
export async function askNode(
  session: Session,
  { key, method, args, via, timeoutMs, acts }: NodeRequest,
  clock: Clock,
): Promise<void> {
  const lost = (why: string): AtlasError =>
    new AtlasError("unavailable", why, { maybeExecuted: acts });
  let id = 0;
  const answer = new Promise<void>((resolve, reject) => {
    const path = { via, region: null, trace: null };
    const tuple = requestTuple(0, key, method, timeoutMs, 0, null, [], path, true);
    id = session.request(tuple, encodeBody(args, "argument"), {
      relay: true,
      replied: () => resolve(),
      failed: ({ error }) => reject(fromWireError(error)),
      lost: (reason) => reject(lost(`the link to ${session.name} broke: ${reason}`)),
    });
  });
  let timer: Timer | null = null;
  const silence = new Promise<never>((_, reject) => {
    timer = clock.after(timeoutMs, () => {
      session.cancel(id);
      reject(lost(`${session.name} did not answer in ${Math.round(timeoutMs)} ms`));
    });
  });
  await Promise.race([answer, silence]).finally(() => timer?.cancel());
}
