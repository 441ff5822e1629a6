/**
 * The port `Store` in this process's memory: the state machine of `store_state.ts`, whose steps
 * take effect only after the call returned. Many nodes of one process can share one store, and
 * compete for it as for a Redis.
 */
import type { MemberInfo, MemberState } from "../../src/model/member.ts";
import type { OwnerKnows } from "../../src/model/lost_turns.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  LineageName,
  Membership,
  OwnershipPage,
  Range,
  Reassertion,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
  Store,
} from "../../src/ports/store.ts";
import { closedError } from "./check.ts";
import { SINGLE_LINEAGE } from "./lineage.ts";
import { StoreState } from "./store_state.ts";

/**
 * A store in memory, for one process: tests, and clusters of a single process.
 *
 * @example
 * ```ts
 * const store = memoryStore();
 * const a = await createNode(app, { region: "local", node: "a", store, transport });
 * ```
 */
export function memoryStore(): Store {
  return new MemoryStore();
}

/** No copy can replace this store, so it ignores the lineages that callers know. */
class MemoryStore implements Store {
  readonly #state = new StoreState(SINGLE_LINEAGE.id, false, false);
  #isClosed = false;

  status(): "up" | "down" {
    return this.#isClosed ? "down" : "up";
  }

  async register(info: MemberInfo, { ifFree }: { ifFree: boolean }): Promise<RegisterReply> {
    return (await this.#arrive()).register(info, { ifFree });
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    return (await this.#arrive()).renew(incarnation, seq, watch);
  }

  async kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return (await this.#arrive()).kill(incarnation, seq);
  }

  async leave(info: MemberInfo): Promise<void> {
    (await this.#arrive()).leave(info);
  }

  async members(): Promise<Membership> {
    return (await this.#arrive()).members();
  }

  async lookup(key: string): Promise<Ownership | null> {
    return (await this.#arrive()).lookup(key);
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    return (await this.#arrive()).claim(claim);
  }

  async reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    return (await this.#arrive()).reassert(reassertions, lineage);
  }

  async release(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean> {
    return (await this.#arrive()).release(key, incarnation, epoch, after);
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    return (await this.#arrive()).list(prefix, cursor, limit);
  }

  async read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    return (await this.#arrive()).read(key, fields, knows);
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    return (await this.#arrive()).range(key, range, knows);
  }

  async commit(commit: Commit): Promise<CommitReply> {
    return (await this.#arrive()).commit(commit);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  /** Lets other calls of the same tick queue up first, as they do over a network. */
  async #arrive(): Promise<StoreState> {
    await null;
    if (this.#isClosed) throw closedError();
    return this.#state;
  }
}
