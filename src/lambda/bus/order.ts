/**
 * Buy and sell orders: who wants or offers how much of a module, on which terms.
 *
 * Quantities are absolute: what is wanted or free now. An order of a higher revision replaces
 * the one before, so one that is lost, repeated or late changes nothing for good. The order's
 * key is its broker and its id; a trader may have several.
 *
 * Source: design §5, Broker and Exchange.
 */
import { MAX_CAPACITY } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";
import type { Address } from "./address.ts";
import type { Preference } from "../../api/modules.ts";
import { isRange, isVersion } from "../../api/module.ts";
import {
  address,
  list,
  maybe,
  oneOf,
  peer,
  record,
  type Shape,
  text,
  whole,
} from "./wire_shapes.ts";

/** Regions that a buyer may rank, and that a sell order may name. */
export const MAX_REGIONS = 64;

export interface Order {
  /** Unique at its broker. */
  readonly id: number;
  readonly revision: number;
  readonly side: "buy" | "sell";
  readonly module: string;
  /** What is wanted of anybody, or free, at this revision. */
  readonly quantity: number;
  /**
   * What a buyer would take in place of what it has, of sellers in its own region only; of one
   * without a range only of the version `than`.
   */
  readonly nearby: number;
  /** What a buyer without a range would take in place of what it has, of versions above `than`. */
  readonly newer: number;
  /** The oldest version that a buyer without a range holds; empty: it holds nothing. */
  readonly than: string;
  /** The version sold; empty where this buys. */
  readonly version: string;
  /** The range wanted; null: any stable version, the newest first, or this sells. */
  readonly range: string | null;
  readonly prefer: Preference;
  /**
   * A buyer's regions, the best first; others come after these. A seller's: those whose buyers
   * it serves; empty: all.
   */
  readonly regions: readonly string[];
  /** A seller's listener, or a buyer's balancer. */
  readonly trader: Address;
  /** The trader's node; its region and name are also its place among failure domains. */
  readonly contact: Peer;
}

export const orderShape: Shape<Order> = record<Order>({
  id: whole(),
  revision: whole(),
  side: oneOf("buy", "sell"),
  module: text(128),
  quantity: whole(MAX_CAPACITY),
  nearby: whole(MAX_CAPACITY),
  newer: whole(MAX_CAPACITY),
  than: text(256, (it) => it === "" || isVersion(it)),
  version: text(256, (it) => it === "" || isVersion(it)),
  range: maybe(text(256, isRange)),
  prefer: oneOf("near", "spread"),
  regions: list(text(), MAX_REGIONS),
  trader: address,
  contact: peer,
});
