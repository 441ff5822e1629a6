/**
 * The port `Store` over one registry for each region, for nodes of one region.
 *
 * A node registers and renews in its own region only, and owns only keys whose home is there; it
 * reads and follows keys whose home is another region. So an outage of one region affects no other
 * region's leases, claims and commits, and capacity grows with the number of regions.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import { AtlasError } from "../../../src/errors.ts";
import { regionOf } from "../../../src/model/call_path.ts";
import type { OwnerKnows } from "../../../src/model/lost_turns.ts";
import type { Member, MemberInfo, MemberState } from "../../../src/model/member.ts";
import type { NodeEvent } from "../../../src/model/node_event.ts";
import { quoted } from "../../../src/model/options.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  CommittedTurn,
  KnownLineage,
  LineageName,
  Membership,
  Observation,
  OwnershipPage,
  Range,
  Reassertion,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
  Store,
} from "../../../src/ports/store.ts";
import { checkClaim, checkWhole, refused } from "../check.ts";
import { isOwnership } from "./entries.ts";
import { ForwardingRepair } from "./forwarding_repair.ts";
import { type HomeRules, Homes } from "./homes.ts";
import { MemberCache } from "./member_cache.ts";
import { checkRegional } from "./options.ts";
import { RegionalOwnership } from "./ownership.ts";
import { RegionalStores, type StoreOrOpener } from "./region_stores.ts";
import { RegistryIdentity } from "./registry_identity.ts";

export { type HomeRules, spreadOver } from "./homes.ts";
export type { StoreOrOpener } from "./region_stores.ts";

export interface RegionalStoreOptions {
  /** The region of the nodes that use this handle. */
  readonly self: string;
  /**
   * Each region's registry: an open store, or a function that opens it. Registries other than that
   * of `self` are opened when they are first needed. All are closed with this store.
   */
  readonly stores: Readonly<Record<string, StoreOrOpener>>;
  /** Homes of keys; by default the first region of `stores`. */
  readonly homes?: HomeRules;
  /** Monotonic time in ms, for the age of other regions' members. Default: the system's. */
  readonly now?: () => number;
  /**
   * Gets events about other regions' stores that can't be opened, and about registries that two
   * regions share. MUST NOT throw.
   */
  readonly onEvent?: (event: NodeEvent) => void;
}

/**
 * A store of several regions, for nodes of one of them.
 *
 * @example
 * ```ts
 * const store = await regionalStore({
 *   self: "eu-west-1",
 *   stores: {
 *     "us-east-1": () => redisStore("redis://us.example:6379"),
 *     "eu-west-1": () => redisStore("redis://eu.example:6379"),
 *   },
 *   homes: { default: "us-east-1", types: { sessions: "eu-west-1" } },
 * });
 * ```
 * @throws AtlasError `bad_request` if regions or rules don't fit each other, or whatever opening
 * this region's own store throws.
 */
export async function regionalStore(options: RegionalStoreOptions): Promise<Store> {
  checkRegional(options);
  const { self, stores, homes, now = () => performance.now(), onEvent = () => {} } = options;
  const regions = Object.keys(stores);
  if (!regions.includes(self)) {
    throw refused("region", quoted(self), `one of ${regions.join(", ") || "none"}`);
  }
  const rules = new Homes(regions, homes);
  const all = new RegionalStores(stores, self, onEvent);
  const own = await all.at(self, (store) => Promise.resolve(store));
  return new RegionalStore(self, own, all, rules, now, new RegistryIdentity(self, now, onEvent));
}

class RegionalStore implements Store {
  readonly #self: string;
  readonly #own: Store;
  readonly #stores: RegionalStores;
  readonly #homes: Homes;
  readonly #ownership: RegionalOwnership;
  readonly #memberCache: MemberCache;
  readonly #repair: ForwardingRepair;
  readonly #identity: RegistryIdentity;
  /** Present if a copy may replace this region's registry. */
  readonly kept?: NonNullable<Store["kept"]>;
  /** The incarnation that registered last. */
  #life: string | null = null;

