/**
 * Asks several servers of one kind in turn until one answers: a traveller who asks the next
 * passer-by.
 *
 * It takes addresses and a question, and gives the first answer, or one error with what
 * each of them said.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { unavailable } from "./check.ts";
import type { RedisAddress } from "./redis_client.ts";
import { REFUSED } from "./redis_info.ts";

/** The longest that one server is given to answer, in ms. */
const PATIENCE_MS = 1_000;

/** One question to each of several servers. */
export interface Inquiry<Answer> {
  /** What is asked for, as the beginning of a message: `X can't be found`. */
  readonly what: string;
  /** In the order in which they are asked. */
  readonly addresses: readonly RedisAddress[];
  /** How long all of it may take, in ms. */
  readonly timeoutMs: number;
  ask(address: RedisAddress, timeoutMs: number): Promise<Answer>;
}

/**
 * The first answer.
 *
 * @throws AtlasError `bad_request` where every server refuses for a reason that stays,
 * `unavailable` otherwise.
 */
export async function askInTurn<Answer>(inquiry: Inquiry<Answer>): Promise<Answer> {
  const { what, addresses, timeoutMs, ask } = inquiry;
  const giveUp = performance.now() + timeoutMs;
  const share = Math.min(PATIENCE_MS, timeoutMs / Math.max(1, addresses.length));
  const reasons: string[] = [];
  let refusals = 0;
  for (const address of addresses) {
    try {
      return await ask(address, Math.max(1, Math.min(share, giveUp - performance.now())));
    } catch (error) {
      const why = messageOf(error);
      if (REFUSED.test(why)) refusals++;
      reasons.push(`${address.host}:${address.port}: ${why}`);
    }
  }
  const message = `${what} can't be found: ${reasons.join("; ").slice(0, 1_000)}`;
  if (refusals > 0 && refusals === addresses.length) throw new AtlasError("bad_request", message);
  throw unavailable(message);
}
