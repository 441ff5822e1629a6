/**
 * Moving a resource to another region: a furniture van, booked before the flat is given
 * up.
 *
 * The running turn ends, the name is given up, a node there is asked to take it at once,
 * and calls that waited are sent on to it: none is lost, none runs twice. Where a step
 * fails in between, nobody owns the name, and the next call finds it an owner.
 *
 * Source: design §3 (claim, handing over).
 */
import { AtlasError, messageOf } from "../errors.ts";
import type { NodeEvent } from "../model/event.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Store } from "../ports/store.ts";
import type { Registry } from "../registry/registry.ts";
import type { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import type { Places, Route } from "./places.ts";

export interface MoverParts {
  readonly host: Host;
  readonly store: Store;
  readonly registry: Registry;
  readonly places: Places;
  readonly place: { readonly region: string; readonly node: string };
  /** Asks who is at a route's end to take a key; rejects where it can't. */
  readonly ask: (key: string, route: Route) => Promise<unknown>;
  readonly onEvent: (event: NodeEvent) => void;
}

export class Mover {
  readonly #parts: MoverParts;

  constructor(parts: MoverParts) {
    this.#parts = parts;
  }

  /**
   * Moves a resource that is here to a node of `region`; gives its new ownership.
   *
   * @throws AtlasError `unavailable` where no node there can be reached or takes it.
   */
  async move(activation: Activation, region: string): Promise<Ownership> {
    const { host, places, place, onEvent } = this.#parts;
    const { key } = activation;
    if (region === place.region) return activation.owner;
    const route = await places.inRegion(key, region).catch((cause: unknown) => {
      const message = `${key} stays where it is: ${messageOf(cause)}`;
      throw new AtlasError("unavailable", message, { retryable: false, cause });
    });
    let next: Ownership | null = null;
    await host.handOver(activation, async () => next = await this.#pass(activation, region, route));
    const moved = next as Ownership | null;
    if (!moved) throw new AtlasError("unavailable", `${key} could not be moved to ${region}`);
    const fields = { key, from: activation.rrp, to: moved.rrp, epoch: moved.epoch };
    onEvent({ level: "info", event: "resource moved", fields });
    return moved;
  }

  /** Gives the name up and has a node of the region take it. Never rejects. */
  async #pass(activation: Activation, region: string, route: Route): Promise<Ownership | null> {
    const { registry, onEvent } = this.#parts;
    const { key, epoch } = activation;
    try {
      if (!await this.#giveUp(activation, region)) return null;
      await this.#parts.ask(key, route);
      const owner = registry.cached(key);
      return owner && owner.epoch > epoch ? owner : null;
    } catch (error) {
      const fields = { key, region, reason: messageOf(error) };
      onEvent({ level: "warning", event: "moving failed", fields });
      return null;
    }
  }

  async #giveUp({ key, owner }: Activation, region: string): Promise<boolean> {
    const { store } = this.#parts;
    const { incarnation, epoch } = owner;
    if (store.depart && store.homeOf?.(key)) {
      return await store.depart(key, incarnation, epoch, region);
    }
    return await store.release(key, incarnation, epoch);
  }
}
