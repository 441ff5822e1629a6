/**
 * A proof that another region can take a key: the landlord there turns the key in the lock
 * before the old flat is given up.
 *
 * Sends one question over a link, and gives nothing where the answer is yes; answers such
 * questions of others.
 */
import { AtlasError, fromWireError, toAtlasError } from "../errors.ts";
import { encodeBody } from "../model/call.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Session } from "./links.ts";
import type { Places } from "./places.ts";
import type { RelayedCall } from "./relayed_call.ts";

/** Asks a node whether its region can take a key now. For nodes only. */
export const PROVE = "$prove";
/** How long the answer is waited for, in ms. */
const PROOF_MS = 5_000;

/** @throws AtlasError that says why the region can't take `key`, or that nobody answered */
export async function prove(
  key: string,
  session: Session,
  self: string,
  clock: Clock,
): Promise<void> {
  let id = 0;
  const answer = new Promise<void>((resolve, reject) => {
    id = session.request({
      key,
      method: PROVE,
      body: encodeBody([], "argument"),
      timeoutMs: PROOF_MS,
      epoch: 0,
      idempotencyKey: null,
      chain: [],
      trail: { via: [self], region: null, trace: null },
      relay: true,
    }, {
      relay: true,
      replied: () => resolve(),
      failed: ({ error }) => reject(fromWireError(error)),
      lost: (reason) =>
        reject(new AtlasError("unavailable", `the link to ${session.name} broke: ${reason}`)),
    });
  });
  let timer: Timer | null = null;
  const silence = new Promise<never>((_, reject) => {
    timer = clock.after(PROOF_MS, () => {
      session.cancel(id);
      reject(new AtlasError("unavailable", `${session.name} did not answer in ${PROOF_MS} ms`));
    });
  });
  await Promise.race([answer, silence]).finally(() => timer?.cancel());
}

/** Answers such a question of another node. */
export async function answerProof(call: RelayedCall, places: Places): Promise<void> {
  try {
    await places.prove(call.key, call.type);
    call.succeed(call.encode(null), { rrp: "", incarnation: "", epoch: 0 }, null);
  } catch (error) {
    call.reject(toAtlasError(error));
  }
}
