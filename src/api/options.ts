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
  /** Where the node stands, such as `us-east-1`. */
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
  /** Default `authority` where no bootstrap is given, else `worker`. */
  role?: Role;
  /** Where the authorities of the module market are found. Default `registry`. */
  bootstrap?: Bootstrap;
  /**
   * By region, addresses of nodes there that pass calls on to those that can't be dialled
   * from here; 1 to 16 a region. The own region's are not used.
   */
  gateways?: Readonly<Record<string, readonly string[]>>;
  /** Hears what is worth logging. MUST NOT throw. */
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

/** What tells each port from something else: a method that it can't do without. */
const PORTS = {
  store: "claim",
  transport: "dial",
  clock: "now",
  context: "run",
  random: "uuid",
} as const;

/**
 * Options with names that there are, and with every port. What the ports do is theirs to show.
 *
 * @throws AtlasError `bad_request`, naming the option, its value and what is allowed.
 */
export function checkNodeOptions(options: NodeOptions): NodeOptions {
  checkOptions(options, NAMES);
  for (const [name, method] of Object.entries(PORTS)) {
    const port = options[name as keyof typeof PORTS] as unknown as Record<string, unknown> | null;
    if (typeof port?.[method] === "function") continue;
    throw wrong(name, port, `a ${name}, with ${method}() and all else that its port has`);
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
 * Turns a host name into addresses of hosts; injected, as the core resolves no names. `signal` is
 * aborted after 10 s, when it is given up and tried again.
 */
export type Resolver = (name: string, signal: AbortSignal) => Promise<readonly string[]>;

/** A node that may know authorities: its address, or all that others know of it. */
export type BootstrapNode = string | Peer;

/**
 * Where authorities are found: members of the registry that serve as one; a list of addresses, as
 * nodes publish them; all hosts that a name resolves to; or what a function answers. A function
 * that hasn't answered after 10 s has its signal aborted, and is asked again; what it answers
 * later still counts.
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

/** Whether a node meshes with others to run exchanges, or only trades on them. */
export type Role = "authority" | "worker";
