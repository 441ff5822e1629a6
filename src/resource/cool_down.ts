/**
 * Until when a resource that has followed its callers stays where it is. The time is kept in its
 * state, by the wall clock, so that the next owner respects it; it is deleted with the first
 * read after that time.
 */
import { FOLLOW_COOL_DOWN_MS } from "../limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { Activation } from "./activation.ts";
import { HookCall, NOWHERE } from "../events/hook_call.ts";

/** Its field in the state; users' keys have another prefix. */
const REST = "q:rest";

/** Starts the cool-down, in a turn of its own. Never rejects. */
export async function beginCoolDown(activation: Activation, clock: Clock): Promise<void> {
  const until = Math.ceil(clock.wall()) + FOLLOW_COOL_DOWN_MS;
  await inTurn(activation, () => activation.turnCommit.storage.reserve(REST, String(until)));
}

/**
 * The rest of the cool-down, in ms; 0: it may move. Where it can't be read, the whole time. Never
 * rejects.
 */
export async function coolDownLeft(activation: Activation, clock: Clock): Promise<number> {
  let left = FOLLOW_COOL_DOWN_MS;
  const isTold = await inTurn(activation, async () => {
    const { storage } = activation.turnCommit;
    const text = await storage.field(REST);
    // Another node's wall clock may be ahead of this one.
    left = Math.min(FOLLOW_COOL_DOWN_MS, Math.max(0, (Number(text) || 0) - clock.wall()));
    if (text !== null && left === 0) storage.reserve(REST, null);
  });
  return isTold ? left : FOLLOW_COOL_DOWN_MS;
}

/** Whether the turn of `work` was committed. */
async function inTurn(activation: Activation, work: () => unknown): Promise<boolean> {
  const hookCall = new HookCall(activation.key, "resting", Infinity, NOWHERE, work);
  activation.deliver(hookCall);
  return await hookCall.ended === null;
}
