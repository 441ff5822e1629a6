/**
 * A connection to a Redis Cluster: one `RedisConnection` to each master, and the list of slots.
 *
 * Takes scripts and reads of keys of one slot each, and sends them to the slot's master. MOVED and
 * ASK are followed a bounded number of times. Whenever a connection ends or the list proves stale,
 * the list is read again until every slot has a connected master; meanwhile the cluster counts as
 * down, and steps on the reachable slots still work.
 *
 * A step that was refused with a redirection did not run, so it is sent on. A step that was cut
 * off is not sent again.
 */
import { AtlasError, isAtlasError, messageOf } from "../../../src/errors.ts";
import { closedError, unavailable } from "../check.ts";
import { dialIoredis, type RedisAddress } from "./client.ts";
import { type Asking, RedisConnection, type RedisConnectionOptions } from "./connection.ts";
import { MEMBER_KEYS } from "./membership_scripts.ts";
import type { RedisRunner } from "./replica_ack.ts";
import { clusterReplicas, type ReplicaGroup } from "./replicas.ts";
import { REFUSED } from "./replies.ts";
import { withTimeout } from "./request_timeout.ts";
import { scanShards } from "./scan.ts";
import { SCAN } from "./scripts.ts";
import { askInTurn } from "./sentinel.ts";
import {
  CLUSTER_SLOTS,
  clusterSlot,
  type NodeAddress,
  redirectionOf,
  type SlotRange,
  slotRangesOf,
} from "./slots.ts";
import type { RedisBackend } from "./store.ts";

/** The slot of all keys of membership. */
const MEMBERS_SLOT = clusterSlot(MEMBER_KEYS[0] as string);

/** The largest number of redirections that one step follows. */
const MAX_REDIRECTIONS = 8;
/** The largest number of nodes in a cluster. Redis recommends at most a thousand. */
const MAX_NODES = 1_024;
/** The largest number of nodes that are asked for the list of slots. */
const MAX_ASKED = 8;
/**
 * The first and the longest pause before a list is asked for again, or a step sent again, in ms.
 */
const FIRST_PAUSE = 25;
const LAST_PAUSE = 250;

/** A node with a connection, or with one that is being opened. */
interface Node {
  readonly id: string;
  readonly at: RedisAddress;
  readonly connection: RedisConnection;
  /** Settles with the first attempt to connect; never rejects. */
  readonly tried: Promise<unknown>;
  /** Identifies the order of commands sent with ASKING, for slots that are moving to this node. */
  readonly asked: object;
}

/** A master of the list, and its lowest slot. */
interface Master {
  readonly slot: number;
  readonly node: Node;
}

export class RedisCluster implements RedisBackend {
  readonly clustered = true;
  readonly #seeds: readonly RedisAddress[];
  readonly #options: RedisConnectionOptions;
  readonly #nodes = new Map<string, Node>();
  #slots: (Node | undefined)[] = [];
  #masters: readonly Master[] = [];
  /** The first slot without a master, by the latest list; -1 if each has one. */
  #uncovered = 0;
  /** The node that ran the last step on each slot, and whether by ASKING. */
  readonly #ran: { node: Node; asking: boolean }[] = [];
  /** Nodes of the latest list, masters first. */
  #listed: readonly NodeAddress[] = [];
  #asked = 0;
  #healing = false;
  #wake: () => void = () => {};
  #closed = false;

  constructor(seeds: readonly RedisAddress[], options: RedisConnectionOptions) {
    this.#seeds = seeds;
    this.#options = options;
  }

  /** Whether every slot has a master that is connected. */
  get up(): boolean {
    return !this.#closed && this.#missing() === null;
  }

