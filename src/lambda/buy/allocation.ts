/**
 * What one buy order has brought, what is being sold to it, and what it still wants.
 *
 * Takes the order's channels and the openings under way; gives the quantities of the order, how
 * much of a match to take, and what to give back. Decides nothing by itself and sends nothing.
 *
 * A buyer without a range ranks what it holds by version, and then by region; it would change
 * the oldest of it for anything newer. One with a range ranks by region only.
 */
import type { Timer } from "../../ports/clock.ts";
import type { Address } from "../bus/address.ts";
import type { Preference } from "../../api/modules.ts";
import { compareVersions } from "../../api/module.ts";
import { MAX_REGIONS, type Order } from "../bus/order.ts";
import type { ChannelView } from "./module_call.ts";
import { fairShare } from "../fair_share.ts";

/** The terms of a buy order. */
export interface BuyTerms {
  /** How much is wanted now, and was at first. */
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

/** A channel to be drained, or of which only `grant` is to be kept. */
export interface Return {
  readonly view: ChannelView;
  readonly grant: number;
}

export class Allocation {
  readonly openings: Map<number, Opening> = new Map();
  /** Openings that came to nothing: what they were to bring is not wanted before the next try. */
  refused: Opening[] = [];
  readonly #terms: BuyTerms;
  readonly #views: () => readonly ChannelView[];
  readonly #region: () => string;

  /** @param views its channels that aren't drained. */
  constructor(terms: BuyTerms, views: () => readonly ChannelView[], region: () => string) {
    this.#terms = terms;
    this.#views = views;
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
    // What is held near already is not wanted again; nor what anybody may sell anyway.
    return { quantity, nearby: Math.max(0, wanted - near - quantity), newer: 0, than: "" };
  }

  /**
   * What would be changed of the oldest version that is held.
   *
   * @param surplus what will be given back of it anyway, once all that is opened is there
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
    return Math.min(quantity, need.quantity + this.#worth(need, region, version));
  }

  /** How much would be taken of a seller in place of what is held. */
  #worth({ nearby, newer, than }: Need, region: string, version: string): number {
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

  /** What is held beyond what is wanted, the worst first: better made up for it, or less is wanted. */
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

  /** From far away first; there and here, the smallest first. */
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

  /** Regions, the best first: the own one, then by how quickly their sellers opened. */
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
    for (const opening of [...this.openings.values(), ...this.refused]) {
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

/** From all alike, so that what is left is as spread as it can be. */
function evenly(views: readonly ChannelView[], surplus: number): Return[] {
  const grants = views.map(({ grant }) => grant);
  const kept = fairShare(grants.reduce((sum, grant) => sum + grant, 0) - surplus, grants);
  return views.map((view, at) => ({ view, grant: kept[at] as number }))
    .filter(({ view, grant }) => grant < view.grant);
}
