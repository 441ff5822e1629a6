/**
 * What a resource in memory is held by: the title deed that hangs at its door.
 *
 * Gives the key, the ownership and the node's life that it is served under, and how far
 * its state in the store is known.
 */
import type { Placement, ResolvedType } from "../app.ts";
import { AtlasError } from "../errors.ts";
import type { Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import type { Stamp } from "../ports/store.ts";
import type { Life } from "../registry/lease.ts";
import { Expiring } from "../time/deadlines.ts";
import type { Adrift } from "./adrift.ts";
import { Bell } from "../time/bell.ts";
import { Resource } from "./resource.ts";

export abstract class Holding extends Expiring {
  readonly key: string;
  readonly type: ResolvedType;
  owner: Ownership;
  life: Life;
  /** The last turn that is known to be in the state. */
  last: Stamp;
  /** The lineage in which that is known, by `markOf`. */
  lineage: string | undefined;
  /** What it keeps while it goes on without the store; null where it doesn't. */
  adrift: Adrift | null = null;
  /** When it was claimed, on the monotonic clock. */
  readonly openedAt: number;

  /** Rings when it is over. */
  protected end: Bell | null = null;

  constructor(
    key: string,
    type: ResolvedType,
    owner: Ownership,
    life: Life,
    last: Stamp,
    lineage: string | undefined,
    openedAt: number,
  ) {
    super();
    this.key = key;
    this.type = type;
    this.owner = owner;
    this.life = life;
    this.last = last;
    this.lineage = lineage;
    this.openedAt = openedAt;
  }

  get id(): string {
    return parseKey(this.key).id;
  }

  get rrp(): string {
    return this.owner.rrp;
  }

  get epoch(): number {
    return this.owner.epoch;
  }

  /** Which node its type wants it on. */
  get placement(): Placement {
    return this.type.placement;
  }

  /** Whether its class has an `onDisconnect`: then its state says who is connected. */
  get hearsEnds(): boolean {
    return this.type.class.prototype.onDisconnect !== Resource.prototype.onDisconnect;
  }

  /** Resolves when it is over. */
  protected ended(): Promise<void> {
    return (this.end ??= new Bell()).heard();
  }

  /** The error of what can't be done any more. */
  lost(maybeExecuted: boolean): AtlasError {
    const why = `this node's ownership of ${this.key} has ended`;
    return new AtlasError("not_owner", why, { maybeExecuted });
  }
}
