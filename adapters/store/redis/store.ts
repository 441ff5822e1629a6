/**
 * The port `Store` over a Redis, whether a single server, a cluster or an HTTP endpoint. Claims,
 * releases, commits and reads of a tick are one script. Lookups are part of that script too, unless
 * the connection certainly leads to the server that writes; then they are one MGET. On a cluster
 * they are split by slot.
 *
 * An epoch is `term × 2^36 + counter`; the term rises when another copy of the data answers, which
 * its replication id tells. If the connection waits for replicas, it does so for every script that
 * writes.
 *
 * Source: `docs/design.md`, Names and epochs; Store failover.
 */
import { detailOf } from "../../../src/errors.ts";
import { MAX_DEAD_MEMBERS, MAX_MEMBER_BYTES } from "../../../src/limits.ts";
import type { OwnerKnows } from "../../../src/model/lost_turns.ts";
import type { MemberInfo, MemberState } from "../../../src/model/member.ts";
import type { NodeEvent } from "../../../src/model/node_event.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import { refusalOf } from "../../../src/model/refusal.ts";
import { slotOf } from "../../../src/model/rrp.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  CommittedTurn,
  KnownLineage,
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
} from "../../../src/ports/store.ts";
import { Batcher, type Queued } from "../batch.ts";
import {
  BrokenEntry,
  checkClaim,
  checkCommit,
  checkRange,
  checkReassertions,
  checkWhole,
  failedStep,
  publicError,
  unavailable,
} from "../check.ts";
import { lostWhereBroken } from "../lineage.ts";
import { checkMember } from "../member_rows.ts";
import { keyOf, ownPattern, pageOf, parseEntry, slotKey, Unlisted } from "./keys.ts";
import { KILL, LEAVE, MEMBER_KEYS, MEMBERS, REGISTER, RENEW } from "./membership_scripts.ts";
import {
  brokenBy,
  infoText,
  listOf,
  malformed,
  membershipOf,
  registrationOf,
  renewalOf,
  standingReply,
  stateReply,
  textOrNull,
} from "./replies.ts";
import { SCAN, STEPS } from "./scripts.ts";
import {
  claimReply,
  claimStep,
  commitStep,
  doneOf,
  type Found,
  keptReply,
  keptStep,
  lookupStep,
  rangeReply,
  rangeStep,
  readReply,
  readStep,
  reassertStep,
  releaseStep,
  scriptOf,
  type Step,
  writes,
} from "./steps.ts";

/** How a store reaches its Redis. Every failure MUST reject with an AtlasError. */
export interface RedisBackend {
  readonly up: boolean;
  /** Whether one script may touch keys of one slot only. */
  readonly clustered: boolean;
  /**
   * Runs one of `SCRIPTS` where writes are done, never on a replica.
   *
   * A backend MAY send it again if the answer was lost, unless `once` is set: repeated scripts
   * change nothing, but a repeated release can't tell what the first one did.
   */
  script(
    script: string,
    keys: readonly string[],
    args: readonly string[],
    once?: boolean,
  ): Promise<unknown>;
  /** Values of keys, from the server that writes; absent if a replica might answer. */
  mget?(keys: readonly string[]): Promise<unknown>;
  /**
   * Resolves once enough replicas have everything that was written over this backend so far;
   * rejects if too few have it. Absent: the store waits for no replica.
   *
   * @param key any key of the slot that was written to.
   */
  confirm?(key: string): Promise<void>;
  /**
   * Present if several servers write: the replication id of each copy of the data that answers.
   * Absent: the server that runs a script adds its own.
   */
  lineageIds?(): Promise<string[]>;
  close(): void;
}

/** The largest number of steps in one script or MGET. */
const MAX_BATCH_STEPS = 128;
/** The most times that a registration is sent while members are pruned meanwhile. */
const MAX_REGISTRATIONS = 8;

interface Get {
  readonly key: string;
  readonly slot: number;
}

/** A store over `backend`; a batch ends at `maxText` code units of arguments. */
export class RedisStore implements Store {
  readonly #backend: RedisBackend;
  readonly #onFound: (found: Found) => void;
  readonly #steps: Batcher<Step>;
  readonly #gets: Batcher<Get>;
  /** The latest version of membership in any answer. */
  #version = 0;

