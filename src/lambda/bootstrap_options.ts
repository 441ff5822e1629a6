/**
 * How a node finds its first authority.
 *
 * Source: design §5, Bootstrap.
 */
import type { Peer } from "../ports/transport.ts";

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
