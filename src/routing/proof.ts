/**
 * Before a migration, asks a node of the target region whether it could claim the key now
 * (`$prove`), so that the key isn't given up for nothing; answers such requests of others.
 */
import { toAtlasError } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { Session } from "./links.ts";
import { askNode } from "./node_request.ts";
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
  const request = { key, method: PROVE, args: [], via: [self], timeoutMs: PROOF_MS, acts: false };
  await askNode(session, request, clock);
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
