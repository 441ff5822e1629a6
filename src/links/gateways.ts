/**
 * The gateways of other regions.
 *
 * Takes addresses by region; gives a link to the fastest gateway that answers. Each gateway in
 * use is probed from time to time; one that fails is left out for a while and then tried again.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import { AtlasError, detailOf, messageOf } from "../errors.ts";
import {
  GATEWAY_IDLE_MS,
  GATEWAY_PROBE_MS,
  GATEWAY_PROBE_TIMEOUT_MS,
  MAX_ROUTE_RETRY_MS,
  ROUTE_RETRY_MS,
} from "../limits.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import { backoffMs } from "../time/wait.ts";
import type { Session } from "./links.ts";

/** By how much faster another gateway must be to replace the current one. */
const QUICKER = 0.8;
const QUICKER_MS = 2;
/** How long other gateways are preferred to one that could not pass a call on, in ms. */
const EXCLUDE_MS = 500;

export interface GatewayParts {
  /** Addresses by region. */
  readonly gateways: Readonly<Record<string, readonly string[]>>;
  /** This node's region, whose nodes are reached directly. */
  readonly region: string;
  readonly clock: Clock;
  readonly random: Random;
  /** A link to the node that answers at an address; null: this node itself. */
  readonly dialAddress: (address: string) => Promise<Session | null>;
  readonly onEvent: (event: NodeEvent) => void;
}

/** The gateways of one region. */
interface RegionGateways {
  readonly region: string;
  readonly gateways: readonly Gateway[];
  present: Gateway | null;
  usedAt: number;
}

export class Gateways {
  readonly #parts: GatewayParts;
  readonly #regions = new Map<string, RegionGateways>();
  #closed = false;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    for (const [region, addresses] of Object.entries(parts.gateways)) {
      if (region === parts.region) continue;
      const gateways = addresses.map((address) => new Gateway(region, address));
      this.#regions.set(region, { region, gateways, present: null, usedAt: -Infinity });
    }
  }

  /** Whether no region has gateways. */
  get isEmpty(): boolean {
    return this.#regions.size === 0;
  }

  /** Whether a region has gateways. */
  has(region: string): boolean {
    return this.#regions.has(region);
  }

  /** An open link to the best gateway of a region; null if none is open and healthy. */
  ready(region: string): Session | null {
    const regionGateways = this.#regions.get(region);
    if (!regionGateways) return null;
    const now = this.#parts.clock.now();
    this.#used(regionGateways, now);
    const { present } = regionGateways;
    let best = present?.isUsable ? present : null;
    for (const gateway of regionGateways.gateways) {
      if (gateway === best || !gateway.isUsable) continue;
      if (!best || rank(gateway, now) < rank(best, now) * QUICKER - QUICKER_MS) best = gateway;
    }
    if (best && best !== present) this.#changed(regionGateways, best);
    return best?.session ?? null;
  }

  /**
   * A link to a gateway of a region, opened if no link to one is open: the first time all are
   * dialled at once, and the first that answers is used.
   *
   * @throws AtlasError `unavailable` if none can be reached now.
   */
  async open(region: string): Promise<Session> {
    const ready = this.ready(region);
    if (ready) return ready;
    const regionGateways = this.#regions.get(region);
    if (!regionGateways) throw new AtlasError("unavailable", `region ${region} has no gateways`);
    const now = this.#parts.clock.now();
    const dials = regionGateways.gateways.filter((gateway) => gateway.isDue(now))
      .map((gateway) => this.#dial(regionGateways, gateway));
    try {
      await Promise.any(dials);
    } catch {
      // Each failure is recorded, and reported below.
    }
    const session = this.ready(region);
    if (session) return session;
    const { gateways } = regionGateways;
    const reasons = [...new Set(gateways.map(({ why }) => messageOf(why)))].join("; ");
    const each = gateways.map(({ address, why }) => `${address}: ${detailOf(why)}`).join("; ");
    const message = `no gateway of region ${region} can be reached`;
    throw new AtlasError("unavailable", `${message} (${reasons})`, {
      detail: `${message} (${each})`,
    });
  }

  /** A gateway could not pass a call on: other gateways are preferred for a while. */
  exclude(session: Session): void {
    const until = this.#parts.clock.now() + EXCLUDE_MS;
    for (const { gateways } of this.#regions.values()) {
      for (const gateway of gateways) {
        if (gateway.session === session) gateway.excludedUntil = until;
      }
    }
  }

  /** An unresponsive link responds again: gateways that failed because of it are tried at once. */
  responsive(session: Session): void {
    for (const regionGateways of this.#regions.values()) {
      for (const gateway of regionGateways.gateways) {
        if (gateway.session === session && gateway.failures > 0) {
          this.#schedule(regionGateways, gateway, 0);
        }
      }
    }
  }

  /** Stops probing. */
  close(): void {
    this.#closed = true;
    for (const { gateways } of this.#regions.values()) {
      for (const gateway of gateways) gateway.timer?.cancel();
    }
  }

  /** Probes gateways again that had not been used for a while. */
  #used(regionGateways: RegionGateways, now: number): void {
    const wasIdle = now - regionGateways.usedAt > GATEWAY_IDLE_MS;
    regionGateways.usedAt = now;
    if (!wasIdle) return;
    for (const gateway of regionGateways.gateways) {
      if (gateway.session) this.#schedule(regionGateways, gateway, 0);
    }
  }

  #dial(regionGateways: RegionGateways, gateway: Gateway): Promise<void> {
    return (gateway.opening ??= this.#open(regionGateways, gateway).finally(() =>
      gateway.opening = null
    ));
  }

  async #open(regionGateways: RegionGateways, gateway: Gateway): Promise<void> {
    const { clock, dialAddress: meet } = this.#parts;
    const began = clock.now();
    try {
      const session = await meet(gateway.address);
      const peer = session?.peer.region;
      if (!session || peer !== regionGateways.region) {
        throw new AtlasError(
          "unavailable",
          `a node of ${peer === undefined ? "this region" : `region ${peer}`} answers`,
        );
      }
      gateway.opened(session, clock.now() - began);
      this.#schedule(regionGateways, gateway, 0);
    } catch (error) {
      // The unresponsive link may respond again by now.
      if (!gateway.isResponsive) this.#failed(regionGateways, gateway, error);
      throw error;
    }
  }

  #failed(regionGateways: RegionGateways, gateway: Gateway, trouble: unknown): void {
    const { clock, random, onEvent } = this.#parts;
    if (this.#closed) return;
    const pause = backoffMs(random, gateway.failures, ROUTE_RETRY_MS, MAX_ROUTE_RETRY_MS);
    gateway.failed(trouble, clock.now() + pause);
    const { region } = regionGateways;
    const fields = { region, address: gateway.address, reason: detailOf(trouble) };
    onEvent({ level: "warning", event: "gateway failed", fields });
    this.#schedule(regionGateways, gateway, pause);
  }

  #schedule(regionGateways: RegionGateways, gateway: Gateway, ms: number): void {
    gateway.timer?.cancel();
    if (this.#closed) return;
    gateway.timer = this.#parts.clock.after(ms, () => this.#probe(regionGateways, gateway));
  }

  /** Probes a gateway; one without a link, or with an unresponsive one, is dialled. */
  #probe(regionGateways: RegionGateways, gateway: Gateway): void {
    const { clock } = this.#parts;
    const now = clock.now();
    if (now - regionGateways.usedAt > GATEWAY_IDLE_MS) return;
    const { session } = gateway;
    if (!session || !gateway.isResponsive) {
      this.#dial(regionGateways, gateway).catch(() => {});
      return;
    }
    const ended = (trouble: string | null): void => {
      gateway.timer?.cancel();
      if (trouble !== null) return this.#failed(regionGateways, gateway, trouble);
      gateway.answered(clock.now() - now);
      this.#schedule(regionGateways, gateway, GATEWAY_PROBE_MS);
    };
    let isOver = false;
    const once = (trouble: string | null): void => {
      if (isOver) return;
      isOver = true;
      ended(trouble);
    };
    const sent = session.ping({
      relay: true,
      replied: () => once(null),
      failed: () => once("it refused to answer"),
      lost: (reason) => once(`the link broke: ${reason}`),
    });
    if (!sent) return once("its link is backed up");
    gateway.timer = clock.after(GATEWAY_PROBE_TIMEOUT_MS, () => once("it does not answer"));
  }

  #changed(regionGateways: RegionGateways, gateway: Gateway): void {
    regionGateways.present = gateway;
    const { region } = regionGateways;
    const fields = { region, address: gateway.address, node: gateway.session?.name ?? "" };
    this.#parts.onEvent({ level: "info", event: "gateway chosen", fields });
  }
}

