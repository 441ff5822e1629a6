/**
 * Dispatches each call that has reached the owner's node to its resource's activation, or, if its
 * method is internal, to the component that runs it. Counts the callers' regions of resources that
 * follow their callers, and moves these resources.
 *
 * Source: `docs/design.md`, Calls; Regions and moves.
 */
import { messageOf, toAtlasError } from "../errors.ts";
import { HookCall, NOWHERE } from "../events/hook_call.ts";
import { FOLLOW_COOL_DOWN_MS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import { ACTIVATE, CONFLICT_WON, DRAIN, internalKind, MIGRATE } from "../model/internal_methods.ts";
import type { NodeEvent } from "../model/node_event.ts";
import { parseKey } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Activation } from "../resource/activation.ts";
import type { CallerAffinity } from "./caller_affinity.ts";
import type { Drains } from "./drains.ts";
import type { Locator } from "./locator.ts";
import { answerCanClaim, type Migration } from "./migration.ts";
import type { RelayedCall } from "./relayed_call.ts";
import type { Router } from "./router.ts";
import { serveSubscription } from "./subscription_calls.ts";

/** Tells a key's owner that it won the conflict with `loser`. Best effort. */
export function tellWinner(router: Pick<Router, "call">, key: string, loser: string): void {
  router.call({ type: parseKey(key).type, key }, CONFLICT_WON, [loser], {}, null).catch(() => {});
}

export interface DispatcherParts {
  readonly migration: Migration;
  readonly affinity: CallerAffinity;
  readonly locator: Locator;
  readonly drains: Drains;
  readonly clock: Clock;
  readonly stats: { conflictsWon: number };
  readonly onEvent: (event: NodeEvent) => void;
}

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #affinity: CallerAffinity;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.#affinity = parts.affinity;
  }

  /** Delivers a call to the activation of its resource. */
  deliver(call: Call, activation: Activation): void {
    const kind = internalKind(call.method);
    if (kind === "subscription") return void serveSubscription(call, activation);
    if (kind === "ownership") return this.#changeOwnership(call, activation);
    if (activation.placement === "caller") this.#count(call, activation);
    activation.receive(call);
  }

  /** Answers a request to the node itself. Returns whether `call` is such a request. */
  answerForNode(call: RelayedCall): boolean {
    if (internalKind(call.method) !== "node") return false;
    if (call.method === DRAIN) this.#parts.drains.answer(call);
    else answerCanClaim(call, this.#parts.locator);
    return true;
  }

  #changeOwnership(call: Call, activation: Activation): void {
    if (call.method === MIGRATE) this.#move(call, activation);
    else if (call.method === ACTIVATE) this.#activated(call, activation);
    else this.#won(call, activation);
  }

  async #move(call: Call, activation: Activation): Promise<void> {
    try {
      const [region] = call.arguments();
      const owner = await this.#parts.migration.move(activation, region as string);
      this.#affinity.forget(activation.key);
      call.succeed(call.encode(null), owner, null);
    } catch (error) {
      call.fail(toAtlasError(error));
    }
  }

  #activated(call: Call, activation: Activation): void {
    if (activation.placement === "caller") {
      this.#affinity.coolDown(activation.key);
      // Recorded for the next owner.
      void beginCoolDown(activation, this.#parts.clock);
    }
    call.succeed(call.encode(null), activation.owner, null);
  }

  #won(call: Call, activation: Activation): void {
    const { key, epoch } = activation;
    const [loser] = call.arguments();
    this.#parts.stats.conflictsWon++;
    const fields = { key, epoch, loser: String(loser) };
    this.#parts.onEvent({ level: "warning", event: "conflict won", fields });
    call.succeed(call.encode(null), activation.owner, null);
  }

  #count({ caller }: Call, activation: Activation): void {
    const { key } = activation;
    const region = this.#affinity.note(key, caller.region);
    if (region === null) return;
    this.#affinity.coolDown(key);
    this.#follow(activation, region).catch((error) => {
      const fields = { key, region, reason: messageOf(error) };
      this.#parts.onEvent({ level: "warning", event: "following callers failed", fields });
    });
  }

  /** Moves it to its callers' region, unless a former owner's cool-down lasts. */
  async #follow(activation: Activation, region: string): Promise<void> {
    const { key } = activation;
    const leftMs = await coolDownLeft(activation, this.#parts.clock);
    if (leftMs > 0) return this.#affinity.coolDown(key, leftMs);
    await this.#parts.migration.move(activation, region);
    this.#affinity.forget(key);
  }
}

/** The field of a cool-down in the state; users' keys have another prefix. */
const COOL_DOWN = "q:rest";

/** Starts the cool-down, in a turn of its own. Never rejects. */
export async function beginCoolDown(activation: Activation, clock: Clock): Promise<void> {
  const until = Math.ceil(clock.wall()) + FOLLOW_COOL_DOWN_MS;
  await inTurn(activation, () => activation.turnCommit.storage.reserve(COOL_DOWN, String(until)));
}

/**
 * The remaining cool-down, in ms; 0: the resource may move. The whole cool-down if the state can't
 * be read. Never rejects.
 */
export async function coolDownLeft(activation: Activation, clock: Clock): Promise<number> {
  let left = FOLLOW_COOL_DOWN_MS;
  const wasRead = await inTurn(activation, async () => {
    const { storage } = activation.turnCommit;
    const text = await storage.field(COOL_DOWN);
    // Another node's wall clock may be ahead of this one.
    left = Math.min(FOLLOW_COOL_DOWN_MS, Math.max(0, (Number(text) || 0) - clock.wall()));
    if (text !== null && left === 0) storage.reserve(COOL_DOWN, null);
  });
  return wasRead ? left : FOLLOW_COOL_DOWN_MS;
}

/** Whether the turn of `work` was committed. */
async function inTurn(activation: Activation, work: () => unknown): Promise<boolean> {
  const hookCall = new HookCall(activation.key, "resting", Infinity, NOWHERE, work);
  activation.receive(hookCall);
  return await hookCall.ended === null;
}
