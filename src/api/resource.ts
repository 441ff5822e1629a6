/**
 * The base class of resources: an actor with a single owner.
 *
 * It takes calls from its mailbox one at a time. A call, its writes and its answer are one turn:
 * all of them happen, or none.
 *
 * Source: `docs/design.md`, State and Calls.
 */
import type { Caller } from "../model/call_path.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Atlas } from "./node.ts";

/**
 * Why a resource stops. After `fenced` nothing can be written any more; after `move` another
 * node owns it. A resource whose turn ran longer than `maxTurnMs` stops without `onStop`.
 */
export type StopReason = "idle" | "drain" | "move" | "fenced";

/** A resource's private, ordered map. Writes are committed when the turn succeeds. */
export interface Storage {
  /** The value of a key, this turn's writes included; undefined if the key doesn't exist. */
  get<T = unknown>(key: string): Promise<T | undefined>;
  /**
   * Writes a value. Resolves at once; the value is durable before the caller gets the turn's
   * answer.
   *
   * @throws AtlasError `bad_request` if the key or value isn't allowed or no turn is running,
   * `payload_too_large` if the value or the turn's writes are over their limit.
   */
  put(key: string, value: unknown): Promise<void>;
  /** Deletes a key. */
  delete(key: string): Promise<void>;
  /** Keys and values in code unit order of the keys, this turn's writes included. */
  list<T = unknown>(options?: ListOptions): Promise<Map<string, T>>;
}

export interface ListOptions {
  /** Only keys that start with this. */
  prefix?: string;
  /** Only this key and those after it. */
  start?: string;
  /** Only keys before this. */
  end?: string;
  /** 1 to 10,000. Default 10,000. */
  limit?: number;
  /** In descending order. */
  reverse?: boolean;
}

/** What the host gives a resource; {@link Resource} exposes it to subclasses. */
export interface ResourceContext {
  readonly key: string;
  readonly id: string;
  readonly rrp: string;
  readonly epoch: number;
  readonly signal: AbortSignal;
  readonly storage: Storage;
  readonly node: Atlas;
  readonly broadcaster: {
    readonly connections: Iterable<Connection>;
    enqueue(data: unknown, to: null): void;
  };
  /**
   * The turn that the running code belongs to; its call is null in hooks.
   *
   * @param what the property that was used, for the error.
   * @throws AtlasError `bad_request` if it belongs to none.
   */
  turn(what: string): {
    readonly call: { readonly caller: Caller; readonly trace: string | null } | null;
  };
}

/**
 * Extend it, and every public method can be called by name from any node.
 *
 * Methods named `constructor`, `on…`, `_…` and those of Object are never callable from outside, nor
 * are `#private` ones, functions in fields, getters and statics. What TypeScript calls `private` or
 * `protected` is callable, as these words are gone at run time: use `#name` for methods that nobody
 * else may call.
 *
 * @example
 * ```ts
 * class Counter extends Resource {
 *   async add(n: number) {
 *     const total = ((await this.storage.get<number>("total")) ?? 0) + n;
 *     await this.storage.put("total", total);
 *     return total;
 *   }
 * }
 * ```
 */
export class Resource {
  readonly #context: ResourceContext;

  constructor(context: ResourceContext) {
    this.#context = context;
  }

  /** `<type>/<id>`, the id percent-encoded. */
  get key(): string {
    return this.#context.key;
  }

  /** The id as callers write it, decoded. */
  get id(): string {
    return this.#context.id;
  }

  /** Where this instance lives. */
  get rrp(): string {
    return this.#context.rrp;
  }

  /** The fencing token of this ownership: higher than that of any earlier instance. */
  get epoch(): number {
    return this.#context.epoch;
  }

  /**
   * Aborted when the running call's caller has gone or timed out, or ownership is lost; in code
   * that runs after its turn, when ownership is lost or released.
   */
  get signal(): AbortSignal {
    return this.#context.signal;
  }

