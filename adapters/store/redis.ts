/**
 * The registry's store in a Redis over TCP: a notary's office with one clerk and a
 * pneumatic post; what a tick asks for goes in one capsule.
 *
 * It takes and gives what the port `Store` says. Lookups of a tick become one MGET;
 * claims, releases, commits and reads of a tick one script. On a cluster they are
 * split by slot; of a cluster of several nodes only the one that is dialled is used,
 * so the keys of others answer `unavailable`.
 *
 * An epoch is `term × 2^36 + counter`. The term is 0 for now: it comes with failover,
 * and rises when the store's lineage changes (design §2).
 */
import { MAX_DEAD_MEMBERS } from "../../src/limits.ts";
import type { Member, MemberInfo, MemberState } from "../../src/model/member.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  Membership,
  Observation,
  OwnershipPage,
  Range,
  RegisterReply,
  RenewReply,
  Store,
} from "../../src/ports/store.ts";
import { Batcher } from "./batch.ts";
import type { Entry } from "./batch.ts";
import { brokenEntry, checkClaim, checkCommit, checkRange, checkWhole } from "./check.ts";
import { unavailable } from "./check.ts";
import { parseRedisUrl } from "./redis_client.ts";
import type { RedisDialer } from "./redis_client.ts";
import { RedisConnection } from "./redis_connection.ts";
import { keyOf, ownPattern, pageOf, parseEntry, slotKey } from "./redis_keys.ts";
import { KILL, LEAVE, MEMBER_KEYS, MEMBERS, REGISTER, RENEW, SCRIPTS, STEPS } from "./scripts.ts";

export interface RedisStoreOptions {
  /** How long one step, and the first connection, may take, in ms. Default 5,000. */
  timeoutMs?: number;
  /** Which client to use; default the quickest on this runtime. */
  dial?: RedisDialer;
}

/**
 * Connects to the Redis at `redis://[user[:password]@]host[:port][/database]`.
 *
 * Afterwards the store redials for ever by itself; while Redis is away every step
 * rejects with `unavailable` at once.
 *
 * @throws AtlasError `bad_request` where the URL is wrong or its credentials are
 * refused, `unavailable` where nobody answers within `timeoutMs`.
 */
export async function redisStore(url: string, options: RedisStoreOptions = {}): Promise<Store> {
  const timeoutMs = options.timeoutMs ?? 5_000;
  checkWhole("timeoutMs", timeoutMs, 1);
  const address = parseRedisUrl(url);
  const connection = new RedisConnection(address, {
    timeoutMs,
    dial: options.dial,
    scripts: SCRIPTS,
  });
  await connection.open();
  return new RedisStore(connection);
}

/** Most steps and code units of text that one script or MGET carries. */
const MAX_BATCH_STEPS = 128;
const MAX_BATCH_TEXT = 1_048_576;

/** One step for the script `STEPS`. */
interface Step {
  readonly key: string;
  readonly slot: number;
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

interface Get {
  readonly key: string;
  readonly slot: number;
}

class RedisStore implements Store {
  readonly #redis: RedisConnection;
  readonly #steps: Batcher<Step>;
  readonly #gets: Batcher<Get>;

