/**
 * Modules for simulated clients: a node discovers the module for the client, and all its calls go
 * through that node.
 */
import type { AtlasNode } from "../../src/api/node.ts";
import { DEFAULT_DISCOVER_MS, DEFAULT_TIMEOUT_MS } from "../../src/limits.ts";
import type { Balancer, ModuleAtlas } from "../../src/api/modules.ts";
import { makeProxy } from "../../src/api/proxies.ts";

/** The way to one node: asks it, and brings back what it answers. */
export type SendRequest = <T>(
  what: string,
  timeoutMs: number,
  ask: (node: AtlasNode) => Promise<T>,
) => Promise<T>;

/** What clients can do with modules; `way` leads to another node each time. */
export function simulatedModules(way: () => SendRequest): ModuleAtlas {
  const ask: SendRequest = (what, timeoutMs, asked) => way()(what, timeoutMs, asked);
  return {
    request: (module, name, args, options = {}) =>
      ask(
        `${module}.${name}`,
        options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        (node) => node.request(module, name, args, options),
      ),
    async discover(name, options = {}) {
      const there = way();
      const { timeoutMs = DEFAULT_DISCOVER_MS, callTimeoutMs = DEFAULT_TIMEOUT_MS } = options;
      const proxy = await there(
        `discover(${name})`,
        timeoutMs,
        (node) => node.discover(name, options),
      );
      const { $plb } = proxy;
      const plb: Balancer = {
        ...$plb,
        call: (fn, args, given = {}) =>
          there(
            `${name}.${fn}`,
            given.timeoutMs ?? callTimeoutMs,
            () => $plb.call(fn, args, given),
          ),
        close: () => there(`the end of ${name}`, DEFAULT_TIMEOUT_MS, () => $plb.close()),
      };
      return makeProxy(plb, () => Object.keys(proxy)) as typeof proxy;
    },
    modules: () => ask("modules()", DEFAULT_TIMEOUT_MS, (node) => node.modules()),
    exchange: (name) => ask(`exchange(${name})`, DEFAULT_TIMEOUT_MS, (node) => node.exchange(name)),
    authorities: () => ask("authorities()", DEFAULT_TIMEOUT_MS, (node) => node.authorities()),
  };
}
