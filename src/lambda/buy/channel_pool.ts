/**
 * The open channels of a load balancer; draws one per request at random, weighted by its unused
 * credit.
 *
 * Draws are stratified: each round has one draw in each of 32 equal strata, in random order. Every
 * unit of credit stays equally likely, and shares converge with hundreds of draws as independent
 * draws do with thousands. (A fixed low-discrepancy order converges faster still, but resonates
 * with credit that returns periodically.)
 *
 * Source: `docs/design.md`, Modules; max-au's lambda_plb; stratified sampling (Neyman 1934), each
 * round shuffled (Knuth, TAOCP 2, algorithm P).
 */
import type { PlbChannelStats } from "../../api/modules.ts";
import { type Address, processOf } from "../bus/address.ts";
import { Waiters } from "../../model/waiters.ts";
import type { CodeLabel } from "../bus/messages.ts";
import { CodesInUse, type InUse } from "./codes_in_use.ts";
import type { ChannelView, ModuleCall } from "./module_call.ts";
import { WeightTree } from "./weight_tree.ts";

/** Draws per round. */
const STRATA = 32;

/** The highest factor by which `bias` multiplies a channel's weight. */
const MAX_BIAS = 16;

/** What is known of a channel when it opens. */
export type OpenedChannel = Pick<
  ChannelView,
  "address" | "listener" | "contact" | "label" | "grant" | "rttMs"
>;

export type Bias = "none" | "region" | "latency";

export class ChannelPool {
  readonly views: Map<Address, ChannelView> = new Map();
  readonly #weights = new WeightTree();
  /** The channels that are not draining, each at its slot. */
  readonly #bySlot: (ChannelView | null)[] = [];
  readonly #codes = new CodesInUse();
  readonly #bias: Bias;
  readonly #region: () => string;
  readonly #random: () => number;
  /** This round's draws, each in [0, 1), of which the first ones remain. */
  readonly #draws: Float64Array = new Float64Array(STRATA);
  #drawsLeft = 0;
  #tokens = 0;
  #granted = 0;
  /** The shortest {@link tripMs} of the open channels, and how many have it. */
  #fastestMs = Infinity;
  #fastest = 0;

  constructor(bias: Bias, region: () => string, random: () => number) {
    this.#bias = bias;
    this.#region = region;
    this.#random = random;
  }

  /** Unused credit. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Capacity of all channels that are not draining. */
  get granted(): number {
    return this.#granted;
  }

  /** An order's channels that are not draining. */
  viewsOf(owner: object): ChannelView[] {
    return this.#open().filter((view) => view.owner === owner);
  }

  /** Channels without unused credit. */
  spent(): ChannelView[] {
    return this.#open().filter((view) => unusedCredit(view) === 0);
  }

  /** Channels whose credit and calls in flight are less than their grant. */
  short(): ChannelView[] {
    return this.#open().filter(isShort);
  }

  /** The newest version in use, and the functions of all code in use; null: no channel is open. */
  inUse(): InUse | null {
    return this.#codes.inUse;
  }

