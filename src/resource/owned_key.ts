/**
 * An ownership and the type of its key: the part of an activation that needs no instance.
 *
 * A node may hold a million idle activations. So what only some of them use is in one part, made
 * when it is first used.
 */
import type { Placement } from "../api/app.ts";
import type { Atlas } from "../api/node.ts";
import { Resource } from "../api/resource.ts";
import { AtlasError } from "../errors.ts";
import type { EventBroadcaster } from "../events/broadcaster.ts";
import { PRUNE_DELAY_MS } from "../limits.ts";
import { type Call, NO_CALLS } from "../model/call.ts";
import { Expiring } from "../model/expiring.ts";
import type { Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import type { Stamp } from "../ports/store.ts";
import type { NodeLife } from "../registry/lease.ts";
import { Signal } from "../time/wait.ts";
import type { HostedType } from "./activation_host.ts";
import type { Mailbox } from "./mailbox.ts";
import type { OfflineLog } from "./offline_log.ts";

type Lifetime = Pick<AbortController, "signal" | "abort">;

/** The shared signal of activations that were closed before anything asked for their signal. */
const OVER: Lifetime = { signal: AbortSignal.abort(), abort: () => {} };

/** What most activations never use. */
class RareParts {
  /** Its log while it operates without the store; null otherwise. */
  offline: OfflineLog | null = null;
  /** The earliest time at which answers can have expired, on the monotonic clock. */
  pruneAt: number = Infinity;
  lifetime: Lifetime | null = null;
  /** Its broadcaster, made with the first connection or event. */
  broadcaster: EventBroadcaster | null = null;
  mailbox: Mailbox | null = null;
  node: Atlas | null = null;
  /** Whether the next turn has to wait. */
  isHeld: boolean = false;
  /** Notified when the running turn has ended. */
  turnEnded: Signal | null = null;
  /** Calls whose turn waits until the current, reentrant call ends. The innermost call is last. */
  outer: Call[] = NO_CALLS;
  /** The calls whose turn was running when the activation was stopped: they have failed. */
  dropped: Call[] = NO_CALLS;
}

/** The time limit of a turn, as an entry of the timer wheel. */
export class TurnDeadline extends Expiring {
  readonly #of: Pick<Expiring, "expire" | "onWheelClosed">;

  constructor(of: Pick<Expiring, "expire" | "onWheelClosed">) {
    super();
    this.#of = of;
  }

  override expire(): void {
    this.#of.expire();
  }

  override onWheelClosed(): void {
    this.#of.onWheelClosed();
  }
}

export abstract class OwnedKey implements Ownership {
  readonly key: string;
  readonly type: HostedType;
  /** The incarnation and the epoch of the ownership. Its RRP is built when it is read. */
  incarnation: string;
  epoch: number;
  life: NodeLife;
  /** The last turn that the state is known to contain. */
  last: Stamp;
  /** The lineage for which that is known, by `markOf`. */
  lineage: string | undefined;
  /** When it was claimed, on the monotonic clock, at most 1 ms too early. */
  readonly openedAt: number;
  /** Notified when it is closed. */
  protected end: Signal | null = null;
  protected rareParts: RareParts | null = null;

  constructor(
    key: string,
    type: HostedType,
    owner: Ownership,
    life: NodeLife,
    last: Stamp,
    lineage: string | undefined,
    openedAt: number,
  ) {
    this.key = key;
    this.type = type;
    this.incarnation = owner.incarnation;
    this.epoch = owner.epoch;
    this.life = life;
    this.last = last;
    this.lineage = lineage;
    // A whole number needs no memory of its own.
    this.openedAt = Math.floor(openedAt);
    // Answers of earlier owners are not read yet. If no turn was ever committed, no answers exist.
    if (last.epoch > 0) this.pruneAt = openedAt + PRUNE_DELAY_MS;
  }

  /** Made when it is first asked for. */
  protected get rare(): RareParts {
    return (this.rareParts ??= new RareParts());
  }

  /** Its log while it operates without the store; null otherwise. */
  get offline(): OfflineLog | null {
    return this.rareParts === null ? null : this.rareParts.offline;
  }

  set offline(log: OfflineLog | null) {
    if (log !== null || this.rareParts !== null) this.rare.offline = log;
  }

  /** The earliest time at which answers can have expired, on the monotonic clock. */
  get pruneAt(): number {
    return this.rareParts === null ? Infinity : this.rareParts.pruneAt;
  }

  set pruneAt(at: number) {
    if (at < Infinity || this.rareParts !== null) this.rare.pruneAt = at;
  }

  /** Whether its type operates if the store can't be reached. */
  get operatesOffline(): boolean {
    return this.type.partition === "available";
  }

  get id(): string {
    return parseKey(this.key).id;
  }

  get rrp(): string {
    return this.type.prefix + this.key;
  }

  /** A copy of the ownership as it is now. */
  get owner(): Ownership {
    return { rrp: this.rrp, incarnation: this.incarnation, epoch: this.epoch };
  }

  set owner({ incarnation, epoch }: Ownership) {
    this.incarnation = incarnation;
    this.epoch = epoch;
  }

  /** The placement of its type. */
  get placement(): Placement {
    return this.type.placement;
  }

  /** Whether its class has an `onDisconnect`: then its state has a record of each connection. */
  get hasOnDisconnect(): boolean {
    return this.type.class.prototype.onDisconnect !== Resource.prototype.onDisconnect;
  }

  /** Aborted once it is closed. */
  get lifetime(): AbortSignal {
    return (this.rare.lifetime ??= new AbortController()).signal;
  }

  protected endLifetime(): void {
    this.rareParts?.lifetime?.abort();
    this.rare.lifetime ??= OVER;
  }

  /** Resolves when it is closed. */
  protected ended(): Promise<void> {
    return (this.end ??= new Signal()).wait();
  }

  /** The error for operations after the ownership has ended. */
  lost(maybeExecuted: boolean): AtlasError {
    const why = `this node's ownership of ${this.key} has ended`;
    return new AtlasError("not_owner", why, { maybeExecuted });
  }
}
