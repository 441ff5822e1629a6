/**
 * Modules as a resource uses them: limits its module calls and purchases to the deadline of the
 * running turn, and closes its load balancers when the resource stops.
 */
import type { Balancer, DiscoverOptions, ModuleAtlas, ModuleCallOptions } from "../api/modules.ts";
import { makeProxy } from "../api/proxies.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_DISCOVER_MS, DEFAULT_TIMEOUT_MS } from "../limits.ts";
import { checkMs } from "../model/options.ts";
import { checkCall } from "./buy/module_call.ts";
import { checkDiscover, checkRequest } from "./market_options.ts";

/** What the scope needs of its resource. */
export interface ScopeOwner {
  /** The time until the running turn's deadline, in ms; Infinity if it has no deadline. */
  leftMs(): number;
  /** Aborted when the resource stops. */
  lifetime(): AbortSignal;
}

/** `atlas` for a resource. */
export function scopedModules(atlas: ModuleAtlas, owner: ScopeOwner): ModuleAtlas {
  return {
    async request(module, name, args, options = {}) {
      const timeoutMs = bound(owner, checkRequest(options).timeoutMs ?? DEFAULT_TIMEOUT_MS);
      return await atlas.request(module, name, args, { ...options, timeoutMs });
    },
    async discover(name, options = {}) {
      const timeoutMs = bound(owner, checkDiscover(options).timeoutMs ?? DEFAULT_DISCOVER_MS);
      const lifetime = owner.lifetime();
      const signal = options.signal ? AbortSignal.any([options.signal, lifetime]) : lifetime;
      const proxy = await atlas.discover(name, { ...options, timeoutMs, signal });
      const { $plb } = proxy;
      const end = (): void => void $plb.close();
      lifetime.addEventListener("abort", end, { once: true });
      const bounded: Balancer = {
        ...$plb,
        call: (name, args, given = {}) => callWithin(owner, $plb, options, name, args, given),
        close() {
          lifetime.removeEventListener("abort", end);
          return $plb.close();
        },
      };
      return makeProxy(bounded, () => Object.keys(proxy)) as typeof proxy;
    },
    modules: () => atlas.modules(),
    exchange: (name) => atlas.exchange(name),
    authorities: () => atlas.authorities(),
  };
}

async function callWithin(
  owner: ScopeOwner,
  plb: Balancer,
  { callTimeoutMs = DEFAULT_TIMEOUT_MS }: DiscoverOptions,
  name: string,
  args: readonly unknown[],
  options: ModuleCallOptions,
): ReturnType<Balancer["call"]> {
  const timeoutMs = bound(owner, checkCall(options).timeoutMs ?? callTimeoutMs);
  return await plb.call(name, args, { ...options, timeoutMs });
}

/** `ms`, but not past the turn's deadline. @throws AtlasError `bad_request`, `timeout` */
function bound(owner: ScopeOwner, ms: number): number {
  const left = Math.min(checkMs("timeoutMs", ms), owner.leftMs());
  if (left >= 1) return left;
  throw new AtlasError("timeout", "the deadline of the call that makes this one has passed");
}
