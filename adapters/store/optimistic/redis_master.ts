/** The port `Master` in one Redis, over TCP or HTTP. Each step is one script. */
import { messageOf } from "../../../src/errors.ts";
import { MAX_DEAD_MEMBERS, MAX_ENTRY, MAX_MEMBER_BYTES } from "../../../src/limits.ts";
import { LostTurns, type OwnerKnows } from "../../../src/model/lost_turns.ts";
import type { MemberInfo, MemberState } from "../../../src/model/member.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import { stepRefused } from "../../../src/model/refusal.ts";
import { slotOf } from "../../../src/model/rrp.ts";
import type {
  Claim,
  Commit,
  CommitReply,
  Membership,
  OwnershipPage,
  Range,
  RegisterReply,
  RenewReply,
  Stamp,
} from "../../../src/ports/store.ts";
import { brokenEntry, publicError } from "../check.ts";
import { NO_STAMP, SINGLE_LINEAGE } from "../lineage.ts";
import { checkMember } from "../member_rows.ts";
import { keyOf, pageOf, Unlisted } from "../redis/keys.ts";
import {
  brokenBy,
  infoText,
  listOf,
  malformed,
  membershipOf,
  registrationOf,
  renewalOf,
  stampOf,
  stateReply,
  textOrNull,
} from "../redis/replies.ts";
import { SCAN } from "../redis/scripts.ts";
import type { RedisBackend } from "../redis/store.ts";
import { greatest, type Master, type MasterClaim, ownershipOf } from "./master.ts";
import {
  KILL_AT,
  LEAVE_AT,
  memberKeys,
  MEMBERS_AT,
  REGISTER_AT,
  RENEW_AT,
} from "./membership_scripts.ts";
import { mergedRange, mergedRead } from "./merge_fields.ts";
import type { Masters } from "./options.ts";
import {
  COMMIT,
  LEFT,
  RANGE,
  READ,
  READ_CLAIMS,
  SETTLE,
  WITHDRAW,
  WRITE_CLAIM,
} from "./ownership_scripts.ts";

/** All scripts of the strategy, to be loaded when a connection opens. */
export const OPTIMISTIC_SCRIPTS: readonly string[] = [
  READ_CLAIMS,
  WRITE_CLAIM,
  WITHDRAW,
  SETTLE,
  COMMIT,
  READ,
  RANGE,
  LEFT,
  REGISTER_AT,
  RENEW_AT,
  KILL_AT,
  LEAVE_AT,
  MEMBERS_AT,
  SCAN,
];

/** The lineage as the scripts report it: masters that copy each other have one. */
const ONE_LINEAGE: readonly unknown[] = [SINGLE_LINEAGE.id, SINGLE_LINEAGE.term, "1"];

/** The most times that a registration is sent while members are pruned meanwhile. */
const MAX_REGISTRATIONS = 8;

type Kind = "claim" | "epoch" | "state" | "index";

export class RedisMaster implements Master {
  readonly #backend: RedisBackend;
  readonly #masters: Masters;
  /** The own master's index from 1, and how many there are: the first arguments of each script. */
  readonly #place: readonly string[];
  readonly #memberKeys: readonly string[];
  /** The latest version of membership in any answer. */
  #version = 0;

  constructor(backend: RedisBackend, masters: Masters) {
    this.#backend = backend;
    this.#masters = masters;
    this.#place = [String(masters.own + 1), String(masters.names.length)];
    this.#memberKeys = memberKeys(masters.names, masters.own);
  }

  get up(): boolean {
    return this.#backend.up;
  }