  /**
   * This resource's durable state. Its methods reject with `bad_request` in code that outlived
   * its turn: all of it must be awaited before the method that began it returns.
   */
  get storage(): Storage {
    return this.#context.storage;
  }

  /**
   * Calls other resources and modules, within a turn. Calls carry this turn's deadline and call
   * chain. Capacity of modules that it buys is given back when this instance stops; `request`
   * needs none of its own. In code that outlived its turn calls and all else reject with
   * `bad_request`, except calls of a module's functions over a proxy that was bought before:
   * these have only their own deadline.
   */
  get node(): Atlas {
    return this.#context.node;
  }

  /**
   * Who made the running call: the region and the node where it started; null in hooks.
   *
   * @throws AtlasError `bad_request` in code that outlived its turn.
   */
  get caller(): Caller | null {
    return this.#context.turn("caller").call?.caller ?? null;
  }

  /**
   * The running call's W3C `traceparent`, with the last link as parent; null if the call is not
   * traced.
   *
   * @throws AtlasError `bad_request` in code that outlived its turn.
   */
  get traceparent(): string | null {
    return this.#context.turn("traceparent").call?.trace ?? null;
  }

  /** The client sockets that are connected to this resource now, in the order they came. */
  get connections(): Iterable<Connection> {
    return this.#context.broadcaster.connections;
  }

  /**
   * Sends an event to every connection, and to those that reconnect soon, once the running turn is
   * committed; never if the turn fails.
   *
   * @throws AtlasError `bad_request` in code that belongs to no running turn or if `data` can't be
   * encoded, `payload_too_large` if the event or the turn's events are over their limit.
   */
  broadcast(data: unknown): void {
    this.#context.broadcaster.enqueue(data, null);
  }

  /**
   * Runs as a turn when a client socket connects, and again at each new owner for those that stayed
   * connected (`connection.resumed`). If it throws, the socket is closed.
   */
  onConnect(_connection: Connection): void | Promise<void> {}

  /** Runs as a turn for each message of a client socket, one at a time, in their order. */
  onMessage(_connection: Connection, _data: unknown): void | Promise<void> {}

  /**
   * Runs as a turn after a client socket has closed, or its node has ended. It does not run if the
   * resource itself stops or moves: its connections are joined to the next owner.
   */
  onDisconnect(_connection: Connection): void | Promise<void> {}

  /** Runs once before the first call, as a turn of its own. */
  onStart(): void | Promise<void> {}

  /** Runs once before the instance stops; as a turn, unless ownership is lost already. */
  onStop(_reason: StopReason): void | Promise<void> {}

  /**
   * Runs once if this owner lost the key to another owner. This happens in stores without one write
   * order, if the other owner's claim is greater. It also happens if this owner operated and
   * answered calls while its node couldn't reach the store (`partition: "available"`), and another
   * owner took over or wrote meanwhile. It runs before `onStop` and is no turn: storage can't be
   * written, and shows what this owner wrote. If the store can't be reached, `list` gives what was
   * written since then; `get` also gives other cached values, or throws `unavailable`. The hook may
   * call the winner to have it merge these writes. The node waits for it no longer than a turn may
   * take.
   */
  onConflict(_winner: Ownership): void | Promise<void> {}
}

/** A client's socket that is connected to this resource. */
export interface Connection {
  /**
   * The connection's id, as its client knows it from the first frame. It stays the same when the
   * resource moves.
   */
  readonly id: string;
  /** Whether it existed before: at an earlier owner, or at this one before an interruption. */
  readonly resumed: boolean;
  /**
   * Sends `data` to this connection only, once the running turn is committed. Does nothing if the
   * connection has ended.
   *
   * @throws AtlasError `bad_request` if no turn is running or `data` can't be encoded,
   * `payload_too_large` if the event or the turn's events are over their limit.
   */
  send(data: unknown): void;
  /**
   * Ends it once the running turn is committed and its client has what was sent before.
   * `onDisconnect` runs as for one that ended by itself.
   *
   * @param reason at most 120 printable ASCII characters; others are replaced.
   */
  close(reason?: string): void;
}
