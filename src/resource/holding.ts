/**
 * What a resource in memory is held by: the title deed that hangs at its door.
 *
 * Gives the key, the ownership and the node's life that it is served under, and how far
 * its state in the store is known.
 */
import type { Placement, ResolvedType } from "../app.ts";
import { AtlasError } from "../errors.ts";
import { TIDY_MS } from "../limits.ts";
import type { Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import type { Stamp } from "../ports/store.ts";
import type { Life } from "../registry/lease.ts";
import { Expiring } from "../time/deadlines.ts";
import type { Adrift } from "./adrift.ts";
import { Bell } from "../time/bell.ts";
import { Resource } from "./resource.ts";

type Lifetime = Pick<AbortController, "signal" | "abort">;

/** Of what was over before anybody asked. */
const OVER: Lifetime = { signal: AbortSignal.abort(), abort: () => {} };

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

  /** When there may be answers past their time, on the monotonic clock. */
  tidyAt: number;
  /** Rings when it is over. */
  protected end: Bell | null = null;
  #lifetime: Lifetime | null = null;

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
    // What earlier owners answered is not known yet; without a turn there is nothing.
    this.tidyAt = last.epoch > 0 ? openedAt + TIDY_MS : Infinity;
  }

  /** Whether its type goes on where the store can't be reached. */
  get goesOn(): boolean {
    return this.type.partition === "available";
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

  /** Aborted once it is over. */
  get lifetime(): AbortSignal {
    return (this.#lifetime ??= new AbortController()).signal;
  }

  protected endLifetime(): void {
    this.#lifetime?.abort();
    this.#lifetime ??= OVER;
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