  add(opened: OpenedChannel, owner: object): ChannelView {
    const view: ChannelView = {
      ...opened,
      owner,
      exports: this.#codes.add(opened.label),
      slot: this.#weights.take(),
      allowed: 0,
      used: 0,
      returned: 0,
      calls: new Waiters(),
      isDraining: false,
    };
    this.views.set(view.address, view);
    this.#bySlot[view.slot] = view;
    this.#granted += view.grant;
    if (tripMs(view) === this.#fastestMs) this.#fastest++;
    else if (tripMs(view) < this.#fastestMs) this.#findFastest();
    return view;
  }

  /** Applies the total credit that a channel announced; a total that is not higher is old. */
  credit(view: ChannelView, allowed: number): void {
    if (view.isDraining || allowed <= view.allowed) return;
    this.#tokens += allowed - view.allowed;
    view.allowed = allowed;
    this.#weigh(view);
  }

  /** Lowers a channel's grant and returns its unused credit beyond that. */
  lower(view: ChannelView, grant: number): void {
    const back = Math.min(unusedCredit(view), view.grant - grant);
    view.returned += back;
    this.#tokens -= back;
    this.#granted -= view.grant - grant;
    view.grant = grant;
    this.#weigh(view);
  }

  /** Requests after number `after` run on other code. */
  relabel(view: ChannelView, label: CodeLabel, after: number): void {
    for (const [id, call] of view.calls.all()) if (id <= after) call.label ??= view.label;
    if (view.isDraining) view.exports = new Set(label.exports);
    else {
      // Added first, because a name that both export is in use all the time.
      view.exports = this.#codes.add(label);
      this.#codes.remove(view.label);
    }
    view.label = label;
  }

  /** Spends one credit on a call. */
  spend(view: ChannelView, call: ModuleCall): void {
    call.id = ++view.used;
    call.view = view;
    view.calls.add(call.id, call);
    this.#tokens--;
    this.#weigh(view);
  }

  /** Excludes a channel from draws; its calls are still answered. */
  drain(view: ChannelView): void {
    if (view.isDraining) return;
    view.isDraining = true;
    this.#tokens -= unusedCredit(view);
    this.#granted -= view.grant;
    this.#weights.release(view.slot);
    this.#bySlot[view.slot] = null;
    this.#codes.remove(view.label);
    if (tripMs(view) === this.#fastestMs && --this.#fastest === 0) this.#findFastest();
  }

  /** Forgets a channel that is gone. */
  remove(view: ChannelView): void {
    this.drain(view);
    this.views.delete(view.address);
  }

  /** A channel with credit whose code has this function; null: no such channel has credit now. */
  pick(name: string): ChannelView | null {
    const { total } = this.#weights;
    if (total === 0) return null;
    // The product may be rounded up to the total.
    const point = Math.min(Math.floor(this.#draw() * total), total - 1);
    const view = this.#bySlot[this.#weights.find(point)];
    if (view?.exports.has(name)) return view;
    return this.#codes.isUniform ? null : this.#pickAmong(name);
  }

  stats(): PlbChannelStats[] {
    return [...this.views.values()].map((view) => ({
      channel: processOf(view.address),
      region: view.contact.region,
      node: view.contact.node,
      incarnation: view.contact.incarnation,
      version: view.label.version,
      grant: view.grant,
      allowed: view.allowed - view.returned,
      used: view.used,
      running: view.calls.size,
      rttMs: view.rttMs,
      draining: view.isDraining,
    }));
  }

  /** Draws among channels whose code has the function, if channels export different functions. */
  #pickAmong(name: string): ChannelView | null {
    const fit = [...this.views.values()].filter((view) =>
      !view.isDraining && unusedCredit(view) > 0 && view.exports.has(name)
    );
    let left = this.#draw() * fit.reduce((sum, view) => sum + this.#weightOf(view), 0);
    for (const view of fit) {
      left -= this.#weightOf(view);
      if (left < 0) return view;
    }
    return fit.at(-1) ?? null;
  }

  #draw(): number {
    const draws = this.#draws;
    if (this.#drawsLeft === 0) {
      for (let stratum = 0; stratum < STRATA; stratum++) {
        // An inside-out shuffle: each draw swaps places with a random earlier one, or stays.
        const at = Math.floor(this.#random() * (stratum + 1));
        draws[stratum] = draws[at] as number;
        draws[at] = (stratum + this.#random()) / STRATA;
      }
      this.#drawsLeft = STRATA;
    }
    return draws[--this.#drawsLeft] as number;
  }

  #weigh(view: ChannelView): void {
    this.#weights.set(view.slot, this.#weightOf(view));
  }

  #weightOf(view: ChannelView): number {
    return unusedCredit(view) * this.#biasOf(view);
  }

  #biasOf(view: ChannelView): number {
    if (this.#bias === "none") return 1;
    if (this.#bias === "region") return view.contact.region === this.#region() ? MAX_BIAS : 1;
    // Inversely proportional to the round-trip time; the fastest gets the full factor.
    return Math.max(1, Math.round(MAX_BIAS * this.#fastestMs / tripMs(view)));
  }

  /** The channels that are not draining, in the order in which they opened. */
  #open(): ChannelView[] {
    return [...this.views.values()].filter((view) => !view.isDraining);
  }

  /** Looks for the shortest round trip, on which all weights may depend. */
  #findFastest(): void {
    const open = this.#open();
    this.#fastestMs = open.reduce((least, view) => Math.min(least, tripMs(view)), Infinity);
    this.#fastest = open.filter((view) => tripMs(view) === this.#fastestMs).length;
    if (this.#bias === "latency") { for (const view of open) this.#weigh(view); }
  }
}

/** The round-trip time of a channel as the bias counts it: at least 1 ms. */
function tripMs({ rttMs }: ChannelView): number {
  return Math.max(1, Math.min(rttMs, Number.MAX_SAFE_INTEGER));
}

/** Whether a channel's unused credit and its calls in flight are less than its grant. */
export function isShort(view: ChannelView): boolean {
  return !view.isDraining && unusedCredit(view) + view.calls.size < view.grant;
}

/** Unused credit of a channel. */
function unusedCredit({ allowed, used, returned }: ChannelView): number {
  return allowed - used - returned;
}
