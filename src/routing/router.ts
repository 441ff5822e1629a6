/**
 * The router: the post office of calls that start here.
 *
 * A call whose resource's place is known goes out at once. Others wait in a lane, one
 * for each name, in the order in which they were made, while one search goes on for
 * all of them: so a burst makes one claim, and a caller's calls stay in order.
 *
 * Source: design §3, Schrödinger's node; §4.
 */
import type { CallOptions, CallResult } from "../api.ts";
import { AtlasError, fromWireError, toAtlasError } from "../errors.ts";
import { MAX_CALLS, MAX_HOPS, MAX_MAILBOX, STORE_PATIENCE_MS } from "../limits.ts";
import type { Failure, Reply } from "../model/envelope.ts";
import type { Member } from "../model/member.ts";
import type { Ownership } from "../model/ownership.ts";
import { unpack } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Life } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import { type Registry, suspected } from "../registry/registry.ts";
import { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import type { Deadlines } from "../time/deadlines.ts";
import { backoffMs, pause } from "../time/pause.ts";
import { Candidates } from "./candidates.ts";
import type { Links, Session, Waiter } from "./links.ts";
import { type CallContext, type CallKeeper, OutCall } from "./out_call.ts";
import { Pacer } from "./pacer.ts";

const RETRY_MS = 10;
const RETRY_MOST_MS = 500;

/** What a router is made of. */
export interface RouterParts {
  readonly host: Host;
  readonly registry: Registry;
  readonly membership: Membership;
  readonly links: Links;
  readonly clock: Clock;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly place: { readonly region: string; readonly node: string };
  /** This node's present life, held or lapsed. */
  readonly life: () => Life;
}

export interface RouterStats {
  calls: number;
  forwards: number;
}

/** Where calls of one key can go now. */
type Target = Activation | { session: Session; owner: Ownership | null };

export class Router implements CallKeeper {
  readonly stats: RouterStats = { calls: 0, forwards: 0 };
  readonly #parts: RouterParts;
  readonly #candidates: Candidates;
  readonly #pacer: Pacer<OutCall>;
  readonly #lanes = new Map<string, OutCall[]>();
  #inFlight = 0;
  #closed = false;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.#candidates = new Candidates(parts.membership, parts.clock, parts.place.region);
    this.#pacer = new Pacer(parts.clock, (call) => this.#dispatch(call));
  }

  /** Calls made here that are not settled. */
  get inFlight(): number {
    return this.#inFlight;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Takes no more calls. Those under way end with the deadlines that carry them. */
  close(): void {
    this.#closed = true;
  }

  /** Calls a method. Rejects with an AtlasError, whatever happens. */
  call(
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
  ): Promise<CallResult> {
    const { clock, deadlines } = this.#parts;
    let call: OutCall;
    try {
      this.#checkRoom();
      const number = this.stats.calls++;
      call = new OutCall(this, number, target, method, args, options, context, clock.now());
    } catch (error) {
      return Promise.reject(toAtlasError(error));
    }
    const answer = call.answer();
    this.#inFlight++;
    deadlines.add(call, call.deadline);
    if (call.wasAborted) call.reject(new AtlasError("timeout", "the caller gave the call up"));
    else if (!this.#pacer.holds(call)) this.#dispatch(call);
    return answer;
  }

  #checkRoom(): void {
    if (this.#closed) throw new AtlasError("unavailable", "the node was closed");
    if (this.#inFlight < MAX_CALLS) return;
    throw new AtlasError("overloaded", `${MAX_CALLS} calls are under way from this node already`);
  }

  /** A call was answered, or given up. */
  settled(call: OutCall): void {
    this.#inFlight--;
    this.#parts.deadlines.remove(call);
  }

  /**
   * A call failed. Sent out again where it surely was not executed, or carries an
   * idempotency key, and another owner may do better.
   */
  failed(call: OutCall, error: AtlasError, owner: Ownership | null): void {
    call.carrier = null;
    const elsewhere = error.code === "not_owner" || error.code === "unavailable";
    const safe = !error.maybeExecuted || call.idempotencyKey !== null;
    if (!elsewhere || !error.retryable || !safe) return call.reject(error);
    const { registry } = this.#parts;
    if (owner) registry.note(call.key, owner);
    call.bounces++;
    call.trouble = error;
    this.#enlane(call);
  }

  #dispatch(call: OutCall): void {
    const { host, registry, links } = this.#parts;
    if (call.done) return;
    if (this.#lanes.has(call.key)) return this.#enlane(call);
    const here = host.find(call.key);
    if (here) return here.deliver(call);
    const owner = registry.cached(call.key);
    const session = owner && links.present(owner.incarnation);
    if (session) this.#send(call, session, owner);
    else this.#enlane(call);
  }

  #send(call: OutCall, session: Session, owner: Ownership | null): void {
    this.stats.forwards++;
    try {
      const id = session.request({
        key: call.key,
        method: call.method,
        body: call.body,
        timeoutMs: Math.max(1, call.deadline - this.#parts.clock.now()),
        epoch: owner?.epoch ?? 0,
        idempotencyKey: call.idempotencyKey,
        chain: call.chain,
      }, new Errand(this, call, owner));
      call.carrier = { session, id };
    } catch (error) {
      this.failed(call, toAtlasError(error), null);
    }
  }

  /** A link brought a call's answer. */
  replied(call: OutCall, reply: Reply, session: Session, asked: Ownership | null): void {
    const { registry } = this.#parts;
    const { epoch } = reply;
    const rrp = reply.rrp || asked?.rrp || "";
    const known = registry.cached(call.key);
    if (known && known.epoch > epoch) {
      const message = `an owner of epoch ${epoch} answered, but there is one of ${known.epoch}`;
      return call.fail(new AtlasError("not_owner", message, { maybeExecuted: true }));
    }
    const owner = { rrp, incarnation: session.peer.incarnation, epoch };
    if (known?.epoch !== epoch) registry.note(call.key, owner);
    try {
      call.succeed(unpack(reply.body), owner);
    } catch (error) {
      call.reject(toAtlasError(error, { maybeExecuted: true }));
    }
  }

  /** A link brought a call's failure. */
  refused(call: OutCall, failure: Failure, session: Session, asked: Ownership | null): void {
    const error = fromWireError(failure.error);
    if (asked && error.code === "not_owner") this.#parts.registry.forget(call.key, asked.epoch);
    // Asked to take a name, it could not: somebody else is to be asked next.
    if (!asked && error.code === "unavailable") this.#candidates.shun(session.peer.incarnation);
    const [rrp, incarnation, epoch] = failure.owner ?? [];
    const owner = rrp === undefined ? null : { rrp, incarnation, epoch } as Ownership;
    call.fail(error, owner);
  }

  /** The link that carried a call broke. */
  lost(call: OutCall, reason: string): void {
    call.fail(new AtlasError("unavailable", `the link broke: ${reason}`, { maybeExecuted: true }));
  }

  /** Puts a call into its key's lane, in order, and has a search go on for it. */
  #enlane(call: OutCall): void {
    let lane = this.#lanes.get(call.key);
    if (lane && lane.length >= MAX_MAILBOX) {
      const message = `${MAX_MAILBOX} calls wait for ${call.key} to be found already`;
      return call.reject(new AtlasError("overloaded", message));
    }
    if (!lane) {
      this.#lanes.set(call.key, lane = []);
      lane.push(call);
      this.#search(call.key, call.type, lane);
      return;
    }
    let at = lane.length;
    while (at > 0 && (lane[at - 1] as OutCall).number > call.number) at--;
    lane.splice(at, 0, call);
  }

  /** Finds or makes the owner of a lane's key, then sends its calls on their way, in order. */
  async #search(key: string, type: string, lane: OutCall[]): Promise<void> {
    const { clock, random } = this.#parts;
    const since = clock.now();
    // Calls that keep bouncing wait between attempts, those that bounced once don't.
    let attempt = (lane[0] as OutCall).bounces - MAX_HOPS;
    for (;; attempt++) {
      if (attempt > 0) {
        await pause(clock, backoffMs(random, attempt, RETRY_MS, RETRY_MOST_MS));
      }
      drop(lane, (call) => call.done);
      if (lane.length === 0) break;
      let target: Target;
      try {
        target = await this.#place(key, type);
      } catch (thrown) {
        attempt = Math.max(attempt, 0);
        const error = toAtlasError(thrown);
        if (!this.#isWorthWaiting(error, since)) {
          this.#lanes.delete(key);
          for (const call of lane) call.reject(error);
          return;
        }
        for (const call of lane) call.trouble ??= error;
        continue;
      }
      this.#lanes.delete(key);
      for (const call of lane) {
        if (call.done) continue;
        if (target instanceof Activation) target.deliver(call);
        else this.#send(call, target.session, target.owner);
      }
      return;
    }
    this.#lanes.delete(key);
  }

  /** An owner may come back until the deadline; a store that is gone is not waited for long. */
  #isWorthWaiting(error: AtlasError, since: number): boolean {
    if (!error.retryable || error.code === "overloaded") return false;
    const { membership, clock } = this.#parts;
    return membership.isReachable() || clock.now() - since < STORE_PATIENCE_MS;
  }

  /** Where a key's calls can go. @throws AtlasError, retryable where waiting may help. */
  async #place(key: string, type: string): Promise<Target> {
    const { host, registry, membership } = this.#parts;
    const here = host.find(key);
    if (here) return here;
    let owner = registry.cached(key);
    if (!owner && host.canHost(type)) {
      const acquired = await host.acquire(key, type);
      if (acquired instanceof Activation) return acquired;
      registry.note(key, owner = acquired);
    }
    owner ??= await registry.locate(key);
    if (!owner) return await this.#ask(key, type);
    const member = membership.peek(owner.incarnation) ?? await this.#meet(owner.incarnation);
    if (owner.incarnation === this.#parts.life().incarnation || this.#isNamesake(member)) {
      // Its entry names this node, in this life or a former one, but it isn't here: the
      // next search takes it up anew.
      registry.forget(key);
      throw new AtlasError("unavailable", `${key} is between two owners`);
    }
    if (!member || membership.isKnownDead(owner.incarnation)) {
      registry.forget(key);
      throw new AtlasError("unavailable", `the owner of ${key} is dead`);
    }
    return { session: await this.#reach(member, key), owner };
  }

  /** The link to an owner, unless it is silent: callers then wait till it speaks or is dead. */
  async #reach(member: Member, key: string): Promise<Session> {
    const { links, membership, clock } = this.#parts;
    const present = links.present(member.incarnation);
    if (present && !membership.isStalled(member.incarnation)) return present;
    if (present) throw suspected(key);
    const silence = pause(clock, RETRY_MOST_MS).then(() => {
      throw suspected(key);
    });
    return await Promise.race([links.to(member, this.#parts.life()), silence]);
  }

  /** Whether a member is a life of this very node: it is never dialled. */
  #isNamesake(member: Member | undefined): boolean {
    const { region, node } = this.#parts.place;
    return member?.region === region && member.node === node;
  }

  async #meet(incarnation: string): Promise<Member | undefined> {
    await this.#parts.membership.refresh();
    return this.#parts.membership.peek(incarnation);
  }

  /** Nobody owns the key and it can't be taken here: another node is asked to. */
  async #ask(key: string, type: string): Promise<Target> {
    const { life, host, membership } = this.#parts;
    const pick = () => this.#candidates.pick(type, key, life().incarnation);
    let member = pick();
    if (!member) {
      // One may have joined since the last heartbeat.
      await membership.refresh();
      member = pick();
    }
    if (member) return { session: await this.#reach(member, key), owner: null };
    if (!host.knows(type) && !this.#candidates.areKnown(type)) {
      throw new AtlasError("not_found", `no node runs resources of type ${type}`);
    }
    throw new AtlasError("unavailable", `no node can take ${key} now`);
  }
}

/** A call on a link: who asked whom, and where the answer goes. */
class Errand implements Waiter {
  readonly #router: Router;
  readonly #call: OutCall;
  readonly #asked: Ownership | null;

  constructor(router: Router, call: OutCall, asked: Ownership | null) {
    this.#router = router;
    this.#call = call;
    this.#asked = asked;
  }

  replied(reply: Reply, session: Session): void {
    this.#router.replied(this.#call, reply, session, this.#asked);
  }

  failed(failure: Failure, session: Session): void {
    this.#router.refused(this.#call, failure, session, this.#asked);
  }

  lost(reason: string): void {
    this.#router.lost(this.#call, reason);
  }
}

/** Removes from `list`, in place, what `gone` says. */
function drop<T>(list: T[], gone: (item: T) => boolean): void {
  let kept = 0;
  for (const item of list) if (!gone(item)) list[kept++] = item;
  list.length = kept;
}