  /** @param onEvent gets what the store detects by itself. MUST NOT throw. */
  constructor(
    backend: RedisBackend,
    maxText: number,
    onEvent: (event: NodeEvent) => void = () => {},
  ) {
    this.#backend = backend;
    this.#onFound = (found) => reportFound(found, onEvent);
    const limits = { maxOps: MAX_BATCH_STEPS, maxSize: maxText };
    this.#steps = new Batcher<Step>({
      ...limits,
      sizeOf,
      run: (batch) => this.#bySlot(batch, (part) => this.#runSteps(part)),
    });
    this.#gets = new Batcher<Get>({
      ...limits,
      sizeOf: ({ key }) => key.length,
      run: (batch) => this.#bySlot(batch, (part) => this.#runGets(part)),
    });
  }

  status(): "up" | "down" {
    return this.#backend.up ? "up" : "down";
  }

  async register(
    member: MemberInfo,
    options: { ifFree: boolean; known?: KnownLineage | null },
  ): Promise<RegisterReply> {
    checkMember(member);
    const { incarnation, region, node } = member;
    for (let sent = 0; sent < MAX_REGISTRATIONS; sent++) {
      const { outcome, version, lineage } = registrationOf(
        await this.#write(REGISTER, MEMBER_KEYS, [
          incarnation,
          `${region}/${node}`,
          infoText(member),
          options.ifFree ? "1" : "0",
          String(MAX_DEAD_MEMBERS),
          String(this.#version),
          ...await this.#lineageArguments(options.known),
        ]),
      );
      this.#noteVersion(version);
      if (outcome !== "stale") return { outcome, version, lineage };
    }
    throw publicError(`${node} can't register: members end faster than it can ask`);
  }

  async renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known?: KnownLineage | null,
  ): Promise<RenewReply> {
    checkWhole("seq", seq, 0);
    const args = [incarnation, String(seq), ...await this.#lineageArguments(known), ...watch];
    const reply = renewalOf(await this.#write(RENEW, MEMBER_KEYS, args));
    this.#noteVersion(reply.version);
    return reply;
  }

  async kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return stateReply(await this.#write(KILL, MEMBER_KEYS, [incarnation, String(seq)]));
  }

  async leave(member: MemberInfo): Promise<void> {
    checkMember(member);
    const args = [member.incarnation, infoText(member)];
    stateReply(await this.#write(LEAVE, MEMBER_KEYS, args));
  }

  async members(): Promise<Membership> {
    const membership = membershipOf(
      await this.#backend.script(MEMBERS, MEMBER_KEYS, [
        await this.#copies(),
        String(MAX_MEMBER_BYTES),
      ]),
    );
    this.#noteVersion(membership.version);
    return membership;
  }

  async lookup(key: string): Promise<Ownership | null> {
    const reply = this.#backend.mget
      ? await this.#gets.push<unknown>({ key, slot: slotOf(key) })
      : await this.#step(lookupStep(key));
    const text = textOrNull(`owner of ${JSON.stringify(key)}`, reply);
    return text === null ? null : parseEntry(key, text);
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    checkClaim(claim);
    return claimReply(claim, await this.#step(claimStep(claim)), this.#onFound);
  }

  async reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    checkReassertions(reassertions, lineage);
    const standings = await Promise.all(reassertions.map(async (reassertion) => {
      try {
        const reply = await this.#step(reassertStep(reassertion, lineage));
        return reply === 0 ? null : standingReply(reassertion.key, reply);
      } catch (error) {
        return lostWhereBroken(error);
      }
    }));
    return standings.includes(null) ? null : standings as Standing[];
  }

  async kept(
    turns: readonly CommittedTurn[],
    lineage: LineageName,
  ): Promise<readonly Stamp[] | null> {
    const kept = await Promise.all(turns.map(async (turn) => {
      try {
        return keptReply(turn, await this.#step(keptStep(turn.key, lineage)));
      } catch (error) {
        // Unknown: readers of the state get the error that it can't be read.
        if (error instanceof BrokenEntry) return turn.last;
        throw error;
      }
    }));
    return kept.includes(null) ? null : kept as Stamp[];
  }

  async release(...owned: Parameters<Store["release"]>): Promise<boolean> {
    return doneOf(owned[0], "release", await this.#step(releaseStep(...owned)));
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    const unlisted = new Unlisted();
    const page = await pageOf({
      cursor,
      limit,
      scan: (from, count) => this.#scan(from, count),
      fetch: async (redisKeys) => {
        const keys = redisKeys.map(keyOf).filter((key) => key !== null);
        const found = await unlisted.among(
          keys,
          async (key) => [key, await this.lookup(key)] as const,
        );
        return found.filter((pair): pair is [string, Ownership] =>
          pair[1] !== null && pair[1].rrp.startsWith(prefix)
        );
      },
    });
    return unlisted.in(page);
  }

  async read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    if (fields.length === 0) return [];
    return readReply(key, fields, await this.#step(readStep(key, fields, knows)));
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    checkRange(range);
    return rangeReply(key, await this.#step(rangeStep(key, range, knows)), this.#onFound);
  }

  commit(commit: Commit): Promise<CommitReply> {
    try {
      checkCommit(commit);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#steps.push(commitStep(commit));
  }

  async close(): Promise<void> {
    this.#backend.close();
  }

  #step(step: Step): Promise<unknown> {
    return this.#steps.push(step);
  }

  /** A cluster takes only keys of one slot in one command. */
  #bySlot<Op extends Get>(batch: Queued<Op>[], run: (part: Queued<Op>[]) => void): void {
    if (!this.#backend.clustered) return run(batch);
    Map.groupBy(batch, ({ op }) => op.slot).forEach((part) => run(part));
  }

  #runSteps(batch: Queued<Step>[]): void {
    const steps = batch.map(({ op }) => op);
    const { keys, args } = scriptOf(steps);
    const once = steps.some(({ args: [kind] }) => kind === "R");
    settle(
      batch,
      steps.some(writes)
        ? this.#write(STEPS, keys, args, once)
        : this.#backend.script(STEPS, keys, args, once),
      decoded,
    );
  }

  /** Runs a script that writes; its answer counts once replicas have its writes. */
  async #write(
    script: string,
    keys: readonly string[],
    args: readonly string[],
    once?: boolean,
  ): Promise<unknown> {
    const reply = await this.#backend.script(script, keys, args, once);
    await this.#backend.confirm?.(keys[0] as string).catch((error) => {
      // The script ran, so its effect may exist even if later commands were refused.
      throw refusalOf(error) === null ? error : unavailable(detailOf(error), error);
    });
    return reply;
  }

  /** The arguments about the lineage of the membership scripts. */
  async #lineageArguments(known: KnownLineage | null = null): Promise<string[]> {
    const replicas = this.#backend.confirm ? "1" : "0";
    const copies = await this.#copies();
    if (known === null) return ["", "", "0", replicas, copies];
    return [known.id, String(known.term), known.waited ? "1" : "0", replicas, copies];
  }

  /** The ids of all copies as one id, if the data are spread over several servers. */
  async #copies(): Promise<string> {
    return (await this.#backend.lineageIds?.())?.join() ?? "";
  }

  #runGets(batch: Queued<Get>[]): void {
    const keys = batch.map(({ op }) => slotKey(op.slot, "own", op.key));
    const replies = (this.#backend.mget as NonNullable<RedisBackend["mget"]>)(keys);
    settle(batch, replies, (_, reply) => reply);
  }

  async #scan(from: string, count: number): Promise<[next: string, redisKeys: string[]]> {
    const reply = await this.#backend.script(SCAN, [], [from, ownPattern(), String(count)]);
    const [next, redisKeys] = listOf("scan", reply, 2);
    if (typeof next !== "string") throw malformed("scan's cursor", next);
    const found = listOf("scan", redisKeys).map((key) => textOrNull("scan", key));
    return [next, found.filter((key) => key !== null)];
  }

  #noteVersion(version: number): void {
    this.#version = Math.max(this.#version, version);
  }
}

