/**
 * Registers this node, renews its lease, keeps a copy of the members' list and tells its listener
 * of changes. If another process still has the node's name, the node waits until that process has
 * stopped renewing.
 *
 * When another copy of the store answers, it discards what it read before and has its listener
 * reassert what this node holds. Renewals count again only after that.
 *
 * Source: `docs/design.md`, Membership and leases; Store failover.
 */
import { AtlasError, detailOf, isAtlasError, messageOf } from "../errors.ts";
import { hasEnded, type Member, type MemberInfo } from "../model/member.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Clock } from "../ports/clock.ts";
import type {
  Lineage,
  LineageName,
  Observation,
  Overtaken,
  RegisterReply,
  Store,
} from "../ports/store.ts";
import { pause } from "../time/wait.ts";
import { FailureDetector } from "./failure_detector.ts";
import { HeartbeatMonitor } from "./heartbeat_monitor.ts";
import { Heartbeats } from "./heartbeats.ts";
import type { NodeLife, Timing } from "./lease.ts";
import { Lineages } from "./lineage.ts";
import { MembershipView } from "./membership_view.ts";

/**
 * The number of renewals that may be unanswered at once: a renewal that hangs must not delay the
 * next.
 */
const MAX_RENEWALS = 3;
/** A heartbeat that hasn't been seen for this many periods counts as stalled. */
const STALLED_BEATS = 2.5;
/** The pause between two attempts to reassert, in ms. */
const REASSERT_PAUSE_MS = 50;

export class Membership {
  /**
   * The number of members that this node marked dead; the number of times that a copy replaced the
   * store.
   */
  readonly stats: { kills: number; failovers: number } = { kills: 0, failovers: 0 };
  /** Which copy of the store answers. */
  readonly lineages: Lineages;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #timing: Timing;
  readonly #listener: MembershipListener;
  #life: NodeLife | null = null;
  /** A number that rises with each attempt to join, and with each stop. */
  #joins = 0;
  #region = "";
  /** The member that this life registered. */
  #self: MemberInfo | null = null;
  #seq = 0;
  #renewals = 0;
  readonly #heartbeats: Heartbeats;
  readonly #detector: FailureDetector;
  #lastContact = -Infinity;
  /** Why the last step for the lease failed; null if it succeeded. */
  #leaseError: AtlasError | null = null;
  #version = -1;
  readonly #view = new MembershipView();
  readonly #monitor: HeartbeatMonitor;
  #refreshing: Promise<void> | null = null;
  #refreshNext: Promise<void> | null = null;