  constructor(connection: RedisConnection) {
    this.#redis = connection;
    const limits = { maxOps: MAX_BATCH_STEPS, maxSize: MAX_BATCH_TEXT };
    this.#steps = new Batcher<Step>({
      ...limits,
      sizeOf: ({ args }) => args.reduce((size, arg) => size + arg.length, 0),
      run: (batch) => this.#bySlot(batch, (part) => this.#runSteps(part)),
    });
    this.#gets = new Batcher<Get>({
      ...limits,
      sizeOf: ({ key }) => key.length,
      run: (batch) => this.#bySlot(batch, (part) => this.#runGets(part)),
    });
  }

  status(): "up" | "down" {
    return this.#redis.up ? "up" : "down";
  }

  async register(member: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply> {
    const { incarnation, region, node } = member;
    const reply = await this.#redis.script(REGISTER, MEMBER_KEYS, [
      incarnation,
      `${region}/${node}`,
      infoText(member),
      options.ifFree ? "1" : "0",
      String(MAX_DEAD_MEMBERS),
    ]);
    const [outcome, version] = reply as [RegisterReply["outcome"], number];
    return { outcome, version: Number(version) };
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    checkWhole("seq", seq, 0);
    const reply = await this.#redis.script(RENEW, MEMBER_KEYS, [
      incarnation,
      String(seq),
      ...watch,
    ]);
    const [state, version, ...seen] = reply as [MemberState | null, number, ...string[]];
    const watched: Observation[] = [];
    for (let i = 0; i < seen.length; i += 3) {
      const [other, theirSeq, theirState] = seen.slice(i, i + 3) as [string, string, MemberState];
      watched.push({ incarnation: other, seq: Number(theirSeq), state: theirState });
    }
    return {
      outcome: state === "live" ? "renewed" : "fenced",
      state: state ?? "dead",
      version: Number(version),
      watched,
    };
  }

  async kill(incarnation: string, seq: number): Promise<MemberState | null> {
    const reply = await this.#redis.script(KILL, MEMBER_KEYS, [incarnation, String(seq)]);
    return reply as MemberState | null;
  }

  async leave(member: MemberInfo): Promise<void> {
    await this.#redis.script(LEAVE, MEMBER_KEYS, [member.incarnation, infoText(member)]);
  }

  async members(): Promise<Membership> {
    const reply = await this.#redis.script(MEMBERS, MEMBER_KEYS, []);
    const [version, infos, seqs, states] = reply as [number, string[], string[], string[]];
    const seqOf = pairs(seqs);
    const stateOf = pairs(states);
    const members = [...pairs(infos)].map(([incarnation, text]): Member => {
      const info = parseInfo(incarnation, text);
      const seq = Number(seqOf.get(incarnation));
      const state = stateOf.get(incarnation) as MemberState;
      if (!Number.isSafeInteger(seq)) throw brokenEntry(incarnation, "seq", seq);
      if (state === undefined) throw brokenEntry(incarnation, "state", state);
      return { ...info, seq, state };
    });
    return { version: Number(version), members };
  }

  async lookup(key: string): Promise<Ownership | null> {
    const text = await this.#get(key);
    return text === null ? null : parseEntry(key, text);
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    checkClaim(claim);
    const { key, rrp, incarnation, opId, expected } = claim;
    const slot = slotOf(key);
    const reply = await this.#step<number | string | null>({
      key,
      slot,
      keys: [slotKey(slot, "own", key), `atlas:{s${slot}}:epoch`],
      args: [
        "C",
        `${incarnation} ${opId} ${rrp}`,
        expected ? guardOf(expected.incarnation, expected.epoch) : "",
      ],
    });
    if (typeof reply === "number") return { won: true, owner: { rrp, incarnation, epoch: reply } };
    return { won: false, owner: reply === null ? null : parseEntry(key, reply) };
  }

  async release(key: string, incarnation: string, epoch: number): Promise<boolean> {
    const slot = slotOf(key);
    const reply = await this.#step<number | string>({
      key,
      slot,
      keys: [slotKey(slot, "own", key)],
      args: ["R", guardOf(incarnation, epoch)],
    });
    if (typeof reply === "string") parseEntry(key, reply);
    return reply === 1;
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    return pageOf({
      cursor,
      limit,
      scan: async (from, count) => {
        const reply = await this.#redis.send("SCAN", [
          from,
          "MATCH",
          ownPattern(),
          "COUNT",
          String(count),
        ]);
        return reply as [string, string[]];
      },
      fetch: async (redisKeys) => {
        const keys = redisKeys.map(keyOf).filter((key) => key !== null);
        const found = await Promise.all(keys.map(async (key) => [key, await this.lookup(key)]));
        return (found as [string, Ownership | null][]).filter((pair): pair is [string, Ownership] =>
          pair[1] !== null && pair[1].rrp.startsWith(prefix)
        );
      },
    });
  }

  async read(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    if (fields.length === 0) return [];
    const slot = slotOf(key);
    return await this.#step<(string | null)[]>({
      key,
      slot,
      keys: [slotKey(slot, "state", key)],
      args: ["G", String(fields.length), ...fields.map((field) => `:${field}`)],
    });
  }

  async range(key: string, range: Range): Promise<[string, string][]> {
    checkRange(range);
    const slot = slotOf(key);
    const bounds = [`[:${range.start}`, `(:${range.end}`];
    const flat = await this.#step<(string | null)[]>({
      key,
      slot,
      keys: [slotKey(slot, "state", key), slotKey(slot, "index", key)],
      args: range.reverse
        ? ["N", "ZREVRANGEBYLEX", bounds[1] as string, bounds[0] as string, String(range.limit)]
        : ["N", "ZRANGEBYLEX", bounds[0] as string, bounds[1] as string, String(range.limit)],
    });
    const pairs: [string, string][] = [];
    for (let i = 0; i < flat.length; i += 2) {
      const field = flat[i] as string;
      const value = flat[i + 1] as string | null;
      if (value === null) throw brokenEntry(key, `field ${JSON.stringify(field)}`, value);
      pairs.push([field.slice(1), value]);
    }
    return pairs;
  }

  async commit(commit: Commit): Promise<CommitReply> {
    checkCommit(commit);
    const { key, incarnation, epoch, turn, puts, deletes } = commit;
    const slot = slotOf(key);
    const args = [
      "W",
      String(3 + 2 * puts.length + deletes.length),
      guardOf(incarnation, epoch),
      String(turn),
      String(puts.length),
    ];
    for (const [field, value] of puts) args.push(`:${field}`, value);
    for (const field of deletes) args.push(`:${field}`);
    const reply = await this.#step<number | string>({
      key,
      slot,
      keys: [
        slotKey(slot, "own", key),
        slotKey(slot, "state", key),
        slotKey(slot, "index", key),
      ],
      args,
    });
    if (typeof reply === "string") parseEntry(key, reply);
    return reply === 1 ? "committed" : "fenced";
  }

  async close(): Promise<void> {
    this.#redis.close();
  }

  #get(key: string): Promise<string | null> {
    return this.#gets.push({ key, slot: slotOf(key) });
  }

  async #step<Reply>(step: Step): Promise<Reply> {
    const reply = await this.#steps.push<Reply>(step);
    if (typeof reply === "string" && reply.startsWith("!")) {
      throw unavailable(`the store can't use ${JSON.stringify(step.key)}: ${reply.slice(1)}`);
    }
    return reply;
  }

  /** A cluster takes only keys of one slot in one command. */
  #bySlot<Op extends Get>(batch: Entry<Op>[], run: (part: Entry<Op>[]) => void): void {
    if (!this.#redis.clustered) return run(batch);
    Map.groupBy(batch, ({ op }) => op.slot).forEach((part) => run(part));
  }

  #runSteps(batch: Entry<Step>[]): void {
    const keys: string[] = [];
    const args: string[] = [];
    for (const { op } of batch) {
      for (const key of op.keys) keys.push(key);
      for (const arg of op.args) args.push(arg);
    }
    settle(batch, this.#redis.script(STEPS, keys, args));
  }

  #runGets(batch: Entry<Get>[]): void {
    const keys = batch.map(({ op }) => slotKey(op.slot, "own", op.key));
    settle(batch, this.#redis.send("MGET", keys));
  }
}

