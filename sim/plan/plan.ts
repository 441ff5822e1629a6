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
  /** Numbers of nodes, from 0; the store has no number. */
  readonly a: number;
  readonly b: number;
  /** Its duration, ms. */
  readonly ms: number;
  /** Its strength, 0 to 1. */
  readonly x: number;
}

/** What a client does. */
export interface WorkEvent {
  readonly at: number;
  /** The node it asks, from 0. */
  readonly node: number;
  /** The number of the client at that node. */
  readonly client: number;
  readonly key: number;
  readonly what: "append" | "read" | "lookup";
  /** Calls made at once, without waiting for each other. */
  readonly count: number;
  /** Whether calls have idempotency keys and are repeated under them until answered. */
  readonly isKeyed: boolean;
  readonly timeoutMs: number;
  /** Keys of the journals through which an append goes before it reaches its own. */
  readonly path?: readonly number[];
  /** When the client aborts the call, ms from its beginning. */
  readonly giveUpMs?: number;
  /** For a lookup: whether it requires a confirmed answer. */
  readonly isConfirmed?: boolean;
  /** Whether this many calls are made through each node. */
  readonly isEverywhere?: boolean;
  /** For an append: whether its method leaves work behind that goes on after its turn. */
  readonly leavesWork?: boolean;
}

/**
 * The worlds of simulations: resources with one store, in regions, under several masters, or
 * without the store; or a market of modules.
 */
export const WORLDS = ["resources", "regions", "market", "masters", "offline"] as const;
export type WorldName = (typeof WORLDS)[number];

/** A node's region and name. */
export interface NodePlace {
  readonly region: string;
  readonly node: string;
}

/** The shape of a cluster. */
export interface Shape {
  readonly nodes: number;
  /** One for each node; by default the nodes alternate between two regions. */
  readonly places?: readonly NodePlace[];
  readonly keys: number;
  readonly lease: LeaseTimes;
  readonly idleAfterMs: number;
  /** The number of nodes, the last ones, that run no resources. Default 0. */
  readonly gateways?: number;
  /** The number of calls that may wait at a journal, if it differs from the usual limit. */
  readonly mailbox?: number | undefined;
  /** Whether call chains may return to a journal. Default false. */
  readonly isReentrant?: boolean;
  /** Whether reads of a journal compare `list` with `get`. Default false. */
  readonly isAudited?: boolean;
  /** Whether journals operate without the store. Default false. */
  readonly isAvailable?: boolean;
  readonly store: StoreShape;
  readonly linkConditions: LinkConditions;
  /** The greatest deviation of a node's clock rate, as a ratio. */
  readonly drift: number;
  /** Regions, each with a store like `store`; the nodes alternate between them. */
  readonly regions?: RegionsShape;
}

/** A plan without its clients' work. */
export interface RunPlan {
  readonly seed: number;
  readonly shape: Shape;
  readonly faults: readonly FaultEvent[];
  /** The times of healing and of the simulation's end, true ms. */
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
  /** How long a process waits for an answer, in ms of its own clock. */
  readonly timeoutMs: number;
  /** How far its replicas lag, ms. Without it there are none. */
  readonly lagMs?: number;
  /** Whether a step that writes is answered only once a replica has copied it. */
  readonly isConfirmed?: boolean;
  /**
   * Whether `lookup` is answered from a replica, which no store may do: to check that it is
   * reported.
   */
  readonly readsFromReplica?: boolean;
}

/** The regions of a world, and the latencies between them. */
export interface RegionsShape {
  readonly names: readonly string[];
  /** One way between the first two, and from either to any further one, ms. */
  readonly nearMs: number;
  readonly farMs: number;
}

/** The conditions on all paths, drawn once per simulation. */
export interface LinkConditions {
  /** The least one-way delay and the usual additional delay, ms. */
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
  /** How long a write takes to reach the other masters, ms. */
  readonly lagMs: number;
  /** The bound on that time which the nodes use, ms. */
  readonly boundMs: number;
  /** How often an owner checks for a greater claim, ms. */
  readonly recheckMs: number;
  /** Whether replication stays within the bound: then there must never be two owners. */
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