/** The distance of a gateway, in ms; excluded ones come after all others. */
function rank(gateway: Gateway, now: number): number {
  return gateway.latencyMs + (gateway.excludedUntil > now ? 1e9 : 0);
}

/** The weight of the latest measurement in the running mean. */
const WEIGHT = 0.3;

export class Gateway {
  readonly region: string;
  readonly address: string;
  /** Its link, which may have ended. */
  session: Session | null = null;
  /** The dial in progress. */
  opening: Promise<void> | null = null;
  /** The timer of the next probe. */
  timer: Timer | null = null;
  /** The running mean of its round trips, in ms; until the first, how long the dial took. */
  latencyMs: number = Infinity;
  /** The number of failures since it last worked. */
  failures = 0;
  /** The time until which other gateways are preferred, on the monotonic clock. */
  excludedUntil = 0;
  /** Its last error. */
  lastError: unknown = "it is being dialled";
  #retryAt = 0;
  #isMeasured = false;

  constructor(region: string, address: string) {
    this.region = region;
    this.address = address;
  }

  /** Whether it has a responsive link. */
  get isResponsive(): boolean {
    return this.session?.acceptsRequests === true && !this.session.isUnresponsive;
  }

  /** Whether calls can be sent through it now. */
  get isUsable(): boolean {
    return this.isResponsive && this.failures === 0;
  }

  /** Why no calls are sent through it: a text, or an error with a detail for logs. */
  get why(): unknown {
    return this.session?.acceptsRequests && this.session.isUnresponsive
      ? "it does not respond"
      : this.lastError;
  }

  /** Whether it may be dialled now. */
  isDue(now: number): boolean {
    return !this.isResponsive && (this.failures === 0 || this.#retryAt <= now);
  }

  /** A link to it was opened, after this many ms. */
  opened(session: Session, ms: number): void {
    this.session = session;
    this.failures = 0;
    this.latencyMs = ms;
    this.#isMeasured = false;
  }

  /** It answered a probe, after this many ms. */
  answered(ms: number): void {
    this.failures = 0;
    this.latencyMs = this.#isMeasured ? this.latencyMs * (1 - WEIGHT) + ms * WEIGHT : ms;
    this.#isMeasured = true;
  }

  /** It could not be reached, or did not answer; it is tried again at `retryAt`. */
  failed(trouble: unknown, retryAt: number): void {
    this.failures++;
    this.lastError = trouble;
    this.#retryAt = retryAt;
  }
}