  /**
   * Connects to all masters, trying again until `timeoutMs` have passed.
   *
   * @throws AtlasError `bad_request` if the nodes are of no cluster or refuse these credentials,
   * `unavailable` if not all slots can be reached.
   */
  async open(): Promise<void> {
    const giveUp = performance.now() + this.#options.timeoutMs;
    for (let pause = FIRST_PAUSE;; pause = Math.min(LAST_PAUSE, pause * 2)) {
      const why = await this.#relist(Math.max(1, giveUp - performance.now()));
      if (why === null) return;
      if (this.#closed) throw closedError();
      if (isAtlasError(why) && why.code === "bad_request") throw why;
      for (const { node } of this.#masters) {
        if (node.connection.refusal) throw node.connection.refusal;
      }
      const refusal = this.#masters.length === 0 ? null : this.#missing();
      if (refusal && REFUSED.test(refusal)) throw new AtlasError("bad_request", refusal);
      if (performance.now() + pause >= giveUp) throw unavailable(messageOf(why), why);
      await this.#pause(pause);
    }
  }

  script(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    if (script === SCAN) return this.#scan(args);
    return this.#route(keys[0] ?? "", (node, how) => node.run(script, keys, args, how));
  }

  mget(keys: readonly string[]): Promise<unknown> {
    return this.#route(keys[0] ?? "", (node, how) => node.mget(keys, how));
  }

  /**
   * Which copies of the data answer: the replication id of each master, in the order of text.
   * Rejects with `unavailable` unless all masters answer.
   *
   * The list of masters is read again each time, from the master that keeps the members: a former
   * master that was cut off together with this node may not know yet that it was replaced.
   */
  async lineageIds(): Promise<string[]> {
    const home = this.#slots[MEMBERS_SLOT];
    if (this.#closed) throw closedError();
    if (!home) throw unavailable(`${this.#name()} has no master for slot ${MEMBERS_SLOT}`);
    const ranges = slotRangesOf(await home.connection.send("CLUSTER", ["SLOTS"]), home.at);
    const listed = new Set(ranges.map(({ master }) => idOf(master)));
    const isOld = listed.size !== this.#masters.length ||
      this.#masters.some(({ node }) => !listed.has(node.id));
    if (isOld) {
      this.#adopt(ranges);
      await Promise.all(this.#masters.map(({ node }) => node.tried));
    }
    const missing = this.#missing();
    if (missing !== null) {
      this.#heal();
      throw unavailable(missing);
    }
    const ids = this.#masters.map(({ node }) => node.connection.replicationId());
    return (await Promise.all(ids)).sort();
  }

  /** The connection over which the last script on the key's slot was answered. */
  runnerOf(key: string): RedisRunner {
    const slot = clusterSlot(key);
    const { node, asking } = this.#ran[slot] ?? {};
    if (!node) throw unavailable(`${this.#name()} ran nothing on slot ${slot}`);
    return {
      address: node.id,
      connection: asking ? node.asked : node,
      send: (command, args) => node.connection.send(command, args, { asking }),
    };
  }

  /** The replicas of a master, as it reports them itself. */
  replicasOf(runner: RedisRunner): Promise<ReplicaGroup> {
    return clusterReplicas(runner);
  }

  /** Closes all connections finally. */
  close(): void {
    this.#closed = true;
    for (const { connection } of this.#nodes.values()) connection.close();
    this.#nodes.clear();
    this.#wake();
  }

  async #scan(args: readonly string[]): Promise<unknown> {
    const missing = this.#missing();
    if (this.#closed) throw closedError();
    if (missing !== null) throw unavailable(missing);
    return await scanShards(
      this.#masters.map(({ slot, node }) => node.connection.shard(slot)),
      args,
    );
  }

  /** Runs `send` at the master of the key's slot, and at each node that it is redirected to. */
  async #route(
    key: string,
    send: (node: RedisConnection, how: Asking) => Promise<unknown>,
  ): Promise<unknown> {
    const giveUp = performance.now() + this.#options.timeoutMs;
    const slot = clusterSlot(key);
    let node = this.#slots[slot];
    let asking = false;
    let redirected = 0;
    for (let sent = 1;; sent++) {
      if (this.#closed) throw closedError();
      if (!node) throw unavailable(`${this.#name()} has no master for slot ${slot}`);
      if (!node.connection.up) await node.tried;
      try {
        const reply = await send(node.connection, { asking });
        this.#ran[slot] = { node, asking };
        return reply;
      } catch (error) {
        const redirection = redirectionOf(error, node.at);
        if (redirection === null) throw error;
        if (redirection.kind === "down") {
          this.#heal();
          throw error;
        }
        const pause = Math.min(LAST_PAUSE, FIRST_PAUSE * sent);
        if (performance.now() + pause >= giveUp) throw error;
        if (redirection.kind === "again") {
          await sleep(pause);
        } else {
          if (++redirected > MAX_REDIRECTIONS) throw error;
          asking = redirection.kind === "ask";
          node = this.#nodeAt(redirection.to);
          if (!asking) this.#moved(slot, node);
        }
      }
    }
  }

  /** A slot has another master than the list says, so the list is outdated. */
  #moved(slot: number, node: Node): void {
    this.#slots[slot] = node;
    this.#heal(node.at);
  }

  /** Reads the list of slots until all can be reached; asks `of` first. */
  async #heal(of?: NodeAddress): Promise<void> {
    if (this.#healing || this.#closed) return;
    this.#healing = true;
    const { timeoutMs } = this.#options;
    await this.#relist(timeoutMs, of);
    for (let pause = FIRST_PAUSE; !this.#closed && this.#missing() !== null;) {
      await this.#pause(pause * (0.5 + Math.random() / 2));
      pause = Math.min(LAST_PAUSE, pause * 2);
      await this.#relist(timeoutMs);
    }
    this.#healing = false;
  }

  /**
   * Reads the list from some node, and connects to the masters in it. Gives the reason why slots
   * are missing.
   */
  async #relist(timeoutMs: number, of?: NodeAddress): Promise<unknown> {
    const giveUp = performance.now() + timeoutMs;
    try {
      const ranges = await askInTurn({
        what: this.#name(),
        addresses: this.#inTurn(of),
        timeoutMs,
        ask: (address, ms) => this.#ask(address, ms),
      });
      if (this.#closed) return closedError();
      this.#adopt(ranges);
      const tried = Promise.all(this.#masters.map(({ node }) => node.tried));
      await withTimeout(Math.max(1, giveUp - performance.now()), tried);
    } catch (error) {
      return error;
    }
    const missing = this.#missing();
    return missing === null ? null : unavailable(missing);
  }

  /**
   * The nodes to ask. Each time a different node comes first, because a node that was cut off has
   * an outdated list.
   */
  #inTurn(of: NodeAddress | undefined): RedisAddress[] {
    const all = new Map<string, RedisAddress>();
    for (const at of [...this.#listed, ...this.#seeds]) all.set(idOf(at), this.#addressOf(at));
    const known = [...all.values()];
    const first = this.#asked++ % known.length;
    const turn = [...known.slice(first), ...known.slice(0, first)];
    return (of ? [this.#addressOf(of), ...turn] : turn).slice(0, MAX_ASKED);
  }

  async #ask(address: RedisAddress, timeoutMs: number): Promise<SlotRange[]> {
    const open = this.#nodes.get(idOf(address))?.connection;
    if (open?.up) {
      const reply = await withTimeout(timeoutMs, open.send("CLUSTER", ["SLOTS"]));
      return slotRangesOf(reply, address);
    }
    const client = await dialIoredis(address, timeoutMs, () => {});
    try {
      const reply = await withTimeout(timeoutMs, client.send("CLUSTER", ["SLOTS"]));
      return slotRangesOf(reply, address);
    } finally {
      client.close();
    }
  }

  #adopt(ranges: readonly SlotRange[]): void {
    const slots: (Node | undefined)[] = new Array(CLUSTER_SLOTS).fill(undefined);
    const lowest = new Map<Node, number>();
    for (const { first, last, master } of ranges) {
      const node = this.#nodeAt(master);
      slots.fill(node, first, last + 1);
      lowest.set(node, Math.min(first, lowest.get(node) ?? first));
    }
    this.#slots = slots;
    this.#uncovered = slots.indexOf(undefined);
    this.#masters = [...lowest].map(([node, slot]) => ({ node, slot })).sort((a, b) =>
      a.slot - b.slot
    );
    this.#listed = [
      ...ranges.map(({ master }) => master),
      ...ranges.flatMap(({ replicas }) => replicas),
    ];
    this.#leave(new Set(ranges.flatMap(({ replicas }) => replicas.map(idOf))), lowest);
  }

  /**
   * Closes connections to former masters: nodes that are replicas now or were removed. New masters
   * may have no slots yet.
   */
  #leave(replicas: ReadonlySet<string>, masters: ReadonlyMap<Node, number>): void {
    for (const node of this.#nodes.values()) {
      if (masters.has(node) || (node.connection.up && !replicas.has(node.id))) continue;
      this.#nodes.delete(node.id);
      node.connection.close();
    }
  }

  #nodeAt(where: NodeAddress): Node {
    const id = idOf(where);
    const known = this.#nodes.get(id);
    if (known) return known;
    if (this.#nodes.size >= MAX_NODES) throw unavailable(`${this.#name()} has too many nodes`);
    const at = this.#addressOf(where);
    const ended = (): void => void this.#heal();
    const connection = new RedisConnection(at, { ...this.#options, ended });
    const tried = connection.begin().catch(() => {});
    const node = { id, at, connection, tried, asked: {} };
    this.#nodes.set(id, node);
    return node;
  }

  /** Name and password are the same at all nodes. */
  #addressOf({ host, port }: NodeAddress): RedisAddress {
    return { ...this.#seeds[0] as RedisAddress, host, port };
  }

  /** Which slots can't be reached, as a message; null if all can. */
  #missing(): string | null {
    const away = this.#masters.find(({ node }) => !node.connection.up);
    if (away) return `${this.#name()} can't be reached whole: ${away.node.connection.lastError}`;
    return this.#uncovered < 0 ? null : `${this.#name()} has no master for slot ${this.#uncovered}`;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #name(): string {
    const { host, port } = this.#seeds[0] as RedisAddress;
    return `the Redis Cluster of ${host}:${port}`;
  }
}

function idOf({ host, port }: NodeAddress): string {
  return `${host}:${port}`;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
