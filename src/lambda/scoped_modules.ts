/**
 * Modules as a resource has them: a company card, good until the errand's hour, and cut up
 * when its holder leaves.
 *
 * Takes what a node can do with modules, and the turn of a resource; gives the same, where
 * calls and purchases end with the turn's deadline, and what was bought is given back when the
 * resource is let go.
 */
import { AtlasError } from "../errors.ts";
import { DEFAULT_DISCOVER_MS, DEFAULT_TIMEOUT_MS } from "../limits.ts";
import { checkMs } from "../model/options.ts";
import type { Balancer, DiscoverOptions, ModuleAtlas, ModuleCallOptions } from "../api/modules.ts";
import { checkCall, checkDiscover, checkRequest } from "./market_options.ts";
import { makeProxy } from "../api/proxies.ts";

/** A resource, as far as its purchases go. */
export interface ScopeOwner {
  /** What is left of its running turn's deadline, ms; Infinity where there is none. */
  leftMs(): number;
  /** Aborted when the resource is let go. */
  lifetime(): AbortSignal;
}

/** `atlas` for a resource. */
export function scopedModules(atlas: ModuleAtlas, holder: ScopeOwner): ModuleAtlas {
  return {
    async request(module, name, args, options = {}) {
      const timeoutMs = bound(holder, checkRequest(options).timeoutMs ?? DEFAULT_TIMEOUT_MS);
      return await atlas.request(module, name, args, { ...options, timeoutMs });
    },
    async discover(name, options = {}) {
      const timeoutMs = bound(holder, checkDiscover(options).timeoutMs ?? DEFAULT_DISCOVER_MS);
      const lifetime = holder.lifetime();
      const signal = options.signal ? AbortSignal.any([options.signal, lifetime]) : lifetime;
      const proxy = await atlas.discover(name, { ...options, timeoutMs, signal });
      const { $plb } = proxy;
      const end = (): void => void $plb.close();
      lifetime.addEventListener("abort", end, { once: true });
      const bounded: Balancer = {
        ...$plb,
        call: (name, args, given = {}) => callWithin(holder, $plb, options, name, args, given),
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
  holder: ScopeOwner,
  plb: Balancer,
  { callTimeoutMs = DEFAULT_TIMEOUT_MS }: DiscoverOptions,
  name: string,
  args: readonly unknown[],
  options: ModuleCallOptions,
): ReturnType<Balancer["call"]> {
  const timeoutMs = bound(holder, checkCall(options).timeoutMs ?? callTimeoutMs);
  return await plb.call(name, args, { ...options, timeoutMs });
}

/** `ms`, but not past the turn's deadline. @throws AtlasError `bad_request`, `timeout` */
function bound(holder: ScopeOwner, ms: number): number {
  const left = Math.min(checkMs("timeoutMs", ms), holder.leftMs());
  if (left >= 1) return left;
  throw new AtlasError("timeout", "the deadline of the call that makes this one has passed");
}
