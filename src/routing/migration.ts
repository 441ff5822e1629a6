/**
 * Moves a resource to another region.
 *
 * A node of that region first checks that it could claim the key now. Then the running turn ends,
 * this node releases the ownership and asks that node to claim the key at once, and calls that
 * waited are redirected there: no call is lost, and no call runs twice. If that node doesn't claim
 * the key, this node takes the ownership back, unless a node there has already signed the
 * departure; then the next call activates the resource there.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import { AtlasError, messageOf, toAtlasError } from "../errors.ts";
import type { Session } from "../links/links.ts";
import { CAN_CLAIM } from "../model/internal_methods.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Ownership } from "../model/ownership.ts";
import { checkToken } from "../model/rrp.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { Directory } from "../registry/directory.ts";
import type { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import type { Locator, Route } from "./locator.ts";
import { askNode } from "./node_request.ts";
import type { RelayedCall } from "./relayed_call.ts";

export interface MigrationParts {
  readonly host: Host;
  readonly store: Store;
  readonly directory: Directory;
  readonly locator: Locator;
  readonly place: { readonly region: string; readonly node: string };
  /**
   * Asks the node at a route's end to check that a key can be claimed there; rejects if it can't.
   */
  readonly checkClaimIn: (key: string, route: Route) => Promise<void>;
  /** Asks the node at a route's end to activate a key; rejects if it can't. */
  readonly ask: (key: string, route: Route) => Promise<unknown>;
  readonly onEvent: (event: NodeEvent) => void;
}

/** The result of handing over a key. */
interface Reserved {
  owner: Ownership | null;
  /** Whether this region took the key back. */
  isBack: boolean;
  /** The reason, if no node has the key. */
  why: string;
}

export class Migration {
  readonly #parts: MigrationParts;

  constructor(parts: MigrationParts) {
    this.#parts = parts;
  }

  /**
   * Moves a resource from here to a node of `region`; resolves to its new ownership.
   *
   * @throws AtlasError `bad_request` if there is no such region, `unavailable` if no node there can
   * be reached or activates it.
   */
  async move(activation: Activation, region: string): Promise<Ownership> {
    const { host, store, place, onEvent } = this.#parts;
    const { key } = activation;
    checkRegion(store, region);
    if (region === place.region) return activation.owner;
    const route = await this.#reserve(key, region).catch((cause: unknown) => {
      const message = `${key} stays where it is: ${messageOf(cause)}`;
      throw new AtlasError("unavailable", message, { retryable: false, cause });
    });
    const passed: Reserved = { owner: null, isBack: false, why: "" };
    await host.handOver(activation, () => this.#release(activation, region, route, passed));
    const { owner: moved, isBack, why } = passed;
    if (!moved) {
      const message = `${key} could not be moved to ${region}${why}`;
      // If the departure was not taken back, the next call completes the move.
      throw new AtlasError("unavailable", message, { retryable: !isBack });
    }
    const fields = { key, from: activation.rrp, to: moved.rrp, epoch: moved.epoch };
    onEvent({ level: "info", event: "resource moved", fields });
    return moved;
  }

  /** A route to a node that has to activate a key, and has just checked that it can. */
  async #reserve(key: string, region: string): Promise<Route> {
    const { locator, store } = this.#parts;
    const obstacle = store.obstacleTo?.(region) ?? null;
    if (obstacle !== null) throw new AtlasError("unavailable", obstacle);
    const route = await locator.routeInRegion(key, region);
    if (store.recall && store.homeOf?.(key)) await this.#parts.checkClaimIn(key, route);
    return route;
  }

  /** Releases the key to the region and asks a node there to activate it. Never rejects. */
  async #release(
    activation: Activation,
    region: string,
    route: Route,
    passed: Reserved,
  ): Promise<Ownership | null> {
    const { directory, onEvent } = this.#parts;
    const { key, epoch } = activation;
    try {
      if (!await this.#giveUp(activation, region)) return null;
      await this.#parts.ask(key, route);
      const owner = directory.cached(key);
      if (owner && owner.epoch > epoch) passed.owner = owner;
    } catch (error) {
      const isBack = passed.isBack = await this.#recall(key);
      passed.why = `: ${messageOf(error)}${isBack ? "; it stays where it was" : ""}`;
      const fields = { key, region, reason: messageOf(error), isBack };
      onEvent({ level: "warning", event: "moving failed", fields });
    }
    return passed.owner;
  }

  /**
   * Whether the key belongs to this region again. If the store doesn't answer, the key's next call
   * finds out.
   */
  async #recall(key: string): Promise<boolean> {
    return await this.#parts.store.recall?.(key, null).catch(() => false) ?? false;
  }

  async #giveUp({ key, owner, last }: Activation, region: string): Promise<boolean> {
    const { store } = this.#parts;
    const { incarnation, epoch } = owner;
    if (store.depart && store.homeOf?.(key)) {
      return await store.depart(key, incarnation, epoch, region);
    }
    return await store.release(key, incarnation, epoch, last);
  }
}

/**
 * Takes back a key that is moving to another region than `to`, if no node there has claimed it yet.
 * Takes at most `ms`; what can't be read now is left to the key's next call. Never rejects.
 */
export async function callBack(
  store: Pick<Store, "recall">,
  clock: Clock,
  key: string,
  to: string,
  ms: number,
): Promise<void> {
  if (!store.recall) return;
  let timer: Timer | null = null;
  const late = new Promise<void>((resolve) => (timer = clock.after(ms, resolve)));
  const recalled = store.recall(key, to).then(() => {}, () => {});
  await Promise.race([recalled, late]).finally(() => timer?.cancel());
}

/** @throws AtlasError `bad_request` if no key can have its home in this region */
export function checkRegion({ regions }: Pick<Store, "regions">, region: string): void {
  checkToken("region", region);
  if (!regions || regions.includes(region)) return;
  const message = `region is ${JSON.stringify(region)}, it must be one of ${regions.join(", ")}`;
  throw new AtlasError("bad_request", message);
}
/** How long to wait for the answer, in ms. */
const CHECK_MS = 5_000;

/** @throws AtlasError with the reason why the region can't take `key`, or that nobody answered */
export async function prove(
  key: string,
  session: Session,
  self: string,
  clock: Clock,
): Promise<void> {
  const request = {
    key,
    method: CAN_CLAIM,
    args: [],
    via: [self],
    timeoutMs: CHECK_MS,
    acts: false,
  };
  await askNode(session, request, clock);
}

/** Answers such a request of another node. */
export async function answerCanClaim(call: RelayedCall, locator: Locator): Promise<void> {
  try {
    await locator.checkClaim(call.key, call.type);
    call.succeed(call.encode(null), { rrp: "", incarnation: "", epoch: 0 }, null);
  } catch (error) {
    call.reject(toAtlasError(error));
  }
}