/** Gives each entry its reply, or all of them the error. */
function settle<Op>(batch: Entry<Op>[], replies: Promise<unknown>): void {
  replies.then(
    (all) => batch.forEach((entry, i) => entry.resolve((all as unknown[])[i])),
    (error) => batch.forEach((entry) => entry.reject(error)),
  );
}

/** How an ownership's entry begins: no other ownership begins so. */
function guardOf(incarnation: string, epoch: number): string {
  return `${epoch} ${incarnation} `;
}

function pairs(flat: readonly string[]): Map<string, string> {
  const map = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) map.set(flat[i] as string, flat[i + 1] as string);
  return map;
}

function infoText({ incarnation, region, node, address, hosts, serves }: MemberInfo): string {
  return JSON.stringify({ incarnation, region, node, address, hosts, serves });
}

function parseInfo(incarnation: string, text: string): MemberInfo {
  let info: MemberInfo | null = null;
  try {
    info = JSON.parse(text);
  } catch {
    // Told below, as any other unreadable entry.
  }
  const { region, node, address, hosts, serves } = info ?? {};
  if (
    typeof region !== "string" || typeof node !== "string" || typeof address !== "string" ||
    !areTexts(hosts) || !(serves === undefined || areTexts(serves))
  ) throw brokenEntry(incarnation, "member", text);
  return { incarnation, region, node, address, hosts, ...serves && { serves } };
}

function areTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
