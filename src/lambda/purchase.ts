/**
 * A purchase: the buyer's notebook of what it has, what it is being sold, and what it
 * still wants, near and far.
 *
 * Takes the pool and the openings under way; gives the quantities of the order, how much
 * of a match to take, and which channels to give back. Decides nothing by itself and
 * sends nothing.
 */
import type { Timer } from "../ports/clock.ts";
import type { Address } from "./address.ts";
import type { Preference } from "./api.ts";
import type { ChannelView, Pool } from "./pool.ts";
import { share } from "./share.ts";

/** A channel that is being opened. */
export interface Opening {
  readonly listener: Address;
  readonly want: number;
  readonly isNear: boolean;
  /** The channel that it replaces; its capacity is no more than before then. */
  readonly replaces: ChannelView | null;
  readonly sentAt: number;
  readonly timer: Timer;
}

/** What is still wanted: of anybody; and besides, of sellers in the own region. */
export interface Need {
  readonly quantity: number;
  readonly nearby: number;
}

/** A channel to be drained, or to be replaced by one of `grant`. */
export interface Return {
  readonly view: ChannelView;
  readonly grant: number;
}

export class Purchase {
  readonly openings: Map<number, Opening> = new Map();
  /** Openings that came to nothing: what they were to bring is not wanted before the next try. */
  refused: Opening[] = [];
  wanted: number;
  readonly #prefer: Preference;
  readonly #pool: Pool;
  readonly #region: () => string;

  constructor(
    { wanted, prefer }: { readonly wanted: number; readonly prefer: Preference },
    pool: Pool,
    region: () => string,
  ) {
    this.wanted = wanted;
    this.#prefer = prefer;
    this.#pool = pool;
    this.#region = region;
  }

  need(): Need {
    const pending = this.#pending(() => true);
    const quantity = Math.max(0, this.wanted - this.#kept() - pending);
    if (this.#prefer !== "near") return { quantity, nearby: 0 };
    const near = this.#nearGranted() + this.#pending(({ isNear }) => isNear);
    // What is held near already is not wanted again; nor what anybody may sell anyway.
    return { quantity, nearby: Math.max(0, this.wanted - near - quantity) };
  }

  /** How much of a match to take. */
  take(quantity: number, region: string): number {
    const need = this.need();
    const most = this.isNear(region) ? need.quantity + need.nearby : need.quantity;
    return Math.min(quantity, most);
  }

  isNear(region: string): boolean {
    return region === this.#region();
  }

  /** What is held beyond what is wanted: near ones made up for it, or less is wanted now. */
  returns(): Return[] {
    const surplus = this.#kept() - this.wanted;
    if (surplus <= 0) return [];
    const views = [...this.#pool.views.values()]
      .filter((view) => !view.isDraining && !view.isReplaced);
    return this.#prefer === "near" ? this.#farthest(views, surplus) : evenly(views, surplus);
  }

  /** From far away first; there and here, the smallest first. */
  #farthest(views: readonly ChannelView[], surplus: number): Return[] {
    const order = views.map((view) => ({ view, near: this.isNear(view.contact.region) ? 1 : 0 }))
      .sort((a, b) => a.near - b.near || a.view.grant - b.view.grant);
    const returns: Return[] = [];
    // What is replaced far away goes back once that is done: near ones given back for it now
    // would only be bought again.
    let left = surplus - this.#replacedFarAway();
    for (const { view } of order) {
      if (left <= 0) break;
      const given = Math.min(left, view.grant);
      returns.push({ view, grant: view.grant - given });
      left -= given;
    }
    return returns;
  }

  /** Regions, the best first: the own one, then by how quickly their sellers opened. */
  regions(): string[] {
    const best = new Map<string, number>();
    for (const { contact, rttMs } of this.#pool.views.values()) {
      best.set(contact.region, Math.min(rttMs, best.get(contact.region) ?? Infinity));
    }
    const own = this.#region();
    best.delete(own);
    const others = [...best].sort(([, a], [, b]) => a - b).map(([region]) => region);
    return [own, ...others];
  }

  #replacedFarAway(): number {
    let sum = 0;
    for (const { replaces, isNear, want } of this.openings.values()) {
      if (replaces && !replaces.isDraining && !isNear) sum += want;
    }
    return sum;
  }

  /** What is held, less what is being given back. */
  #kept(): number {
    let kept = this.#pool.granted;
    for (const { replaces, want } of this.openings.values()) {
      if (replaces && !replaces.isDraining) kept -= replaces.grant - want;
    }
    return kept;
  }

  #pending(counts: (opening: Opening) => boolean): number {
    let sum = 0;
    for (const opening of [...this.openings.values(), ...this.refused]) {
      if (opening.replaces === null && counts(opening)) sum += opening.want;
    }
    return sum;
  }

  #nearGranted(): number {
    let sum = 0;
    for (const view of this.#pool.views.values()) {
      if (!view.isDraining && this.isNear(view.contact.region)) sum += view.grant;
    }
    return sum;
  }
}

/** From all alike, so that what is left is as spread as it can be. */
function evenly(views: readonly ChannelView[], surplus: number): Return[] {
  const grants = views.map(({ grant }) => grant);
  const kept = share(grants.reduce((sum, grant) => sum + grant, 0) - surplus, grants);
  return views.map((view, at) => ({ view, grant: kept[at] as number }))
    .filter(({ view, grant }) => grant < view.grant);
}
