/** The options of a node: its region and name, its ports, its lease. */
import type { NodeEvent } from "../model/node_event.ts";
import { checkOptions, type OptionNames, wrong } from "../model/options.ts";
import type { AsyncContext } from "../ports/async_context.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import type { Peer, Transport } from "../ports/transport.ts";

/** A lease's two times, in ms: how often it is renewed, how long a renewal lasts. */
export interface LeaseTimes {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
}

/** `fast` 1 s / 3 s, `standard` 2 s / 6 s, `frugal` 10 s / 30 s. */
export type LeaseProfile = "fast" | "standard" | "frugal";

/** Options of `createNode`, all ports given. */
export interface NodeOptions {
  /** The node's region, such as `us-east-1`. */
  region: string;
  /** Its name, unique among the live nodes of its region. */
  node: string;
  store: Store;
  transport: Transport;
  clock: Clock;
  /** Tells which turn of a resource the running code belongs to. */
  context: AsyncContext;
  random: Random;
  /** Default `standard`. */
  lease?: LeaseProfile | LeaseTimes;
  /** Default `authority` if no bootstrap is given, else `worker`. */
  role?: Role;
  /** Where the authorities of the module market are found. Default `registry`. */
  bootstrap?: Bootstrap;
  /**
   * By region, addresses of nodes there that pass calls on to those that can't be dialled
   * from here; 1 to 16 a region. The own region's are not used.
   */
  gateways?: Readonly<Record<string, readonly string[]>>;
  /** Receives log events. MUST NOT throw. */
  onEvent?: (event: NodeEvent) => void;
}

const NAMES: OptionNames<NodeOptions> = {
  region: true,
  node: true,
  store: true,
  transport: true,
  clock: true,
  context: true,
  random: true,
  lease: true,
  role: true,
  bootstrap: true,
  gateways: true,
  onEvent: true,
};

/** One method of each port, by which a wrong value is recognised. */
const PORTS = {
  store: "claim",
  transport: "dial",
  clock: "now",
  context: "run",
  random: "uuid",
} as const;

/**
 * Checks that all names are known and every port is given; doesn't check the ports themselves.
 *
 * @throws AtlasError `bad_request`, naming the option, its value and what is allowed.
 */
export function checkNodeOptions(options: NodeOptions): NodeOptions {
  checkOptions(options, NAMES);
  for (const [name, method] of Object.entries(PORTS)) {
    const port = options[name as keyof typeof PORTS] as unknown as Record<string, unknown> | null;
    if (typeof port?.[method] === "function") continue;
    throw wrong(name, port, `a ${name} with ${method}() and the port's other methods`);
  }
  const { onEvent, gateways = {} } = options;
  if (onEvent !== undefined && typeof onEvent !== "function") {
    throw wrong("onEvent", onEvent, "a function");
  }
  const lists = typeof gateways === "object" && gateways !== null
    ? Object.values(gateways)
    : [null];
  if (lists.every((list) => Array.isArray(list) && list.every((it) => typeof it === "string"))) {
    return options;
  }
  throw wrong("gateways", gateways, "{ <region>: [<address>, …] }");
}

/**
 * Resolves a host name to addresses; injected, because the core does no I/O. `signal` is aborted
 * after 10 s, and the name resolved again.
 */
export type Resolver = (name: string, signal: AbortSignal) => Promise<readonly string[]>;

/** A node that may know authorities: its address, or its membership record. */
export type BootstrapNode = string | Peer;

/**
 * Where authorities are found: members of the registry that serve as one; a list of addresses, as
 * nodes publish them; all hosts that a name resolves to; or the result of a function. A function
 * that hasn't resolved after 10 s has its signal aborted, and is called again; a late result
 * still counts.
 */
export type Bootstrap =
  | "registry"
  | { readonly static: readonly string[] }
  | {
    readonly dns: string;
    readonly port: number;
    readonly resolve: Resolver;
    /** The address that a node at this host and port publishes. */
    readonly address: (host: string, port: number) => string;
  }
  | ((signal: AbortSignal) => Promise<readonly BootstrapNode[]>);

/** Whether a node joins the authorities' mesh and runs exchanges, or only uses them. */
export type Role = "authority" | "worker";
