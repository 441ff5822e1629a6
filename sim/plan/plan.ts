/**
 * The types of a simulation plan: the cluster's shape, the faults with their times, and the
 * clients' calls. Plain data, drawn from a seed, from which shrinking removes lines.
 */
import type { LeaseTimes } from "../../src/api/options.ts";
import type { MarketShape, Trade } from "./market_plan.ts";

/** A fault. Each kind defines what `a`, `b`, `ms` and `x` mean. */
export interface FaultEvent {
  readonly at: number;
  readonly kind: string;
  /** Numbers of nodes, from 0; the store is none of them. */
  readonly a: number;
  readonly b: number;
  /** How long it lasts. */
  readonly ms: number;
  /** How bad it is, 0 to 1. */
  readonly x: number;
}

/** What a client does. */
export interface WorkEvent {
  readonly at: number;
  /** The node it asks, from 0. */
  readonly node: number;
  /** Which of the node's clients. */
  readonly client: number;
  readonly key: number;
  readonly what: "append" | "read" | "lookup";
  /** Calls made at once, without waiting for each other. */
  readonly count: number;
  /** With idempotency keys, and repeated under them until answered. */
  readonly isKeyed: boolean;
  readonly timeoutMs: number;
  /** Keys of the journals that an append goes through before it comes to its own. */
  readonly path?: readonly number[];
  /** When the client aborts the call, ms from its beginning. */
  readonly giveUpMs?: number;
  /** Of a lookup: insists on a confirmed answer. */
  readonly isConfirmed?: boolean;
  /** As many calls through each node. */
  readonly isEverywhere?: boolean;
  /** Of an append: its method leaves work behind that goes on after its turn. */
  readonly leavesWork?: boolean;
}

/**
 * What simulations are about: resources that are owned, by regions or under several masters
 * too, or going on without a store; or modules that are traded.
 */
export const WORLDS = ["resources", "regions", "market", "masters", "offline"] as const;
export type WorldName = (typeof WORLDS)[number];

/** Where a node stands and what it is called. */
export interface NodePlace {
  readonly region: string;
  readonly node: string;
}

/** The shape of a cluster. */
export interface Shape {
  readonly nodes: number;
  /** One for each node; without them they are in two regions by turns. */
  readonly places?: readonly NodePlace[];
  readonly keys: number;
  readonly lease: LeaseTimes;
  readonly idleAfterMs: number;
  /** How many nodes, the last ones, run no resources. Default 0. */
  readonly gateways?: number;
  /** How many calls may wait at a journal, where not as many as at any resource. */
  readonly mailbox?: number | undefined;
  /** Whether journals let call chains come back. Default false. */
  readonly isReentrant?: boolean;
  /** Whether reads of a journal compare `list` with `get`. Default false. */
  readonly isAudited?: boolean;
  /** Whether journals operate without the store. Default false. */
  readonly isAvailable?: boolean;
  readonly store: StoreShape;
  readonly linkConditions: LinkConditions;
  /** How far each node's clock may run fast or slow, as a ratio. */
  readonly drift: number;
  /** Regions, each with a store like `store`; nodes stand in them by turns. */
  readonly regions?: RegionsShape;
}

/** A plan without its clients' work. */
export interface RunPlan {
  readonly seed: number;
  readonly shape: Shape;
  readonly faults: readonly FaultEvent[];
  /** When everything is healed, and when the simulation ends; true ms. */
  readonly healAt: number;
  readonly endAt: number;
}

/** A run plan with the work of journals' clients or, in a market, of traders. */
export interface Plan extends RunPlan {
  readonly work: readonly WorkEvent[];
  readonly masters?: MastersShape;
  readonly market?: MarketShape;
  readonly trades?: readonly Trade[];
}

export interface StoreShape {
  readonly isStream: boolean;
  /** How long a process waits for an answer, ms of its own clock. */
  readonly timeoutMs: number;
  /** How far its replicas lag, ms. Without it there are none. */
  readonly lagMs?: number;
  /** Whether a step that writes is answered only once a replica has copied it. */
  readonly isConfirmed?: boolean;
  /** Answers `lookup` from a replica, as no store may: to see that it is noticed. */
  readonly readsFromReplica?: boolean;
}

/** Regions of a world, and how far from each other they are. */
export interface RegionsShape {
  readonly names: readonly string[];
  /** One way between the first two, and from either to any further one, ms. */
  readonly nearMs: number;
  readonly farMs: number;
}

/** The conditions on all paths, drawn once per simulation. */
export interface LinkConditions {
  /** Least and usual additional one-way delay, ms. */
  readonly baseMs: number;
  readonly jitterMs: number;
  /** Share of packets with a heavy-tailed delay: above x ms with probability (tailMs/x)². */
  readonly tail: number;
  readonly tailMs: number;
  /** Share of packets lost. */
  readonly loss: number;
  /** Share of packets that arrive twice. */
  readonly duplicates: number;
}

/**
 * The types of a plan with several masters: how many there are, and the replication lag. Plain
 * data.
 */
export interface MastersShape {
  readonly count: number;
  /** How long a write takes to the other masters, ms. */
  readonly lagMs: number;
  /** What the nodes believe it takes at most, ms. */
  readonly boundMs: number;
  /** How often an owner looks whether a greater claim came, ms. */
  readonly recheckMs: number;
  /** Whether copying keeps within the bound: there must never be two owners then. */
  readonly isBounded: boolean;
}

/** The defaults. */
export const PLAIN_MASTERS: MastersShape = {
  count: 2,
  lagMs: 1,
  boundMs: 10,
  recheckMs: 500,
  isBounded: true,
};
