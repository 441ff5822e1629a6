/** Helpers of the store suite: fresh keys, a claim in one line, a wait by polling. */
import { expect } from "vitest";
import { isAtlasError } from "../../src/errors.ts";
import type { MemberInfo } from "../../src/model/member.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Claim, ClaimReply, Store } from "../../src/ports/store.ts";

let count = 0;

/** A name that no other test uses. */
export function fresh(prefix: string): string {
  return `${prefix}-${++count}-${crypto.randomUUID().slice(0, 8)}`;
}

/** A key that no other test uses. */
export function freshKey(type = "channels"): string {
  return `${type}/${fresh("id")}`;
}

/** A member that nobody has seen, of a node of its own unless one is named. */
export function freshMember(over: Partial<MemberInfo> = {}): MemberInfo {
  return {
    incarnation: crypto.randomUUID(),
    region: "test",
    node: fresh("node"),
    address: "ws://127.0.0.1:1/v1/link",
    hosts: ["channels", "sessions"],
    ...over,
  };
}

/** A claim of `key` by a node `node`; all other fields are new unless given. */
export function claimOf(key: string, over: Partial<Claim> = {}): Claim {
  return {
    key,
    rrp: `rrp:test/node/${key}`,
    incarnation: crypto.randomUUID(),
    opId: crypto.randomUUID(),
    expected: null,
    ...over,
  };
}

/** Claims a key that nobody owns, and gives the ownership. */
export async function own(
  store: Store,
  key: string,
  over: Partial<Claim> = {},
): Promise<Ownership> {
  const reply: ClaimReply = await store.claim(claimOf(key, over));
  expect(reply.won).toBe(true);
  return reply.owner as Ownership;
}

/** Checks that `step` rejects with an AtlasError of this code, whose message or detail holds `part`. */
export async function refuses(step: Promise<unknown>, code: string, part = ""): Promise<void> {
  const error = await step.then(() => null, (reason) => reason);
  expect(isAtlasError(error), String(error)).toBe(true);
  expect(error.code).toBe(code);
  expect([error.message, error.detail].join("\n")).toContain(part);
}

/**
 * Polls `ask` until its result is neither undefined nor an error, for a minute at most; gives the
 * result.
 */
export async function eventually<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const giveUp = performance.now() + 60_000;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (performance.now() > giveUp) throw error;
    }
    if (performance.now() > giveUp) throw new Error("it never came to be");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
