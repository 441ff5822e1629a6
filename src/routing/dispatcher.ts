/**
 * Dispatches calls to the activations here, and runs the internal methods of nodes: `$move`
 * moves a resource to another region, `$take` activates one here. Counts the callers' regions of
 * resources that follow their callers.
 */
import { messageOf, toAtlasError } from "../errors.ts";
import { HookCall, NOWHERE } from "../events/hook_call.ts";
import { FOLLOW_COOL_DOWN_MS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import {
  ACTIVATE,
  CONFLICT_WON,
  isSubscriptionMethod,
  MIGRATE,
} from "../model/internal_methods.ts";
import type { NodeEvent } from "../model/node_event.ts";
import { parseKey } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Activation } from "../resource/activation.ts";
import type { CallerAffinity } from "./caller_affinity.ts";
import type { Migration } from "./migration.ts";
import type { Router } from "./router.ts";
import { serveSubscription } from "./subscription_calls.ts";

const DOLLAR = 36;

/** Tells a key's owner that it won the conflict with `loser`. Best effort. */
export function tellWinner(router: Pick<Router, "call">, key: string, loser: string): void {
  router.call({ type: parseKey(key).type, key }, CONFLICT_WON, [loser], {}, null).catch(() => {});
}

export class Dispatcher {
  readonly #migration: Migration;
  readonly #affinity: CallerAffinity;
  readonly #clock: Clock;
  readonly #stats: { conflictsWon: number };
  readonly #onEvent: (event: NodeEvent) => void;

  constructor(
    mover: Migration,
    drift: CallerAffinity,
    clock: Clock,
    stats: { conflictsWon: number },
    onEvent: (event: NodeEvent) => void,
  ) {
    this.#stats = stats;
    this.#migration = mover;
    this.#affinity = drift;
    this.#clock = clock;
    this.#onEvent = onEvent;
  }

  /** Dispatches a call to its resource. */
  deliver(call: Call, activation: Activation): void {
    const { method } = call;
    if (method.charCodeAt(0) === DOLLAR) {
      if (method === MIGRATE) return void this.#move(call, activation);
      if (method === ACTIVATE) return this.#taken(call, activation);
      if (method === CONFLICT_WON) return this.#won(call, activation);
      if (isSubscriptionMethod(method)) return void serveSubscription(call, activation);
    }
    if (activation.placement === "caller") this.#count(call, activation);
    activation.deliver(call);
  }

  async #move(call: Call, activation: Activation): Promise<void> {
    try {
      const [region] = call.arguments();
      const owner = await this.#migration.move(activation, region as string);
      this.#affinity.forget(activation.key);
      call.succeed(call.encode(null), owner, null);
    } catch (error) {
      call.fail(toAtlasError(error));
    }
  }

  #taken(call: Call, activation: Activation): void {
    if (activation.placement === "caller") {
      this.#affinity.coolDown(activation.key);
      // For its next owner.
      void beginCoolDown(activation, this.#clock);
    }
    call.succeed(call.encode(null), activation.owner, null);
  }

  #won(call: Call, activation: Activation): void {
    const { key, epoch } = activation;
    const [loser] = call.arguments();
    this.#stats.conflictsWon++;
    const fields = { key, epoch, loser: String(loser) };
    this.#onEvent({ level: "warning", event: "conflict won", fields });
    call.succeed(call.encode(null), activation.owner, null);
  }

  #count({ caller }: Call, activation: Activation): void {
    const { key } = activation;
    const region = this.#affinity.note(key, caller.region);
    if (region === null) return;
    this.#affinity.coolDown(key);
    this.#follow(activation, region).catch((error) => {
      const fields = { key, region, reason: messageOf(error) };
      this.#onEvent({ level: "warning", event: "following callers failed", fields });
    });
  }

  /** Moves it to its callers' region, unless a former owner's cool-down lasts. */
  async #follow(activation: Activation, region: string): Promise<void> {
    const { key } = activation;
    const restMs = await coolDownLeft(activation, this.#clock);
    if (restMs > 0) return this.#affinity.coolDown(key, restMs);
    await this.#migration.move(activation, region);
    this.#affinity.forget(key);
  }
}

/** Its field in the state; users' keys have another prefix. */
const REST = "q:rest";

/** Starts the cool-down, in a turn of its own. Never rejects. */
export async function beginCoolDown(activation: Activation, clock: Clock): Promise<void> {
  const until = Math.ceil(clock.wall()) + FOLLOW_COOL_DOWN_MS;
  await inTurn(activation, () => activation.turnCommit.storage.reserve(REST, String(until)));
}

/**
 * The rest of the cool-down, in ms; 0: it may move. Where it can't be read, the whole time. Never
 * rejects.
 */
export async function coolDownLeft(activation: Activation, clock: Clock): Promise<number> {
  let left = FOLLOW_COOL_DOWN_MS;
  const isTold = await inTurn(activation, async () => {
    const { storage } = activation.turnCommit;
    const text = await storage.field(REST);
    // Another node's wall clock may be ahead of this one.
    left = Math.min(FOLLOW_COOL_DOWN_MS, Math.max(0, (Number(text) || 0) - clock.wall()));
    if (text !== null && left === 0) storage.reserve(REST, null);
  });
  return isTold ? left : FOLLOW_COOL_DOWN_MS;
}

/** Whether the turn of `work` was committed. */
async function inTurn(activation: Activation, work: () => unknown): Promise<boolean> {
  const hookCall = new HookCall(activation.key, "resting", Infinity, NOWHERE, work);
  activation.deliver(hookCall);
  return await hookCall.ended === null;
}
