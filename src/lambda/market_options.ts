/**
 * What traders ask for: the forms of the market's counter, checked and filled in.
 *
 * Takes options as users give them; gives all of them with their defaults, or an error that
 * names the field, its value and what is allowed.
 */
import { AtlasError } from "../errors.ts";
import { DEFAULT_DISCOVER_MS, DEFAULT_TIMEOUT_MS } from "../limits.ts";
import { checkMs, checkOptions, checkWord, type OptionNames } from "../model/options.ts";
import { quoted } from "../model/quoted.ts";
import type {
  DiscoverOptions,
  ModuleCallOptions,
  ModuleRequestOptions,
  PublishOptions,
} from "./api.ts";
import { checkCapacity, checkRange, checkVersion, defineModule, type Module } from "./module.ts";
import type { PlbParts } from "./plb.ts";

const PUBLISH: OptionNames<PublishOptions> = {
  capacity: true,
  name: true,
  version: true,
  lowWatermark: true,
};
const DISCOVER: OptionNames<DiscoverOptions> = {
  capacity: true,
  version: true,
  prefer: true,
  timeoutMs: true,
  waitFor: true,
  noWait: true,
  callTimeoutMs: true,
  bias: true,
  signal: true,
};
const CALL: OptionNames<ModuleCallOptions> = { timeoutMs: true, noWait: true, signal: true };
const REQUEST: OptionNames<ModuleRequestOptions> = { version: true, timeoutMs: true, signal: true };

/** An offer, and the module under the version that it is offered as. */
export interface Offer {
  readonly module: Module;
  readonly capacity: number;
  readonly lowWatermark: number;
}

/** @throws AtlasError `bad_request` */
export function offerOf(module: Module, options: PublishOptions): Offer {
  const { version, capacity = module.capacity ?? undefined, lowWatermark = 1 } = checkOptions(
    options,
    PUBLISH,
  );
  if (!(typeof lowWatermark === "number" && lowWatermark >= 0 && lowWatermark <= 1)) {
    throw new AtlasError(
      "bad_request",
      `lowWatermark is ${quoted(lowWatermark)}, it must be 0 to 1`,
    );
  }
  return {
    module: version === undefined ? module : asVersion(module, version),
    capacity: checkCapacity("capacity", capacity as number),
    lowWatermark,
  };
}

/** What a balancer is to buy; and how long, for how much, its buyer waits. */
export interface Demand {
  readonly parts: Pick<
    PlbParts,
    "wanted" | "range" | "prefer" | "bias" | "noWait" | "callTimeoutMs"
  >;
  readonly timeoutMs: number;
  readonly waitFor: "some" | "all";
  readonly signal: AbortSignal | undefined;
}

/** @throws AtlasError `bad_request` */
export function demandOf(options: DiscoverOptions): Demand {
  const { capacity = 1, version, prefer = "near", bias = "none", signal } = checkDiscover(options);
  const { noWait = false, waitFor = "some" } = options;
  const { timeoutMs = DEFAULT_DISCOVER_MS, callTimeoutMs = DEFAULT_TIMEOUT_MS } = options;
  return {
    parts: {
      wanted: checkCapacity("capacity", capacity),
      range: version === undefined ? null : checkRange(version),
      prefer: checkWord("prefer", prefer, ["near", "spread"]),
      bias: checkWord("bias", bias, ["none", "region", "latency"]),
      noWait: checkWord("noWait", noWait, [true, false]),
      callTimeoutMs: checkMs("callTimeoutMs", callTimeoutMs),
    },
    timeoutMs: checkMs("timeoutMs", timeoutMs),
    waitFor: checkWord("waitFor", waitFor, ["some", "all"]),
    signal,
  };
}

/** Names and signal only. @throws AtlasError `bad_request` */
export function checkDiscover(options: DiscoverOptions): DiscoverOptions {
  return checkOptions(options, DISCOVER);
}

/** Names, signal and `noWait`. @throws AtlasError `bad_request` */
export function checkCall(options: ModuleCallOptions): ModuleCallOptions {
  const { noWait } = checkOptions(options, CALL);
  if (noWait !== undefined) checkWord("noWait", noWait, [true, false]);
  return options;
}

/** Names and signal only. @throws AtlasError `bad_request` */
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
