/**
 * Validates the options of `simulate` and fills in defaults. Errors name the field, the value and
 * what is allowed.
 */
import type { Atlas } from "../../src/api/node.ts";
import { type App, resolveTypes } from "../../src/api/app.ts";
import { AtlasError } from "../../src/errors.ts";
import { checkToken } from "../../src/model/rrp.ts";
import { FAULTS } from "../faults/catalogue.ts";
import type { NodePlace } from "../plan/plan.ts";
import type { SimulatedCall } from "./history.ts";

/** The random numbers of a simulation: a workload must draw from here only. */
export interface SimulationRandom {
  /** A number, 0 ≤ x < 1. */
  next(): number;
  /** A whole number, 0 ≤ n < `below`. */
  below(below: number): number;
  /** A number, `from` ≤ x < `to`. */
  between(from: number, to: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** One of them. */
  pick<T>(from: readonly T[]): T;
  uuid(): string;
}

/** The context that a workload gets. */
export interface WorkloadContext<A extends App> {
  /**
   * Calls through nodes picked at random, including paused and replaced ones. A call whose node
   * dies is rejected as `unavailable` with `maybeExecuted`.
   */
  readonly atlas: Atlas<A>;
  /** This client's own stream of random numbers. */
  readonly random: SimulationRandom;
  /** The client's name: `client-0`, `client-1`, …; `check` in the check. */
  readonly caller: string;
  /** Waits on the virtual clock, in ms. */
  sleep(ms: number): Promise<void>;
  /** Virtual ms since the beginning. */
  now(): number;
  /** Whether `durationMs` have passed: then a workload must end its own loops. */
  isOver(): boolean;
}

/** The context that the check gets. */
export interface CheckContext<A extends App> extends WorkloadContext<A> {
  /** All calls of all clients, in the order in which they were made. */
  readonly history: readonly SimulatedCall[];
  /** Reports that an invariant was broken, and how. */
  fail(message: string): void;
}

/** A kind of fault, and its rate. */
export interface FaultRate {
  /** One of {@link faultKinds}. */
  readonly kind: string;
  /** The average number per minute; above 0, at most 600. Default 6. */
  readonly perMinute?: number;
  /** The average duration in ms, for kinds with a duration; 0 to 60,000. Default 1,500. */
  readonly ms?: number;
}

/**
 * - `none`: no faults.
 * - `calm`: common faults: links break, nodes are drained, one crashes.
 * - `wild`: all faults of the simulator; kinds and rates differ from seed to seed.
 * - a list: these kinds, and nothing else.
 */
export type Faults = "none" | "calm" | "wild" | readonly (string | FaultRate)[];

export interface SimulateOptions<A extends App> {
  /** The seed of all random numbers: a whole number from 0. Default 1. */
  seed?: number;
  /** The number of seeds that are run, from `seed` on, one after the other. Default 1. */
  seeds?: number;
  /** 1 to 16 nodes: their number, or a list of `region/node`. Default 3, in two regions. */
  nodes?: number | readonly string[];
  /**
   * The time for which clients work and faults happen, in virtual ms; 1,000 to 3,600,000. Default
   * 16,500.
   */
  durationMs?: number;
  /** Default `wild`. */
  faults?: Faults;
  /** The number of clients that run the workload, 1 to 256. Default 4. */
  clients?: number;
  /** The average pause of a client between two rounds, in ms, 0 to 60,000. Default 100. */
  pauseMs?: number;
  /**
   * One round of a client, which is repeated until the time is over. Errors that any cluster gives
   * at times (`timeout`, `unavailable`, `overloaded`, `not_owner`, `contested`) end a round; any
   * other error fails the simulation.
   */
  workload(context: WorkloadContext<A>): Promise<unknown>;
  /** Asserts the app's own invariants, after healing and once no client runs. May throw. */
  check?(context: CheckContext<A>): Promise<unknown> | unknown;
}

/** The options with all defaults. */
export interface Settings<A extends App> extends Required<Omit<SimulateOptions<A>, "nodes">> {
  readonly app: A;
  /** Null: the default of the shape. */
  readonly places: readonly NodePlace[];
}

const MOST_NODES = 16;

/** The names of all kinds of faults. */
export function faultKinds(): string[] {
  return FAULTS.map(({ name }) => name);
}

/** Checks the options. @throws AtlasError `bad_request` or `invalid_rrp` */
export function settingsOf<A extends App>(app: A, options: SimulateOptions<A>): Settings<A> {
  resolveTypes(app);
  const {
    seed = 1,
    seeds = 1,
    nodes = 3,
    durationMs = 16_500,
    faults = "wild",
    clients = 4,
    pauseMs = 100,
    workload,
    check = () => {},
  } = options;
  whole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  whole("seeds", seeds, 1, Number.MAX_SAFE_INTEGER - seed);
  whole("clients", clients, 1, 256);
  between("durationMs", durationMs, 1_000, 3_600_000);
  between("pauseMs", pauseMs, 0, 60_000);
  if (typeof workload !== "function") throw bad("workload", workload, "a function");
  if (typeof check !== "function") throw bad("check", check, "a function");
  checkFaults(faults);
  const places = placesOf(nodes);
  return { app, seed, seeds, places, durationMs, faults, clients, pauseMs, workload, check };
}

function placesOf(nodes: number | readonly string[]): NodePlace[] {
  if (typeof nodes === "number") {
    whole("nodes", nodes, 1, MOST_NODES);
    return Array.from(
      { length: nodes },
      (_, i) => ({ region: i % 2 === 0 ? "east" : "west", node: `node-${i}` }),
    );
  }
  const isList = Array.isArray(nodes) && nodes.length > 0 && nodes.length <= MOST_NODES;
  if (!isList) throw bad("nodes", nodes, `a number or a list of 1 to ${MOST_NODES} names`);
  if (new Set(nodes).size < nodes.length) throw bad("nodes", nodes, "a list of different names");
  return nodes.map((name) => {
    const [region = "", node = "", ...rest] = String(name).split("/");
    if (rest.length > 0 || node === "") throw bad("nodes", name, 'names such as "us-east-1/a"');
    return { region: checkToken("region", region), node: checkToken("node", node) };
  });
}

function checkFaults(faults: Faults): void {
  if (faults === "none" || faults === "calm" || faults === "wild") return;
  if (!Array.isArray(faults)) throw bad("faults", faults, '"none", "calm", "wild" or a list');
  const kinds = faultKinds();
  for (const fault of faults) {
    const { kind, perMinute = 6, ms = 0 }: FaultRate = typeof fault === "string"
      ? { kind: fault }
      : fault ?? {};
    if (!kinds.includes(kind)) throw bad("faults", kind, `of these kinds: ${kinds.join(", ")}`);
    between(`faults: perMinute of ${kind}`, perMinute, 0.001, 600);
    between(`faults: ms of ${kind}`, ms, 0, 60_000);
  }
}

function whole(field: string, value: number, least: number, most: number): void {
  if (!Number.isSafeInteger(value)) throw bad(field, value, `a whole number from ${least}`);
  between(field, value, least, most);
}

function between(field: string, value: number, least: number, most: number): void {
  if (typeof value === "number" && value >= least && value <= most) return;
  throw bad(field, value, `a number from ${least} to ${most}`);
}

function bad(field: string, value: unknown, allowed: string): AtlasError {
  const shown = typeof value === "number" ? String(value) : JSON.stringify(value) ?? typeof value;
  return new AtlasError("bad_request", `${field} is ${shown}, it must be ${allowed}`);
}
