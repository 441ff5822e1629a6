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
import { compareVersions } from "../../api/module.ts";
import type { PlbChannelStats } from "../../api/modules.ts";
import { type Address, processOf } from "../bus/address.ts";
import type { CodeLabel } from "../bus/messages.ts";
import { Fenwick } from "./fenwick.ts";
import type { ChannelView, ModuleCall } from "./module_call.ts";

/** Draws per round. */
const STRATA = 32;

/** The highest factor by which `bias` multiplies a channel's weight. */
const MAX_BIAS = 16;

/** What is known of a channel when it opens. */
export type OpenedChannel = Pick<
  ChannelView,
  "address" | "listener" | "contact" | "label" | "grant" | "rttMs"
>;

/** What can be called: the newest version in use, and the functions of all code in use, sorted. */
export interface InUse {
  readonly version: string;
  readonly exports: readonly string[];
}

export type Bias = "none" | "region" | "latency";

export class ChannelPool {
  readonly views: Map<Address, ChannelView> = new Map();
  readonly #weights = new Fenwick();
  readonly #bySlot = new Map<number, ChannelView>();
  readonly #bias: Bias;
  readonly #region: () => string;
  readonly #random: () => number;
  /** The remaining draws of this round, each in [0, 1). */
  readonly #draws: number[] = [];
  #tokens = 0;
  #granted = 0;
  #inUse: InUse | null = null;
  /** Whether all open channels export the same functions. */
  #isUniform = true;
  #fastestMs = 1;

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
    return [...this.#bySlot.values()].filter((view) => view.owner === owner);
  }

  /** Channels without unused credit. */
  spent(): ChannelView[] {
    return [...this.#bySlot.values()].filter((view) => unusedCredit(view) === 0);
  }

  /** Channels whose credit and calls in flight are less than their grant. */
  short(): ChannelView[] {
    return [...this.#bySlot.values()].filter(isShort);
  }

  /** The newest version in use, and the functions of all code in use; null: no channel is open. */
  inUse(): InUse | null {
    return this.#inUse;
  }

  add(opened: OpenedChannel, owner: object): ChannelView {
    const view: ChannelView = {
      ...opened,
      owner,
      exports: new Set(opened.label.exports),
      slot: this.#weights.take(),
      allowed: 0,
      used: 0,
      returned: 0,
      calls: new Map(),
      isDraining: false,
    };
    this.views.set(view.address, view);
    this.#granted += view.grant;
    this.#channelsChanged();
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
    for (const [id, call] of view.calls) if (id <= after) call.label ??= view.label;
    view.label = label;
    view.exports = new Set(label.exports);
    if (!view.isDraining) this.#channelsChanged();
  }

  /** Spends one credit on a call. */
  spend(view: ChannelView, call: ModuleCall): void {
    call.id = ++view.used;
    call.view = view;
    view.calls.set(call.id, call);
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
    this.#channelsChanged();
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
    const view = this.#bySlot.get(this.#weights.find(Math.floor(this.#draw() * total)));
    if (view?.exports.has(name)) return view;
    return this.#isUniform ? null : this.#pickAmong(name);
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
    if (draws.length === 0) {
      for (let stratum = 0; stratum < STRATA; stratum++) {
        // An inside-out shuffle: each draw swaps places with a random earlier one, or stays.
        const at = Math.floor(this.#random() * (stratum + 1));
        draws.push(draws[at] ?? 0);
        draws[at] = (stratum + this.#random()) / STRATA;
      }
    }
    return draws.pop() as number;
  }

  #weigh(view: ChannelView): void {
    this.#weights.set(view.slot, this.#weightOf(view));
  }

  #weightOf(view: ChannelView): number {
    return unusedCredit(view) * this.#biasOf(view);
  }

  #biasOf({ contact, rttMs }: ChannelView): number {
    if (this.#bias === "region") return contact.region === this.#region() ? MAX_BIAS : 1;
    if (this.#bias === "none") return 1;
    // Inversely proportional to the round-trip time; the fastest gets the full factor.
    return Math.max(1, Math.round(MAX_BIAS * this.#fastestMs / Math.max(1, rttMs)));
  }

  /** Recomputes what depends on all channels. */
  #channelsChanged(): void {
    this.#bySlot.clear();
    const exportSets = new Set<string>();
    const exports = new Set<string>();
    let version: string | null = null;
    let fastest = Infinity;
    for (const view of this.views.values()) {
      if (view.isDraining) continue;
      const { label } = view;
      this.#bySlot.set(view.slot, view);
      fastest = Math.min(fastest, view.rttMs);
      if (version === null || compareVersions(label.version, version) > 0) version = label.version;
      const exportSet = label.exports.join();
      if (!exportSets.has(exportSet)) { for (const name of label.exports) exports.add(name); }
      exportSets.add(exportSet);
    }
    this.#isUniform = exportSets.size <= 1;
    this.#inUse = version === null ? null : { version, exports: [...exports].sort() };
    const fastestMs = Math.max(1, Math.min(fastest, Number.MAX_SAFE_INTEGER));
    if (this.#bias !== "latency" || fastestMs === this.#fastestMs) return;
    this.#fastestMs = fastestMs;
    for (const view of this.#bySlot.values()) this.#weigh(view);
  }
}

/** Whether a channel's unused credit and its calls in flight are less than its grant. */
export function isShort(view: ChannelView): boolean {
  return !view.isDraining && unusedCredit(view) + view.calls.size < view.grant;
}

/** Unused credit of a channel. */
function unusedCredit({ allowed, used, returned }: ChannelView): number {
  return allowed - used - returned;
}