  constructor(
    self: string,
    own: Store,
    stores: RegionalStores,
    homes: Homes,
    now: () => number,
    identity: RegistryIdentity,
  ) {
    this.#identity = identity;
    this.#self = self;
    this.#own = own;
    this.#stores = stores;
    this.#homes = homes;
    if (own.kept) this.kept = (turns, lineage) => this.#kept(turns, lineage);
    this.#repair = new ForwardingRepair(stores, homes, self);
    this.#ownership = new RegionalOwnership(stores, homes, self, this.#repair, identity);
    this.#memberCache = new MemberCache(stores, self, now, (region, { members, lineage }) => {
      identity.read(region, members);
      this.#repair.membersRead(region, lineage);
    });
  }

  /** This region's status; failures of other regions are reported by the calls that need them. */
  status(): "up" | "down" {
    return this.#stores.isClosed ? "down" : this.#own.status();
  }

  get regions(): readonly string[] {
    return this.#stores.regions;
  }

  homeOf(key: string): string {
    return this.#homes.of(key);
  }

  async register(
    member: MemberInfo,
    options: { ifFree: boolean; known?: KnownLineage | null },
  ): Promise<RegisterReply> {
    this.#identity.begins(member.incarnation);
    const reply = await this.#here((store) => store.register(member, options));
    // An incarnation that registers again, to repair its row, keeps what it owns.
    if (this.#life !== member.incarnation) this.#repair.clear();
    this.#life = member.incarnation;
    return { ...reply, version: reply.version + this.#memberCache.changes };
  }

  /** For other regions' members it answers from the cache. */
  async renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known?: KnownLineage | null,
  ): Promise<RenewReply> {
    // Also done while this region's registry can't be reached, because nodes of other regions may
    // be reachable.
    this.#memberCache.read(this.#repair.isNeeded);
    const [own, abroad] = this.#parted(watch);
    const all = [...own, ...this.#identity.foreignMembers];
    const reply = await this.#here((store) => store.renew(incarnation, seq, all, known));
    this.#identity.observed(reply.watched);
    const overtaken = this.#repair.overtaken(incarnation);
    return {
      ...reply,
      version: reply.version + this.#memberCache.changes,
      watched: [
        ...reply.watched.filter((it) => own.includes(it.incarnation)),
        ...this.#memberCache.recall(abroad),
      ],
      ...overtaken.length > 0 && { overtaken },
    };
  }

  kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return this.#here((store) => store.kill(incarnation, seq));
  }

  leave(member: MemberInfo): Promise<void> {
    this.#identity.ended(member.incarnation);
    return this.#here((store) => store.leave(member));
  }

  membersIn(region: string): Promise<readonly Member[]> {
    return this.#memberCache.fresh(region);
  }

  observeAbroad(incarnation: string): Promise<Observation | null> | null {
    const region = this.#memberCache.regionOf(incarnation);
    return region === undefined ? null : this.#memberCache.observe(region, incarnation);
  }

  /** This region's members as of now, the others' from the cache. */
  async members(): Promise<Membership> {
    this.#memberCache.read(true);
    const { version, members, unreadable = [], lineage } = await this.#here((store) =>
      store.members()
    );
    this.#identity.read(this.#self, members);
    const all = [...members, ...this.#memberCache.members()];
    const left = [...unreadable, ...this.#memberCache.unreadable()];
    return {
      version: version + this.#memberCache.changes,
      members: all,
      ...left.length > 0 && { unreadable: left },
      lineage,
    };
  }

  async lookup(key: string): Promise<Ownership | null> {
    const { home, entry } = await this.#ownership.locate(key);
    if (entry.kind === "nobody") return null;
    this.#memberCache.noteRegion(home, entry.owner.incarnation);
    const rival = this.#repair.holds(key, entry.owner) ? this.#repair.rivalOf(key) : null;
    return rival ? { ...entry.owner, contested: [rival] } : entry.owner;
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    this.#checkOpen();
    checkClaim(claim);
    const rival = await this.#rivalOf(claim.key);
    const reply = rival ? { won: false, owner: rival } : await this.#ownership.claim(claim);
    // A key that moved away meanwhile may have an owner in another region.
    if (reply.owner) {
      this.#memberCache.noteRegion(regionOf(reply.owner.rrp), reply.owner.incarnation);
    }
    return reply;
  }

  /** A key that is leaving is not claimed again: its rival owns it. */
  async #rivalOf(key: string): Promise<Ownership | null> {
    const rival = this.#repair.rivalOf(key);
    if (!rival) return null;
    const stored = await this.#here((store) => store.lookup(key));
    return this.#repair.holds(key, stored) ? rival : null;
  }

  reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    return this.#here((store) => store.reassert(reassertions, lineage));
  }

  /** This region's registry knows nothing of keys whose home is elsewhere. */
  async #kept(
    turns: readonly CommittedTurn[],
    lineage: LineageName,
  ): Promise<readonly Stamp[] | null> {
    const here = await this.#here(async (store) => await store.kept?.(turns, lineage));
    if (here === null) return null;
    const isHere = ({ key }: CommittedTurn): boolean => this.homeOf(key) === this.#self;
    return turns.map((turn, i) => isHere(turn) ? here?.[i] ?? turn.last : turn.last);
  }

  async release(
    key: string,
    incarnation: string,
    epoch: number,
    after?: Stamp,
  ): Promise<boolean> {
    const wasDone = await this.#here((store) => store.release(key, incarnation, epoch, after));
    this.#repair.left(key, epoch);
    return wasDone;
  }

  async depart(key: string, incarnation: string, epoch: number, region: string): Promise<boolean> {
    return await this.#ownership.depart(key, { incarnation, epoch }, region);
  }

  async recall(key: string, but: string | null): Promise<boolean> {
    this.#checkOpen();
    return await this.#ownership.recall(key, but);
  }

  obstacleTo(region: string): string | null {
    return this.#identity.whyShared(region);
  }

  /**
   * For `rrp:<region>/…` that region's resources only; else those of all regions, one region after
   * the other, until one has any.
   *
   * @throws AtlasError `unavailable`, naming the region, if one that is needed is unreachable.
   */
  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    const named = /^rrp:([^/]+)\//.exec(prefix)?.[1];
    const regions = named !== undefined && this.#stores.has(named) ? [named] : this.#stores.regions;
    const unreadable: AtlasError[] = [];
    for (let [at, inner] = cursorOf(cursor, regions);; [at, inner] = [at + 1, null]) {
      const region = regions[at] as string;
      const page = await this.#stores.at(region, (store) => store.list(prefix, inner, limit));
      const entries = page.entries.filter(isOwnership);
      for (const error of page.unreadable ?? []) unreadable.push(error);
      const found = { entries, ...unreadable.length > 0 && { unreadable } };
      if (page.next !== null) return { ...found, next: `${region} ${page.next}` };
      const next = regions[at + 1];
      if (next === undefined) return { ...found, next: null };
      if (entries.length > 0) return { ...found, next: `${next} ` };
    }
  }

  async read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    const home = await this.#homeNow(key);
    const known = this.#knownAt(home, knows);
    return await this.#stores.at(home, (store) => store.read(key, fields, known));
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    const home = await this.#homeNow(key);
    const known = this.#knownAt(home, knows);
    return await this.#stores.at(home, (store) => store.range(key, range, known));
  }

  /** An owner's turns are in its own region's store, and belong to that store's lineage. */
  #knownAt(home: string, knows: OwnerKnows | undefined): OwnerKnows | undefined {
    return home === this.#self ? knows : undefined;
  }

  /** Commits at this region's store. An owner whose key has left is fenced. */
  async commit(commit: Commit): Promise<CommitReply> {
    const reply = await this.#here((store) => store.commit(commit));
    if (reply === "fenced") this.#repair.left(commit.key, commit.epoch);
    return reply;
  }

  close(): Promise<void> {
    return this.#stores.close();
  }

  /** The home to read from: this region if it owns the key; else the region that a lookup finds. */
  async #homeNow(key: string): Promise<string> {
    if (this.#homes.of(key) === this.#self) return this.#self;
    return (await this.#ownership.locate(key)).home;
  }

  #parted(watch: readonly string[]): [own: string[], abroad: string[]] {
    const own: string[] = [];
    const abroad: string[] = [];
    for (const it of watch) (this.#memberCache.regionOf(it) === undefined ? own : abroad).push(it);
    return [own, abroad];
  }

  #here<T>(step: (store: Store) => Promise<T>): Promise<T> {
    return this.#stores.at(this.#self, step);
  }

  #checkOpen(): void {
    if (this.#stores.isClosed) throw new AtlasError("unavailable", "the store is closed");
  }
}

/** A page's cursor: the region that it is in, and that region's own cursor. */
function cursorOf(
  cursor: string | null,
  regions: readonly string[],
): [at: number, inner: string | null] {
  if (cursor === null) return [0, null];
  const space = cursor.indexOf(" ");
  const at = regions.indexOf(cursor.slice(0, Math.max(0, space)));
  if (at < 0) throw refused("cursor", JSON.stringify(cursor), "the `next` of an earlier page");
  const inner = cursor.slice(space + 1);
  return [at, inner === "" ? null : inner];
}