  constructor(store: Store, clock: Clock, timing: Timing, listener: MembershipListener) {
    this.#store = store;
    this.#clock = clock;
    this.#timing = timing;
    this.#listener = listener;
    this.lineages = new Lineages(clock, timing.takeoverMs);
    this.#monitor = new HeartbeatMonitor(clock);
    this.#detector = new FailureDetector({
      clock,
      timing,
      store,
      monitor: this.#monitor,
      life: () => this.#life,
      refresh: () => this.refresh(),
      killed: (incarnation, seq) => {
        this.stats.kills++;
        const member = this.#view.nameOf(incarnation);
        this.#tell("info", "member is dead", { member, incarnation, seq });
      },
      failed: (incarnation, reason) =>
        this.#tell("warning", "kill failed", { incarnation, reason }),
    });
    this.#heartbeats = new Heartbeats(clock, timing.heartbeatMs, () => {
      this.#renew();
      this.#schedule();
    });
  }

  /**
   * Registers `self` as `life`, and renews its lease from then on. If its name belongs to a process
   * that may be alive, it waits until that process renews or has stopped renewing.
   *
   * @throws AtlasError `node_name_taken` if that process renews, or `unavailable` if the store
   * doesn't answer.
   */
  async join(life: NodeLife, self: MemberInfo): Promise<void> {
    const round = ++this.#joins;
    const isDue = (): boolean => round === this.#joins;
    let sent = life.lease.sendTime();
    let reply = await this.#register(life, self, true);
    if (reply.outcome === "name_taken") {
      await this.refresh();
      for (const { incarnation } of this.#view.namesakes(self.region, self.node)) {
        this.#tell("info", "waiting for the former process of this name", { incarnation });
        const observe = () => this.observe(incarnation);
        await waitUntilSilent(this.#clock, this.#timing.heartbeatMs, observe, isDue);
      }
      sent = life.lease.sendTime();
      // From here on the former process can't renew, even if it resumes.
      reply = await this.#register(life, self, false);
    }
    if (reply.outcome === "fenced" || !life.lease.confirm(sent)) {
      throw new AtlasError("unavailable", "the registration came too late to hold a lease");
    }
    if (!isDue()) {
      await this.leave(self).catch(() => {});
      throw new AtlasError("unavailable", "the node was closed before it had joined");
    }
    this.#life = life;
    this.#region = self.region;
    this.#self = self;
    this.#seq = 0;
    this.#renewals = 0;
    this.#lastContact = this.#clock.now();
    await this.refresh();
    // A lapse noticed before this had no listener; the node must not serve with that lease.
    if (!life.lease.holds()) {
      this.stop();
      throw new AtlasError("unavailable", "the lease lapsed before the node could serve");
    }
    this.#schedule();
  }

  async #register(life: NodeLife, self: MemberInfo, ifFree: boolean): Promise<RegisterReply> {
    const reply = await this.#leaseStep(
      this.#store.register(self, { ifFree, known: this.lineages.known }),
    );
    if (this.lineages.note(reply.lineage)) this.#startOver(reply.lineage);
    if (!this.lineages.stands(reply.lineage)) {
      throw new AtlasError("unavailable", "a former copy of the store took the registration");
    }
    // This life owns nothing yet.
    this.lineages.asserted(life);
    return reply;
  }

  /** Stops renewing and watching. The membership view stays readable. */
  stop(): void {
    this.#joins++;
    this.#heartbeats.stop();
    this.#detector.stop();
    this.#life = null;
  }

  /** Ends an incarnation of this node in the store; it must have fenced itself before. */
  async leave(self: MemberInfo): Promise<void> {
    await this.#leaseStep(this.#store.leave(self));
  }

  /**
   * Why this node can't get or keep its lease, to be appended to errors for callers; empty if the
   * last step for it succeeded.
   */
  get leaseTrouble(): string {
    const error = this.#leaseError;
    return error ? `: its node's lease can't be renewed: ${messageOf(error)}` : "";
  }

  /** Records the outcome of a step for the lease, and returns the step. */
  #leaseStep<T>(step: Promise<T>): Promise<T> {
    step.then(
      () => (this.#leaseError = null),
      (error) => isAtlasError(error) && (this.#leaseError = error),
    );
    return step;
  }

  /** A member, as last read by this node. */
  readonly peek = (incarnation: string): Member | undefined => this.#view.peek(incarnation);

  /** All members, as last read by this node. */
  readonly members = (): Iterable<Member> => this.#view.members();

  /** Whether an incarnation is dead for certain, without asking the store. */
  readonly isKnownDead = (incarnation: string): boolean => this.#view.isKnownDead(incarnation);

  /** Whether a member whose row can't be read may be alive. */
  readonly isUnreadable = (incarnation: string): boolean => this.#view.isUnreadable(incarnation);

  /**
   * Whether an incarnation that an ownership names is dead. Unknown means dead, but only in a
   * membership read after the ownership: the member may have joined in between.
   */
  async isDead(incarnation: string): Promise<boolean> {
    if (this.#view.stateOf(incarnation) === undefined) await this.refresh();
    return hasEnded(this.#view.stateOf(incarnation));
  }

  /**
   * Whether a member's heartbeat counts as stopped. Reliable only if this node watches the member
   * or, for a member of another region (`abroad`), has read its heartbeat now.
   */
  isStalled(
    incarnation: string,
    abroad: Observation | null = null,
    now: number = this.#clock.now(),
  ): boolean {
    if (this.#view.stateOf(incarnation) === "superseded") return true;
    if (this.#monitor.isSuspect(incarnation)) return true;
    const stillMs = abroad ? this.#monitor.seen(abroad) : this.#monitor.stillMs(incarnation, now);
    return stillMs > STALLED_BEATS * this.#timing.heartbeatMs;
  }

  /** Whether the store answered recently. */
  isReachable(now: number = this.#clock.now()): boolean {
    return now - this.#lastContact <= 2 * this.#timing.heartbeatMs && this.#store.status() === "up";
  }

  /** A link to this member failed: watches it more often from now on. */
  suspect(incarnation: string): void {
    const member = this.#view.peek(incarnation);
    if (!member || hasEnded(member.state) || incarnation === this.#life?.incarnation) return;
    if (this.#monitor.isSuspect(incarnation) || !this.#isOurs(member)) return;
    this.#monitor.suspect(incarnation);
    this.#renew();
    this.#schedule();
  }

  /** A link to this member was opened: it is alive, and no suspect any more. */
  trust(incarnation: string): void {
    this.#monitor.trust(incarnation);
  }

  /** Reads a member's heartbeat and state from the store; null if it is unknown. */
  async observe(incarnation: string): Promise<Observation | null> {
    const { incarnation: self = "" } = this.#life ?? {};
    const { known } = this.lineages;
    const reply = await this.#leaseStep(
      this.#store.renew(self, this.#seq, [incarnation], known),
    );
    this.#noteLineage(reply.lineage);
    return reply.watched.find((seen) => seen.incarnation === incarnation) ?? null;
  }

  /**
   * The same for the owner of a key of another region, read only from that region's registry.
   * Returns null, not a promise, if the key belongs to this region.
   */
  observeAbroad(key: string, owner: Ownership | null): Promise<Observation | null> | null {
    if (owner) return this.#store.observeAbroad?.(owner.incarnation) ?? null;
    const home = this.#store.homeOf?.(key) ?? this.#region;
    return home === this.#region ? null : Promise.resolve(null);
  }

  /** Reads the members, with a read that starts no sooner than this call. */
  refresh(): Promise<void> {
    if (this.#refreshing === null) return (this.#refreshing = this.#read());
    this.#refreshNext ??= this.#refreshing.catch(() => {}).then(() => {
      this.#refreshNext = null;
      return (this.#refreshing = this.#read());
    });
    return this.#refreshNext;
  }

  /**
   * Reads another region's members. With home regions this doesn't use this region's own
   * registry; otherwise all members are read. Never rejects.
   */
  async refreshAbroad(region: string): Promise<void> {
    if (!this.#store.membersIn) return await this.refresh().catch(() => {});
    let isNews = false;
    for (const member of await this.#store.membersIn(region)) {
      if (this.#view.put(member)) isNews = true;
    }
    if (isNews) this.#listener.onChange();
  }

  async #read(): Promise<void> {
    try {
      const answer = await this.#store.members();
      const { version, lineage } = answer;
      this.#lastContact = this.#clock.now();
      if (!this.lineages.isPresent(lineage)) {
        this.look();
        throw new AtlasError("unavailable", "the members were read from another copy of the store");
      }
      // Reads are sequential, so a lower version is not an older answer: the counter was repaired.
      const changed = version !== this.#version;
      this.#version = version;
      this.#view.read(answer);
      this.#assignWatches();
      this.#repairOwn();
      if (changed) this.#listener.onChange();
    } finally {
      this.#refreshing = null;
    }
  }

  /**
   * Whether this node watches a member. With home regions each region's nodes watch each other
   * only: heartbeats of other regions arrive here too late.
   */
  #isOurs({ region = this.#region }: { readonly region?: string }): boolean {
    return !this.#store.homeOf || region === this.#region;
  }

  /**
   * Writes this node's own row again if others made it unreadable, because then no node could dial
   * it.
   */
  #repairOwn(): void {
    if (!this.#self || !this.isUnreadable(this.#life?.incarnation ?? "")) return;
    const options = { ifFree: true, known: this.lineages.known };
    this.#leaseStep(this.#store.register(this.#self, options))
      .catch((error) => this.#failed("own row not repaired", error));
  }

  #assignWatches(): void {
    const self = this.#life?.incarnation ?? "";
    const others = this.#view.live().filter((member) =>
      member.incarnation !== self && this.#isOurs(member)
    );
    this.#monitor.assign(self, others);
    this.#detector.schedule();
  }

  #schedule(): void {
    if (this.#life) this.#heartbeats.schedule(this.#monitor.hasSuspects);
  }

  async #renew(): Promise<void> {
    const life = this.#life;
    if (!life || !life.lease.holds() || this.#renewals >= MAX_RENEWALS) return;
    this.#renewals++;
    const sent = life.lease.sendTime();
    try {
      const watched = this.#monitor.all();
      const { known } = this.lineages;
      const reply = await this.#leaseStep(
        this.#store.renew(life.incarnation, ++this.#seq, watched, known),
      );
      this.#lastContact = this.#clock.now();
      this.#heartbeats.succeeded();
      this.#noteLineage(reply.lineage);
      if (life !== this.#life) return;
      if (reply.outcome === "fenced") return life.lease.lapse();
      // The answer of an old copy doesn't count; a new one needs reassertions first.
      if (!this.lineages.stands(reply.lineage)) return;
      if (this.lineages.hasAsserted(life) && !life.lease.confirm(sent)) return;
      if (reply.overtaken) this.#listener.holder().overtaken(reply.overtaken);
      this.#monitor.note(reply.watched);
      this.#detector.schedule();
      if (reply.version !== this.#version) await this.refresh();
    } catch (error) {
      const isNews = life === this.#life && this.#heartbeats.failed();
      if (isNews) this.#failed("renewal failed", error);
    } finally {
      // Unanswered renewals of a former life don't count for this one.
      if (life === this.#life) this.#renewals--;
    }
  }

  /** Whether the current life has reasserted all that it holds in the store's present lineage. */
  hasAsserted(): boolean {
    return this.#life !== null && this.lineages.hasAsserted(this.#life);
  }

  /** Another copy of the store may have answered: renews now, as the answer names the lineage. */
  look(): void {
    this.#renew();
  }

  #noteLineage(lineage: Lineage): void {
    if (!this.lineages.note(lineage)) return;
    this.#startOver(lineage);
    if (this.#life) this.#reassert(this.#life, lineage);
  }

  /**
   * Discards what was read from another copy of the store: a member that is dead there may be alive
   * here.
   */
  #startOver({ id, term, settled }: Lineage): void {
    this.stats.failovers++;
    this.#tell("warning", "store failed over", { lineage: id, term, settled });
    this.#version = -1;
    this.#view.read({ members: [] });
    this.#monitor.clear();
    this.#listener.holder().failedOver();
    this.refresh().catch((error) => this.#failed("membership read failed", error));
  }

  /** Reasserts what this life holds, until the store has accepted it or the life is over. */
  async #reassert(life: NodeLife, lineage: LineageName): Promise<void> {
    const isDue = (): boolean =>
      life === this.#life && life.lease.holds() && this.lineages.stands(lineage);
    while (isDue()) {
      try {
        if (await this.#listener.holder().reassert(life, lineage)) {
          if (isDue()) this.lineages.asserted(life);
          break;
        }
        this.look();
      } catch (error) {
        this.#failed("reassertion failed", error);
      }
      await pause(this.#clock, REASSERT_PAUSE_MS);
    }
    this.look();
  }

  #failed(event: string, error: unknown): void {
    this.#tell("warning", event, { reason: detailOf(error) });
  }

  #tell(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
    this.#listener.onEvent({ level, event, fields });
  }
}

/** Holds the ownerships of a life. */
export interface OwnershipHolder {
  /**
   * Reasserts what this life holds. Answers whether the store accepted it in this lineage; rejects
   * if the store doesn't answer.
   */
  reassert(life: NodeLife, lineage: LineageName): Promise<boolean>;
  /** Another copy of the store answers now. */
  failedOver(): void;
  /** Ownerships have to yield to others. Called until they have. */
  overtaken(overtaken: readonly Overtaken[]): void;
}

export interface MembershipListener {
  /** The membership changed. */
  onChange(): void;
  /** The holder of the current life's ownerships. */
  holder(): OwnershipHolder;
  onEvent(event: NodeEvent): void;
}

/** The number of heartbeats without a renewal after which no further renewal is expected. */
const SILENT_BEATS = 2.5;
/** Reads per heartbeat. */
const LOOKS_PER_BEAT = 4;

/**
 * Waits until a member has not renewed for {@link SILENT_BEATS} heartbeats, or isn't live any more.
 *
 * @param observe reads its heartbeat; null if it is unknown.
 * @param isDue whether the wait still matters.
 * @throws AtlasError `node_name_taken` if it renews; whatever `observe` throws.
 */
export async function waitUntilSilent(
  clock: Clock,
  heartbeatMs: number,
  observe: () => Promise<Observation | null>,
  isDue: () => boolean,
): Promise<void> {
  const first = await observe();
  const giveUp = clock.now() + SILENT_BEATS * heartbeatMs;
  for (let seen = first; seen?.state === "live" && isDue(); seen = await observe()) {
    if (first !== null && seen.seq > first.seq) {
      throw new AtlasError(
        "node_name_taken",
        "another live process has this node's name; give each process its own name",
      );
    }
    if (clock.now() >= giveUp) return;
    await pause(clock, heartbeatMs / LOOKS_PER_BEAT);
  }
}