/** The size of a step's arguments, in UTF-16 code units. */
function sizeOf({ args, by }: Step): number {
  let size = by ? by.incarnation.length + by.lineage.length : 0;
  for (const arg of args) size += arg.length;
  return size;
}

/** Gives each entry its own reply as `decode` reads it, or all of them the error. */
function settle<Op>(
  batch: Queued<Op>[],
  replies: Promise<unknown>,
  decode: (op: Op, reply: unknown) => unknown,
): void {
  const settled = (all: readonly unknown[]): void => {
    for (let i = 0; i < batch.length; i++) {
      const { op, resolve, reject } = batch[i] as Queued<Op>;
      try {
        resolve(decode(op, all[i]));
      } catch (error) {
        reject(error as Error);
      }
    }
  };
  replies.then((all) => listOf("a batch", all, batch.length)).then(
    settled,
    (error) => batch.forEach((entry) => entry.reject(error)),
  );
}

/** A step's answer. @throws the error of a step that failed by itself */
function decoded({ key, decode }: Step, reply: unknown): unknown {
  if (typeof reply !== "string" || !reply.startsWith("!")) {
    return decode ? decode(key, reply) : reply;
  }
  const refusal = reply.slice(1);
  throw brokenBy(key, refusal) ??
    failedStep(refusal, `the store can't use ${JSON.stringify(key)}: ${refusal}`);
}

export function reportFound(found: Found, onEvent: (event: NodeEvent) => void): void {
  if (found.kind === "counter") {
    const { slot, epoch } = found;
    const fields = { slot, epoch };
    return onEvent({ level: "error", event: "epoch counter lost", fields });
  }
  const { key, fields: kept, members } = found;
  if (kept > members) {
    const fields = { key, fields: kept, indexed: members };
    return onEvent({ level: "warning", event: "index rebuilt", fields });
  }
  if (kept === 0) return;
  const fields = { key, kept, missing: members - kept };
  onEvent({ level: "error", event: "state partly lost", fields });
}
