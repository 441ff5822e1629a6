/**
 * Buy and sell orders: how much of a module a trader wants or offers, and on which terms.
 *
 * Quantities are absolute: what is wanted or free now. An order of a higher revision replaces the
 * one before, so an order that is lost, repeated or late does no lasting harm. The key is the
 * broker and the order's id; a trader may have several orders.
 *
 * Source: `docs/design.md`, Modules.
 */
import { isRange, isVersion } from "../../api/module.ts";
import type { Preference } from "../../api/modules.ts";
import { MAX_CAPACITY } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";
import type { Address } from "./address.ts";
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
  /** What is wanted from any seller, or free, at this revision. */
  readonly quantity: number;
  /**
   * How much a buyer would exchange for capacity of sellers in its own region; if it has no range,
   * only for version `than`.
   */
  readonly nearby: number;
  /** How much a buyer without a range would exchange for versions above `than`. */
  readonly newer: number;
  /** The oldest version that a buyer without a range holds; empty: it holds none. */
  readonly than: string;
  /** The version sold; empty in a buy order. */
  readonly version: string;
  /** The range wanted; null: any stable version, the newest first; null in a sell order. */
  readonly range: string | null;
  readonly prefer: Preference;
  /**
   * Of a buyer: preferred regions, the best first; others come after these. Of a seller: regions
   * whose buyers it serves; empty: all.
   */
  readonly regions: readonly string[];
  /** The seller's listener, or the buyer's load balancer. */
  readonly trader: Address;
  /** The trader's node; its region and name are its failure domains. */
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
