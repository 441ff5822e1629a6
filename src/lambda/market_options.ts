/**
 * Validates the options of buyers and sellers and fills in defaults.
 *
 * Errors name the field, its value and what is allowed.
 */
import {
  checkCapacity,
  checkRange,
  checkVersion,
  defineModule,
  type Module,
} from "../api/module.ts";
import type {
  BuyOrder,
  DiscoverOptions,
  ModuleRequestOptions,
  PublishOptions,
  SellOrder,
} from "../api/modules.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_DISCOVER_MS, DEFAULT_TIMEOUT_MS } from "../limits.ts";
import {
  checkMs,
  checkOptions,
  checkWord,
  type OptionNames,
  quoted,
  wrong,
} from "../model/options.ts";
import { checkToken } from "../model/rrp.ts";
import { MAX_REGIONS } from "./bus/order.ts";
import type { BuyTerms } from "./buy/allocation.ts";
import type { PlbParts } from "./buy/plb.ts";

/** The largest number of orders of one listener or load balancer. */
export const MAX_ORDERS_EACH = 16;

const PUBLISH: OptionNames<PublishOptions> = {
  capacity: true,
  orders: true,
  name: true,
  version: true,
  lowWatermark: true,
};
const DISCOVER: OptionNames<DiscoverOptions> = {
  capacity: true,
  version: true,
  prefer: true,
  orders: true,
  timeoutMs: true,
  waitFor: true,
  noWait: true,
  callTimeoutMs: true,
  bias: true,
  signal: true,
};
const REQUEST: OptionNames<ModuleRequestOptions> = { version: true, timeoutMs: true, signal: true };

const SELL_ORDER: OptionNames<SellOrder> = { capacity: true, regions: true };
const BUY_ORDER: OptionNames<BuyOrder> = { capacity: true, version: true, prefer: true };

/** What `publish` offers; `module` has the version that it is offered as. */
export interface Offer {
  readonly module: Module;
  readonly orders: readonly SellOrder[];
  readonly lowWatermark: number;
}

/** @throws AtlasError `bad_request` */
export function offerOf(module: Module, options: PublishOptions): Offer {
  const { version, lowWatermark = 1 } = checkOptions(options, PUBLISH);
  if (!(typeof lowWatermark === "number" && lowWatermark >= 0 && lowWatermark <= 1)) {
    throw new AtlasError(
      "bad_request",
      `lowWatermark is ${quoted(lowWatermark)}, it must be 0 to 1`,
    );
  }
  return {
    module: version === undefined ? module : asVersion(module, version),
    orders: sellOrdersOf(module, options),
    lowWatermark,
  };
}

function sellOrdersOf(module: Module, { capacity, orders }: PublishOptions): SellOrder[] {
  if (orders === undefined) {
    const own = module.capacity ?? undefined;
    return [{
      capacity: checkCapacity("capacity", (capacity === undefined ? own : capacity) as number),
    }];
  }
  onlyOne({ orders, capacity });
  const checked = checkOrders(orders).map((order, at) => {
    const { capacity, regions = [] } = checkOptions(order as SellOrder, SELL_ORDER);
    const isList = Array.isArray(regions) && regions.length <= MAX_REGIONS;
    if (!isList) {
      throw wrong(`orders[${at}].regions`, regions, `a list of at most ${MAX_REGIONS} names`);
    }
    for (const region of regions) checkToken("region", region);
    return { capacity: checkCapacity(`orders[${at}].capacity`, capacity), regions };
  });
  checkCapacity("the capacity of all orders", sumOf(checked));
  return checked;
}

/** What a load balancer buys, and how long and for how much `discover` waits. */
export interface Demand {
  readonly parts: Pick<PlbParts, "orders" | "bias" | "noWait" | "callTimeoutMs">;
  readonly timeoutMs: number;
  readonly waitFor: "some" | "all";
  readonly signal: AbortSignal | undefined;
}

/** @throws AtlasError `bad_request` */
export function demandOf(options: DiscoverOptions): Demand {
  const { bias = "none", signal } = checkDiscover(options);
  const { noWait = false, waitFor = "some" } = options;
  const { timeoutMs = DEFAULT_DISCOVER_MS, callTimeoutMs = DEFAULT_TIMEOUT_MS } = options;
  return {
    parts: {
      orders: buyOrdersOf(options),
      bias: checkWord("bias", bias, ["none", "region", "latency"]),
      noWait: checkWord("noWait", noWait, [true, false]),
      callTimeoutMs: checkMs("callTimeoutMs", callTimeoutMs),
    },
    timeoutMs: checkMs("timeoutMs", timeoutMs),
    waitFor: checkWord("waitFor", waitFor, ["some", "all"]),
    signal,
  };
}

function buyOrdersOf({ capacity, version, prefer = "near", orders }: DiscoverOptions): BuyTerms[] {
  checkWord("prefer", prefer, ["near", "spread"]);
  if (orders === undefined) return [termsOf({ capacity, version, prefer }, "")];
  onlyOne({ orders, capacity, version });
  const checked = checkOrders(orders).map((order, at) => {
    const all = { prefer, ...checkOptions(order as BuyOrder, BUY_ORDER) };
    return termsOf(all, `orders[${at}].`);
  });
  checkCapacity("the capacity of all orders", checked.reduce((sum, { wanted }) => sum + wanted, 0));
  return checked;
}

function termsOf({ capacity = 1, version, prefer = "near" }: BuyOrder, path: string): BuyTerms {
  const wanted = checkCapacity(`${path}capacity`, capacity);
  return {
    wanted,
    asked: wanted,
    range: version === undefined ? null : checkRange(version),
    prefer: checkWord(`${path}prefer`, prefer, ["near", "spread"]),
  };
}

/** The capacity that a buyer asks for over all orders; accepts unchecked options. */
export function wantedOf(
  { capacity = 1, orders }: Pick<DiscoverOptions, "capacity" | "orders">,
): number {
  if (orders === undefined) return capacity;
  return orders.reduce((sum, order) => sum + (order.capacity ?? 1), 0);
}

function sumOf(orders: readonly SellOrder[]): number {
  return orders.reduce((sum, { capacity }) => sum + capacity, 0);
}

/** @throws AtlasError `bad_request` */
function checkOrders(orders: unknown): readonly unknown[] {
  const isList = Array.isArray(orders) && orders.length >= 1 && orders.length <= MAX_ORDERS_EACH;
  if (isList) return orders;
  throw wrong("orders", orders, `a list of 1 to ${MAX_ORDERS_EACH} orders`);
}

/** `orders` excludes the fields that each order has itself. */
function onlyOne({ orders: _orders, ...others }: Readonly<Record<string, unknown>>): void {
  const [both] = Object.keys(others).filter((name) => others[name] !== undefined);
  if (both === undefined) return;
  throw new AtlasError("bad_request", `${both} and orders are both given: each order has its own`);
}

/** Checks option names and the signal only. @throws AtlasError `bad_request` */
export function checkDiscover(options: DiscoverOptions): DiscoverOptions {
  return checkOptions(options, DISCOVER);
}

/** Checks option names and the signal only. @throws AtlasError `bad_request` */
export function checkRequest(options: ModuleRequestOptions): ModuleRequestOptions {
  return checkOptions(options, REQUEST);
}

/** The same module under another version. */
function asVersion(module: Module, version: string): Module {
  const { name, attributes, functions } = module;
  return defineModule({
    name: name ?? undefined,
    attributes,
    functions,
    version: checkVersion(version),
  });
}
