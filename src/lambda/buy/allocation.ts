/**
 * Computes what one buy order still wants, how much of a match to take, and what to give back.
 *
 * Reads the order's channels and the channels being opened; sends nothing. A buyer without a range
 * ranks what it holds by version, then by region, and exchanges the oldest for anything newer. A
 * buyer with a range ranks by region only.
 */
import { compareVersions } from "../../api/module.ts";
import type { Preference } from "../../api/modules.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Address } from "../bus/address.ts";
import { fairShare } from "../bus/fair_share.ts";
import { MAX_REGIONS, type Order } from "../bus/order.ts";
import type { ChannelView } from "./module_call.ts";

/** The terms of a buy order. */
export interface BuyTerms {
  /** How much is wanted now, and was wanted at first. */
  wanted: number;
  readonly asked: number;
  /** Null: any stable version, the newest first. */
  readonly range: string | null;
  readonly prefer: Preference;
}

/** A channel that is being opened. */
export interface Opening {
  readonly listener: Address;
  readonly want: number;
  readonly isNear: boolean;
  readonly sentAt: number;
  readonly timer: Timer;
}

/** What is still wanted; see {@link Order}. */
export type Need = Pick<Order, "quantity" | "nearby" | "newer" | "than">;

/** A channel whose grant has to be lowered to `grant`; it is drained if that is 0. */
export interface Return {
  readonly view: ChannelView;
  readonly grant: number;
}

export class Allocation {
  readonly #terms: BuyTerms;
  readonly #views: () => readonly ChannelView[];
  readonly #openings: () => readonly Opening[];
  readonly #region: () => string;

  /**
   * @param views the order's channels that are not draining.
   * @param openings channels being opened, and failed ones until the next retry: neither is ordered
   * again.
   */
  constructor(
    terms: BuyTerms,
    views: () => readonly ChannelView[],
    openings: () => readonly Opening[],
    region: () => string,
  ) {
    this.#terms = terms;
    this.#views = views;
    this.#openings = openings;
    this.#region = region;
  }

  need(): Need {
    const { wanted, range, prefer } = this.#terms;
    const views = this.#views();
    const pending = this.#pending(() => true);
    const sum = grantOf(views) + pending;
    const quantity = Math.max(0, wanted - sum);
    if (range === null) return { quantity, ...this.#better(views, Math.max(0, sum - wanted)) };
    if (prefer !== "near") return { quantity, nearby: 0, newer: 0, than: "" };
    const near = grantOf(views.filter((view) => this.#isViewNear(view))) +
      this.#pending(({ isNear }) => isNear);
    // Excludes capacity that is already held nearby, and `quantity`, which any seller may supply.
    return { quantity, nearby: Math.max(0, wanted - near - quantity), newer: 0, than: "" };
  }

  /**
   * How much of the oldest version held would be exchanged.
   *
   * @param surplus how much of it will be given back anyway once all openings have succeeded
   */
  #better(views: readonly ChannelView[], surplus: number): Omit<Need, "quantity"> {
    const than = oldestOf(views);
    const old = views.filter(({ label }) => label.version === than);
    const far = this.#terms.prefer === "near" ? old.filter((it) => !this.#isViewNear(it)) : [];
    return {
      than,
      newer: Math.max(0, grantOf(old) - surplus),
      nearby: Math.max(0, grantOf(far) - surplus),
    };
  }

  /** How much of a match to take. */
  take(quantity: number, region: string, version: string): number {
    const need = this.need();
    return Math.min(quantity, need.quantity + this.#replaceable(need, region, version));
  }

  /** How much of a seller's capacity would replace what is held. */
  #replaceable({ nearby, newer, than }: Need, region: string, version: string): number {
    const near = this.isNear(region) ? nearby : 0;
    if (this.#terms.range !== null) return near;
    if (than === "") return 0;
    const order = compareVersions(version, than);
    return order > 0 ? newer : order === 0 ? near : 0;
  }

  isNear(region: string): boolean {
    return region === this.#region();
  }

  #isViewNear({ contact }: ChannelView): boolean {
    return this.isNear(contact.region);
  }

  /** Capacity to give back because more is held than wanted, the least preferred first. */
  returns(): Return[] {
    const { wanted, range } = this.#terms;
    const views = this.#views();
    let left = grantOf(views) - wanted;
    let returns: Return[] = [];
    const versions = range === null
      ? [...new Set(views.map(({ label }) => label.version))].sort(compareVersions)
      : [null];
    for (const version of versions) {
      if (left <= 0) break;
      const group = views.filter(({ label }) => version === null || label.version === version);
      const given = Math.min(left, grantOf(group));
      returns = [...returns, ...this.#returnsOf(group, given)];
      left -= given;
    }
    return returns;
  }

  #returnsOf(views: readonly ChannelView[], surplus: number): Return[] {
    return this.#terms.prefer === "near" ? this.#farthest(views, surplus) : evenly(views, surplus);
  }

  /**
   * Takes from other regions first, then from the buyer's own region; in each the smallest grant
   * first.
   */
  #farthest(views: readonly ChannelView[], surplus: number): Return[] {
    const order = views.map((view) => ({ view, near: this.#isViewNear(view) ? 1 : 0 }))
      .sort((a, b) => a.near - b.near || a.view.grant - b.view.grant);
    const returns: Return[] = [];
    let left = surplus;
    for (const { view } of order) {
      if (left <= 0) break;
      const given = Math.min(left, view.grant);
      returns.push({ view, grant: view.grant - given });
      left -= given;
    }
    return returns;
  }

  /** Regions, the best first: the buyer's own region, then by round-trip time of the openings. */
  regions(): string[] {
    const best = new Map<string, number>();
    for (const { contact, rttMs } of this.#views()) {
      best.set(contact.region, Math.min(rttMs, best.get(contact.region) ?? Infinity));
    }
    const own = this.#region();
    best.delete(own);
    const others = [...best].sort(([, a], [, b]) => a - b).map(([region]) => region);
    return [own, ...others].slice(0, MAX_REGIONS);
  }

  #pending(counts: (opening: Opening) => boolean): number {
    let sum = 0;
    for (const opening of this.#openings()) {
      if (counts(opening)) sum += opening.want;
    }
    return sum;
  }
}

function grantOf(views: readonly ChannelView[]): number {
  return views.reduce((sum, { grant }) => sum + grant, 0);
}

function oldestOf(views: readonly ChannelView[]): string {
  const versions = new Set(views.map(({ label }) => label.version));
  return [...versions].sort(compareVersions)[0] ?? "";
}

/** Takes from all evenly, so that the rest stays as spread as possible. */
function evenly(views: readonly ChannelView[], surplus: number): Return[] {
  const grants = views.map(({ grant }) => grant);
  const kept = fairShare(grants.reduce((sum, grant) => sum + grant, 0) - surplus, grants);
  return views.map((view, at) => ({ view, grant: kept[at] as number }))
    .filter(({ view, grant }) => grant < view.grant);
}