  async register(member: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply> {
    checkMember(member);
    const { incarnation, region, node } = member;
    for (let sent = 0; sent < MAX_REGISTRATIONS; sent++) {
      const { outcome, version, lineage } = registrationOf([
        ...listOf(
          "registration",
          await this.#members(REGISTER_AT, [
            incarnation,
            `${region}/${node}`,
            infoText(member),
            options.ifFree ? "1" : "0",
            String(MAX_DEAD_MEMBERS),
            String(this.#version),
          ]),
          2,
        ),
        ...ONE_LINEAGE,
      ]);
      this.#noteVersion(version);
      if (outcome !== "stale") return { outcome, version, lineage };
    }
    throw publicError(`${node} can't register: members end faster than it can ask`);
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    const args = [incarnation, String(seq), ...watch];
    const [state, version, ...seen] = listOf("renewal", await this.#members(RENEW_AT, args));
    const reply = renewalOf([state, version, ...ONE_LINEAGE, ...seen]);
    this.#noteVersion(reply.version);
    return reply;
  }

  async kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return stateReply(await this.#members(KILL_AT, [incarnation, String(seq)]));
  }

  async leave(member: MemberInfo): Promise<void> {
    checkMember(member);
    stateReply(await this.#members(LEAVE_AT, [member.incarnation, infoText(member)]));
  }

  async members(): Promise<Membership> {
    const rows = listOf(
      "membership",
      await this.#members(MEMBERS_AT, [String(MAX_MEMBER_BYTES)]),
      4,
    );
    const membership = membershipOf([...rows, SINGLE_LINEAGE.id]);
    this.#noteVersion(membership.version);
    return membership;
  }

  async claims(key: string): Promise<readonly MasterClaim[]> {
    return this.#claimsOf(key, await this.#step(key, READ_CLAIMS, this.#keys("claim", key), []));
  }

  async writeClaim(claim: Claim): Promise<readonly MasterClaim[]> {
    const { key, rrp, incarnation, opId, expected, above = 0 } = claim;
    const guard = expected ? `${expected.epoch} ${expected.incarnation}` : "";
    const kinds = ["claim", "epoch", "state"] as const;
    const keys = kinds.flatMap((kind) => this.#keys(kind, key));
    const args = this.#args([incarnation, opId, rrp, guard, String(above)]);
    return this.#claimsOf(key, await this.#step(key, WRITE_CLAIM, keys, args));
  }

  async withdraw(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean> {
    const args = this.#args([incarnation, String(epoch), String(after?.epoch ?? "")]);
    const own = (["state", "index", "epoch"] as const).map((kind) => this.#ownKey(kind, key));
    const keys = [...this.#keys("claim", key), ...own];
    const reply = await this.#step(key, WITHDRAW, keys, args, true);
    return isDone(`release of ${JSON.stringify(key)}`, reply);
  }

  async settle(key: string, incarnation: string, epoch: number): Promise<void> {
    const args = this.#args([incarnation, String(epoch)]);
    const reply = await this.#step(key, SETTLE, this.#keys("claim", key), args);
    isDone(`settling of ${JSON.stringify(key)}`, reply);
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    const unlisted = new Unlisted();
    const page = await pageOf({
      cursor,
      limit,
      scan: (from, count) => this.#scan(from, count),
      fetch: async (redisKeys) => {
        const found = await unlisted.among(redisKeys, (redisKey) => this.#listed(redisKey));
        return found.filter((pair) => pair !== null && pair[1].rrp.startsWith(prefix)) as [
          string,
          Ownership,
        ][];
      },
    });
    return unlisted.in(page);
  }

  async stateLeft(key: string): Promise<{ last: Stamp; isLost: boolean }> {
    const keys = [this.#ownKey("state", key), this.#ownKey("index", key)];
    const what = `state of ${JSON.stringify(key)}`;
    const [isLost, last] = listOf(what, await this.#step(key, LEFT, keys, []));
    return { isLost: isDone(what, isLost), last: stampOf(key, last) };
  }

  async read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    if (fields.length === 0) return [];
    const { names, own } = this.#masters;
    const keys = [this.#ownKey("claim", key), ...this.#keys("state", key)];
    const args = [...this.#known(knows), ...fields.map((field) => `:${field}`)];
    const reply = this.#whole(key, await this.#step(key, READ, keys, args));
    const parts = listOf(`state of ${JSON.stringify(key)}`, reply, 1 + names.length);
    return mergedRead(
      key,
      fields,
      { own, claimEpoch: this.#epochOf(key, parts[0]) },
      parts.slice(1),
    );
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    const { names, own } = this.#masters;
    const count = names.length;
    const keys = [
      this.#ownKey("claim", key),
      ...this.#keys("state", key),
      ...this.#keys("index", key),
    ];
    return await mergedRange(key, range, own, async (command, bounds, limit) => {
      const args = [String(count), command, ...bounds, String(limit), ...this.#known(knows)];
      const reply = this.#whole(key, await this.#step(key, RANGE, keys, args));
      const parts = listOf(`state of ${JSON.stringify(key)}`, reply, 2 + 2 * count);
      return {
        claimEpoch: this.#epochOf(key, parts[0]),
        all: parts[1],
        fields: parts.slice(2, 2 + count),
        values: parts.slice(2 + count),
      };
    });
  }

  async commit(commit: Commit): Promise<CommitReply> {
    const { key, incarnation, epoch, turn, after = NO_STAMP, puts, deletes } = commit;
    const numbers = [epoch, turn, after.epoch, after.turn, puts.length];
    const args = [incarnation, ...numbers.map(String)];
    for (const [field, value] of puts) args.push(`:${field}`, value);
    for (const field of deletes) args.push(`:${field}`);
    const keys = [
      ...this.#keys("claim", key),
      ...this.#keys("state", key),
      this.#ownKey("index", key),
    ];
    const reply = await this.#step(key, COMMIT, keys, this.#args(args));
    if (Array.isArray(reply)) return { lost: stampOf(key, reply[0]) };
    return isDone(`commit of ${JSON.stringify(key)}`, reply) ? "committed" : "fenced";
  }

  async close(): Promise<void> {
    this.#backend.close();
  }

  /** Runs a script on a key; an entry that can't be read is a {@link BrokenEntry}. */
  async #step(
    key: string,
    script: string,
    keys: readonly string[],
    args: readonly string[],
    once?: boolean,
  ): Promise<unknown> {
    let reply: unknown;
    try {
      reply = await this.#backend.script(script, keys, args, once);
    } catch (error) {
      throw brokenBy(key, messageOf(error)) ?? error;
    }
    const refusal = typeof reply === "string" && reply.startsWith("!") ? reply.slice(1) : null;
    if (refusal === null) return reply;
    const what = `step on ${JSON.stringify(key)}`;
    throw brokenBy(key, refusal) ?? stepRefused(refusal, `${what}: ${refusal}`) ??
      malformed(what, refusal);
  }

  #members(script: string, args: readonly string[]): Promise<unknown> {
    return this.#backend.script(script, this.#memberKeys, [...this.#place, ...args]);
  }

  /** The last turn that an owner knows of at this master, as script arguments. */
  #known({ after }: OwnerKnows = { after: NO_STAMP }): string[] {
    return [this.#place[0] as string, String(after.epoch), String(after.turn)];
  }

  /** @throws LostTurns */
  #whole(key: string, reply: unknown): unknown {
    const [first] = Array.isArray(reply) ? reply : [];
    if (!Array.isArray(first)) return reply;
    throw new LostTurns(key, stampOf(key, first[0]), false);
  }

  #args(rest: readonly string[]): string[] {
    return [...this.#place, ...this.#masters.names, ...rest];
  }

  /** One Redis key for each master, in their order. */
  #keys(kind: Kind, key: string): string[] {
    return this.#masters.names.map((name) => redisKey(kind, name, key));
  }

  #ownKey(kind: Kind, key: string): string {
    const { names, own } = this.#masters;
    return redisKey(kind, names[own] as string, key);
  }

  #claimsOf(key: string, reply: unknown): MasterClaim[] {
    const { names } = this.#masters;
    const texts = listOf(`claims of ${JSON.stringify(key)}`, reply, names.length);
    return texts.flatMap((item, i) => {
      const text = textOrNull(`claim of ${JSON.stringify(key)}`, item);
      return text === null ? [] : [parseClaim(key, names[i] as string, text)];
    });
  }

  /** The epoch of this master's own claim; null if it has none. */
  #epochOf(key: string, reply: unknown): number | null {
    const text = textOrNull(`claim of ${JSON.stringify(key)}`, reply);
    const { names, own } = this.#masters;
    return text === null ? null : parseClaim(key, names[own] as string, text).epoch;
  }

  /** Claims by SCAN, named as {@link pageOf} knows them: the master stands before the key. */
  async #scan(from: string, count: number): Promise<[next: string, redisKeys: string[]]> {
    const pattern = "atlas:{s*}:claim/*";
    const reply = await this.#backend.script(SCAN, [], [from, pattern, String(count)]);
    const [next, found] = listOf("scan", reply, 2);
    if (typeof next !== "string") throw malformed("scan's cursor", next);
    const keys = listOf("scan", found).flatMap((item) => {
      const parts = /^(atlas:\{s\d+\}):claim\/([^:\s]+):(\S+)$/.exec(String(item));
      return parts ? [`${parts[1]}:own:${parts[2]}:${parts[3]}`] : [];
    });
    return [next, keys];
  }

  /** The owner of a scanned claim's key, listed once: if its own claim was scanned. */
  async #listed(redisKey: string): Promise<[string, Ownership] | null> {
    const named = keyOf(redisKey) ?? "";
    const split = named.indexOf(":");
    const owner = greatest(await this.claims(named.slice(split + 1)));
    return owner?.master === named.slice(0, split) ? [named, ownershipOf(owner)] : null;
  }

  #noteVersion(version: number): void {
    this.#version = Math.max(this.#version, version);
  }
}

function redisKey(kind: Kind, master: string, key: string): string {
  const name = `atlas:{s${slotOf(key)}}:${kind}/${master}`;
  return kind === "epoch" ? name : `${name}:${key}`;
}

const CLAIM_TEXT = /^(\d{1,16}) (\S+) (\S+) (\S+) (rrp:\S+)$/;

function parseClaim(key: string, master: string, text: string): MasterClaim {
  const [, digits, incarnation, opId, overText, rrp] = text.length <= MAX_ENTRY
    ? CLAIM_TEXT.exec(text) ?? []
    : [];
  const epoch = Number(digits);
  if (!incarnation || !opId || !overText || !rrp || !Number.isSafeInteger(epoch)) {
    throw brokenEntry(key, "claim", text);
  }
  const over = new Map<string, number>();
  if (overText !== "-") {
    for (const item of overText.split(",")) {
      const [name = "", seen = ""] = item.split(":");
      if (!/^\d{1,16}$/.test(seen)) throw brokenEntry(key, "claim", text);
      over.set(name, Number(seen));
    }
  }
  return { rrp, incarnation, epoch, opId, master, over };
}

function isDone(what: string, reply: unknown): boolean {
  if (reply === 1 || reply === 0) return reply === 1;
  throw malformed(what, reply);
}
