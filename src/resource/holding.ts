/**
 * What a resource in memory is held by: the title deed that hangs at its door.
 *
 * Gives the key, the ownership and the node's life that it is served under, and how far
 * its state in the store is known.
 */
import { AtlasError } from "../errors.ts";
import type { Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import type { Stamp } from "../ports/store.ts";
import type { Life } from "../registry/lease.ts";
import { Expiring } from "../time/deadlines.ts";
import type { Adrift } from "./adrift.ts";

export abstract class Holding extends Expiring {
  readonly key: string;
  owner: Ownership;
  life: Life;
  /** The last turn that is known to be in the state. */
  last: Stamp;
  /** What it keeps while it goes on without the store; null where it doesn't. */
  adrift: Adrift | null = null;
  /** When it was claimed, on the monotonic clock. */
  readonly openedAt: number;

  constructor(key: string, owner: Ownership, life: Life, last: Stamp, openedAt: number) {
    super();
    this.key = key;
    this.owner = owner;
    this.life = life;
    this.last = last;
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

  /** The error of what can't be done any more. */
  lost(maybeExecuted: boolean): AtlasError {
    const why = `this node's ownership of ${this.key} has ended`;
    return new AtlasError("not_owner", why, { maybeExecuted });
  }
}
