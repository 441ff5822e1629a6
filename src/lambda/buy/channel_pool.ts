/**
 * The channels that a load balancer draws from.
 *
 * Takes channels and what they allow; gives one for each request, at random, by weight
 * of its remaining credit.
 *
 * Draws come in rounds: in each, one falls on every 32nd part of the wheel, in an order left
 * to chance. So every ticket is as likely as ever, but shares come out after hundreds of draws
 * as those of independent ones do after thousands. (A fixed order, such as the additive
 * recurrence's, would do better still, but swings along with credit that comes back as
 * regularly.)
 *
 * Source: design §5, PLB; max-au's lambda_plb; draws: stratified sampling (Neyman 1934),
 * each round shuffled (Fisher and Yates; Knuth, TAOCP 2, algorithm P).
 */
import { type Address, partOf } from "../bus/address.ts";
import type { PlbChannelStats } from "../../api/modules.ts";
import { Fenwick } from "./fenwick.ts";
import type { Label } from "../bus/messages.ts";
import { compareVersions } from "../../api/module.ts";
import type { ChannelView, ModuleCall } from "./module_call.ts";

/** Draws of a round. */
const ROUND = 32;

/** How many times as many tickets a favoured channel's credit counts, at most. */
const MOST_BIAS = 16;

/** What is known of a channel when it opens. */
export type Opened = Pick<
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
  readonly #wheel = new Fenwick();
  readonly #bySlot = new Map<number, ChannelView>();
  readonly #bias: Bias;
  readonly #region: () => string;
  readonly #chance: () => number;
  /** Where the draws of this round that are left will fall, from 0 to 1. */
  readonly #draws: number[] = [];
  #tokens = 0;
  #granted = 0;
  #inUse: InUse | null = null;
  /** Whether all open channels export the same functions. */
  #isUniform = true;
  #quickestMs = 1;

  constructor(bias: Bias, region: () => string, chance: () => number) {
    this.#bias = bias;
    this.#region = region;
    this.#chance = chance;
  }

  /** Credit in hand. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Capacity of all channels that aren't drained. */
  get granted(): number {
    return this.#granted;
  }

  /** An order's channels that aren't drained. */
  viewsOf(owner: object): ChannelView[] {
    return [...this.#bySlot.values()].filter((view) => view.owner === owner);
  }

  /** Channels without credit in hand. */
  spent(): ChannelView[] {
    return [...this.#bySlot.values()].filter((view) => inHand(view) === 0);
  }

  /** Channels that have less than was bought, beyond what their answers under way will bring. */
  short(): ChannelView[] {
    return [...this.#bySlot.values()].filter(isShort);
  }

  /** The newest version in use, and the functions of all code in use; null where nothing is open. */
  inUse(): InUse | null {
    return this.#inUse;
  }

  add(opened: Opened, owner: object): ChannelView {
    const view: ChannelView = {
      ...opened,
      owner,
      exports: new Set(opened.label.exports),
      slot: this.#wheel.take(),
      allowed: 0,
      used: 0,
      returned: 0,
      calls: new Map(),
      isDraining: false,
    };
    this.views.set(view.address, view);
    this.#granted += view.grant;
    this.#compare();
    return view;
  }

  /** Credit came; less than what is known already says nothing new. */
  credit(view: ChannelView, allowed: number): void {
    if (view.isDraining || allowed <= view.allowed) return;
    this.#tokens += allowed - view.allowed;
    view.allowed = allowed;
    this.#weigh(view);
  }

  /** Keeps only `grant` of a channel: what it has no use for now of its credit is given back. */
  lower(view: ChannelView, grant: number): void {
    const back = Math.min(inHand(view), view.grant - grant);
    view.returned += back;
    this.#tokens -= back;
    this.#granted -= view.grant - grant;
    view.grant = grant;
    this.#weigh(view);
  }

  /** Requests after number `after` run on other code. */
  relabel(view: ChannelView, label: Label, after: number): void {
    for (const [id, call] of view.calls) if (id <= after) call.label ??= view.label;
    view.label = label;
    view.exports = new Set(label.exports);
    if (!view.isDraining) this.#compare();
  }

  /** Spends one credit on a call. */
  spend(view: ChannelView, call: ModuleCall): void {
    call.id = ++view.used;
    call.view = view;
    view.calls.set(call.id, call);
    this.#tokens--;
    this.#weigh(view);
  }

  /** Takes a channel out of the draw; its calls are still to be answered. */
  drain(view: ChannelView): void {
    if (view.isDraining) return;
    view.isDraining = true;
    this.#tokens -= inHand(view);
    this.#granted -= view.grant;
    this.#wheel.release(view.slot);
    this.#compare();
  }

  /** Forgets a channel that is gone. */
  remove(view: ChannelView): void {
    this.drain(view);
    this.views.delete(view.address);
  }

  /** A channel with credit that has this function; null where there is none now. */
  pick(name: string): ChannelView | null {
    const { total } = this.#wheel;
    if (total === 0) return null;
    const view = this.#bySlot.get(this.#wheel.find(Math.floor(this.#draw() * total)));
    if (view?.exports.has(name)) return view;
    return this.#isUniform ? null : this.#pickAmong(name);
  }

  stats(): PlbChannelStats[] {
    return [...this.views.values()].map((view) => ({
      channel: partOf(view.address),
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

  /** Two makes of code are in use, of which one has functions that the other lacks. */
  #pickAmong(name: string): ChannelView | null {
    const fit = [...this.views.values()].filter((view) =>
      !view.isDraining && inHand(view) > 0 && view.exports.has(name)
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
      for (let part = 0; part < ROUND; part++) {
        // Shuffled as it grows: each one changes places with any before it, or stays.
        const at = Math.floor(this.#chance() * (part + 1));
        draws.push(draws[at] ?? 0);
        draws[at] = (part + this.#chance()) / ROUND;
      }
    }
    return draws.pop() as number;
  }

  #weigh(view: ChannelView): void {
    this.#wheel.set(view.slot, this.#weightOf(view));
  }

  #weightOf(view: ChannelView): number {
    return inHand(view) * this.#favour(view);
  }

  #favour({ contact, rttMs }: ChannelView): number {
    if (this.#bias === "region") return contact.region === this.#region() ? MOST_BIAS : 1;
    if (this.#bias === "none") return 1;
    // As quick as the quickest: all of it; half as quick: half of it.
    return Math.max(1, Math.round(MOST_BIAS * this.#quickestMs / Math.max(1, rttMs)));
  }

  /** The channels changed: what is known of all of them is found out again. */
  #compare(): void {
    this.#bySlot.clear();
    const kinds = new Set<string>();
    const exports = new Set<string>();
    let version: string | null = null;
    let quickest = Infinity;
    for (const view of this.views.values()) {
      if (view.isDraining) continue;
      const { label } = view;
      this.#bySlot.set(view.slot, view);
      quickest = Math.min(quickest, view.rttMs);
      if (version === null || compareVersions(label.version, version) > 0) version = label.version;
      const kind = label.exports.join();
      if (!kinds.has(kind)) { for (const name of label.exports) exports.add(name); }
      kinds.add(kind);
    }
    this.#isUniform = kinds.size <= 1;
    this.#inUse = version === null ? null : { version, exports: [...exports].sort() };
    const quickestMs = Math.max(1, Math.min(quickest, Number.MAX_SAFE_INTEGER));
    if (this.#bias !== "latency" || quickestMs === this.#quickestMs) return;
    this.#quickestMs = quickestMs;
    for (const view of this.#bySlot.values()) this.#weigh(view);
  }
}

/** Whether a channel's credit and the calls on their way to it are less than its grant. */
export function isShort(view: ChannelView): boolean {
  return !view.isDraining && inHand(view) + view.calls.size < view.grant;
}

/** Credit of a channel that can be spent. */
function inHand({ allowed, used, returned }: ChannelView): number {
  return allowed - used - returned;
}
